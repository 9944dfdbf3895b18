//! A directory that files are fetched into, and what was said meanwhile.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use goatbuild::event::{Progress, Reporter};
use goatbuild::hub::{Fetched, FileDigest, HashCache, Hub, HubError, ModelCache, RemoteFile};

use super::REPOSITORY;
use crate::support::hub::COMMIT;

/// Remembers hashes in memory.
#[derive(Default)]
pub(crate) struct Known(pub(crate) Mutex<Vec<(String, String, FileDigest)>>);

impl HashCache for Known {
    fn get(&self, path: &str, stamp: &str) -> Option<FileDigest> {
        let known = self.0.lock().unwrap();
        known.iter().find(|one| one.0 == path && one.1 == stamp).map(|one| one.2)
    }

    fn put(&self, path: &str, stamp: &str, digest: FileDigest) {
        let entry = (path.to_owned(), stamp.to_owned(), digest);
        self.0.lock().unwrap().push(entry);
    }
}

/// A volume, and what was said while it was filled.
pub(crate) struct Volume {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) known: Known,
    pub(crate) expected: Arc<AtomicU64>,
    pub(crate) done: Arc<AtomicU64>,
    pub(crate) fetched: Arc<AtomicU64>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

impl Volume {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            known: Known::default(),
            expected: Arc::default(),
            done: Arc::default(),
            fetched: Arc::default(),
            stop: Arc::default(),
            log: Arc::default(),
        }
    }

    pub(crate) fn reporter(&self) -> Reporter {
        let (expected, done) = (Arc::clone(&self.expected), Arc::clone(&self.done));
        let (fetched, log) = (Arc::clone(&self.fetched), Arc::clone(&self.log));
        let emit = move |progress| match progress {
            Progress::Expect(more) => drop(expected.fetch_add(more, Ordering::Relaxed)),
            Progress::Advance(more) => drop(done.fetch_add(more, Ordering::Relaxed)),
            Progress::Fetched(more) => drop(fetched.fetch_add(more, Ordering::Relaxed)),
            Progress::Log(line) | Progress::Notice(line) => log.lock().unwrap().push(line),
            Progress::Waits(wait) => log.lock().unwrap().push(wait.to_string()),
            Progress::Reused(_) | Progress::Message(_) => {}
        };
        Reporter::new(Arc::new(emit), Arc::clone(&self.stop))
    }

    pub(crate) async fn fetch(&self, hub: &Hub, files: &[RemoteFile]) -> Result<Fetched, HubError> {
        let cache = ModelCache::new(self.directory.path());
        hub.fetch(REPOSITORY, COMMIT, files, &cache, &self.known, &self.reporter()).await
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.directory.path().join("hub/models--acme--tiny/blobs")
    }

    /// The names of all blobs.
    pub(crate) fn blob_names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.blobs())
            .map(|entries| entries.map(|one| one.unwrap().file_name().into_string().unwrap()))
            .map(Iterator::collect)
            .unwrap_or_default();
        names.sort();
        names
    }

    /// A file as the Hugging Face client would read it.
    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        let snapshot = ModelCache::commit_directory(REPOSITORY, COMMIT);
        fs::read(self.directory.path().join(snapshot).join(path)).unwrap()
    }

    /// What was logged.
    pub(crate) fn told(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.expected.load(Ordering::Relaxed), self.done.load(Ordering::Relaxed))
    }
}
