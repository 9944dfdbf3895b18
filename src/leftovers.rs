//! What a killed command leaves behind: temporary files that nothing will ever finish.
//!
//! Half-made things have names of their own until they are whole, so they are never taken for the
//! real thing; but nobody else removes them.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// `plan` and `check` take no lock: what is younger than this may be theirs.
const OLD: Duration = Duration::from_secs(3600);

/// Which entries of a directory are leftovers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// All that nobody holds: whoever makes such an entry has the lock that the caller has, or has
    /// the entry itself locked.
    Any,
    /// Those that have not been touched for an hour: others may be making some right now.
    Old,
}

/// Removes the entries of `directory` whose name begins with `prefix`.
///
/// What can't be removed stays: it takes space, and harms nothing.
pub fn sweep(directory: &Path, prefix: &str, age: Age) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_old = || {
            let touched = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            let age = touched.and_then(|at| SystemTime::now().duration_since(at).ok());
            age.is_some_and(|age| age > OLD)
        };
        if !name.as_encoded_bytes().starts_with(prefix.as_bytes()) || (age == Age::Old && !is_old())
        {
            continue;
        }
        let path = entry.path();
        if is_held(&path) {
            continue;
        }
        let _ = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        };
    }
}

/// Whether somebody is writing it right now.
fn is_held(path: &Path) -> bool {
    let tried = File::open(path).map(|file| file.try_lock());
    matches!(tried, Ok(Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leftovers_are_removed_and_only_old_ones_where_others_work() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(path(".part-dir/sub")).expect("a directory");
        for name in [".part-a", ".part-b", "part-c", ".part"] {
            std::fs::write(path(name), "x").expect("a file");
        }
        let hours_ago = SystemTime::now() - 2 * OLD;
        std::fs::File::options()
            .write(true)
            .open(path(".part-a"))
            .and_then(|file| file.set_modified(hours_ago))
            .expect("a time");
        let names = || {
            let mut names: Vec<String> = std::fs::read_dir(directory.path())
                .expect("lists")
                .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
                .collect();
            names.sort();
            names
        };
        sweep(directory.path(), ".part-", Age::Old);
        assert_eq!(names(), [".part", ".part-b", ".part-dir", "part-c"]);
        let held = std::fs::File::open(path(".part-b")).expect("opens");
        held.try_lock().expect("nobody else has it");
        sweep(directory.path(), ".part-", Age::Any);
        assert_eq!(names(), [".part", ".part-b", "part-c"]);
        drop(held);
        sweep(directory.path(), ".part-", Age::Any);
        assert_eq!(names(), [".part", "part-c"]);
        sweep(&path("missing"), ".part-", Age::Any);
    }
}
