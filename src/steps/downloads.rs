//! Downloads that a step makes something of, and what happens when one of them is damaged.

use std::path::PathBuf;

use crate::blocking::blocking;
use crate::fetch::{Expected, FetchError, Found, discard_damaged};
use crate::step::{StepError, Task};

/// Whether a step that failed may be tried once more: some of its downloads were not what they are
/// called, and are gone.
///
/// They are not hashed before they are used, since that takes as long as using them; what is made of
/// them finds out.
pub(super) async fn were_damaged(
    files: Vec<(PathBuf, Expected)>,
    task: &Task,
) -> Result<bool, StepError> {
    let reporter = task.reporter.clone();
    reporter.check()?;
    blocking(move || {
        let mut any = false;
        for (path, expected) in files {
            reporter.check()?;
            let found = discard_damaged(&path, &expected)
                .map_err(|source| FetchError::Read { path: path.clone(), source })?;
            if found == Found::Discarded {
                let path = path.display();
                reporter.notice(format!("{path} is damaged; it is fetched anew"));
            }
            any |= found != Found::Whole;
        }
        Ok(any)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::event::{Progress, Reporter};
    use crate::fetch::sha256_of;
    use crate::fingerprint::Fingerprint;
    use crate::step::Inputs;

    #[tokio::test]
    async fn only_what_is_there_and_damaged_is_called_so() {
        let directory = tempfile::tempdir().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&told);
        let emit = move |progress| {
            if let Progress::Notice(text) = progress {
                said.lock().unwrap().push(text);
            }
        };
        let fingerprint = Fingerprint::new("test", 1);
        let task = Task {
            key: fingerprint.key(),
            fingerprint,
            inputs: Inputs::default(),
            reporter: Reporter::new(Arc::new(emit), Arc::default()),
            adopt: false,
            replaced: false,
        };
        let download = |name: &str| {
            let sha256 = sha256_of(&mut &b"right"[..]).unwrap();
            (directory.path().join(name), Expected { size: None, sha256 })
        };
        std::fs::write(directory.path().join("whole"), "right").unwrap();
        std::fs::write(directory.path().join("damaged"), "wrong").unwrap();
        let mut tries = Vec::new();
        for names in [&["whole"][..], &["missing"], &["whole", "damaged", "missing"]] {
            let files = names.iter().map(|name| download(name)).collect();
            tries.push(were_damaged(files, &task).await.unwrap());
        }
        assert_eq!(tries, [false, true, true]);
        let damaged = directory.path().join("damaged");
        let notice = format!("{} is damaged; it is fetched anew", damaged.display());
        assert_eq!(*told.lock().unwrap(), [notice]);
    }
}
