//! Downloads that a step makes something of, and what happens when one of them is damaged.

use std::path::PathBuf;

use crate::blocking::blocking;
use crate::fetch::{Expected, FetchError, discard_damaged};
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
            let discarded = discard_damaged(&path, &expected);
            if discarded.map_err(|source| FetchError::Read { path: path.clone(), source })? {
                let path = path.display();
                reporter.notice(format!("{path} is damaged; it is fetched anew"));
                any = true;
            }
        }
        Ok(any)
    })
    .await
}
