//! A project's lock while commands are at work: read often, and changed together with its file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use super::files::{FileError, write};
use crate::bounded;
use crate::engine::Engines;
use crate::lock::LockFile;
use crate::spec::HubSource;
use crate::step::StepError;

/// A project's lock, as its file has it.
#[derive(Debug)]
pub struct LockCell {
    root: PathBuf,
    engines: Engines,
    known: RwLock<LockFile>,
}

impl LockCell {
    /// Reads the lock of the project in `root`; an empty one where there is none.
    pub fn open(root: &Path, engines: Engines) -> Result<Self, StepError> {
        let known = RwLock::new(read_file(root, engines)?);
        Ok(Self { root: root.to_owned(), engines, known })
    }

    /// Reads the lock.
    pub fn read<T>(&self, read: impl FnOnce(&LockFile) -> T) -> T {
        read(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the lock and writes it, if that makes a difference.
    ///
    /// A `plan` does so while another command is at work: the change is made to what the file holds
    /// now, and nobody else changes it meanwhile. So `plan` need not wait, and nothing gets lost.
    pub fn change(&self, change: impl FnOnce(&mut LockFile)) -> Result<(), StepError> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let _alone = self.alone()?;
        let before = read_file(&self.root, self.engines)?;
        let mut lock = before.clone();
        change(&mut lock);
        if lock != before {
            write(&self.root.join("goatbuild.lock"), lock.render().as_bytes())?;
        }
        *known = lock;
        Ok(())
    }

    /// Waits until nobody else writes the lock's file, and nobody does while what this returns is kept: the
    /// locks of the project's directory and of a file in its cache.
    ///
    /// Where the cache can't be written, or is gone, only the directory can be locked; on some file systems,
    /// NFS among them, only the file. So whoever can takes both, the directory first, that no two wait for
    /// each other.
    fn alone(&self) -> Result<[Option<File>; 2], FileError> {
        let lock = |opened: io::Result<File>| opened.and_then(|it| it.lock().map(|()| it));
        let directory = lock(File::open(&self.root)).ok();
        let path = self.root.join("cache/lock-file-writer");
        match (directory, lock(File::create(&path))) {
            (None, Err(source)) => Err(FileError { path, verb: "locked", source }),
            (directory, file) => Ok([directory, file.ok()]),
        }
    }

    /// The commit that a source on a hub stands for: pinned, or as it is locked, if it is.
    pub fn commit(&self, source: &HubSource) -> Option<String> {
        let locked = || {
            self.read(|lock| lock.hub.get(&source.to_string()).map(|entry| entry.commit.clone()))
        };
        source.pinned().map(str::to_owned).or_else(locked)
    }
}

fn read_file(root: &Path, engines: Engines) -> Result<LockFile, StepError> {
    const NAME: &str = "goatbuild.lock";
    let path = root.join(NAME);
    match bounded::read(&path, bounded::LOCK) {
        Ok(bytes) => {
            let lock = LockFile::read(NAME, &bytes)?;
            LockFile::check_engines(NAME, &String::from_utf8_lossy(&bytes), engines)?;
            Ok(lock)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LockFile::default()),
        Err(source) => Err(FileError { path, verb: "read", source }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_cache_and_who_has_none_lock_the_same() {
        let project = tempfile::tempdir().expect("a directory");
        let engines = crate::engines::built_in();
        let cell = LockCell::open(project.path(), engines).expect("an empty lock");
        let is_locked = |path: &Path| File::open(path).expect("opens").try_lock().is_err();
        let alone = cell.alone().expect("nobody else has it");
        assert!(matches!(alone, [Some(_), None]) && is_locked(project.path()));
        drop(alone);
        let cache = project.path().join("cache");
        std::fs::create_dir(&cache).expect("a directory");
        let alone = cell.alone().expect("nobody else has it");
        assert!(matches!(alone, [Some(_), Some(_)]) && is_locked(project.path()));
        assert!(is_locked(&cache.join("lock-file-writer")));
    }
}
