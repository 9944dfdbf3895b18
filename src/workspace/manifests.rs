//! The directories of a project that hold weights.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::event::Reporter;
use crate::hub::{HashCache, Manifest, scan};
use crate::lock::hub::FileDigest;
use crate::step::StepError;
use crate::store::Store;

/// What directories of weights hold; each is hashed at most once per command.
#[derive(Debug)]
pub struct Manifests {
    root: PathBuf,
    store: Arc<Store>,
    known: RwLock<HashMap<String, Manifest>>,
}

impl Manifests {
    pub(super) fn new(root: &Path, store: &Arc<Store>) -> Self {
        Self { root: root.to_owned(), store: Arc::clone(store), known: RwLock::default() }
    }

    /// The files in a directory of the project.
    pub fn of(&self, path: &str, reporter: &Reporter) -> Result<Manifest, StepError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some(manifest) = known {
            return Ok(manifest);
        }
        let manifest = scan(&self.root, path, &*self.store, reporter)?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(path.to_owned(), manifest.clone());
        Ok(manifest)
    }
}

impl HashCache for Store {
    fn get(&self, path: &str, stamp: &str) -> Option<FileDigest> {
        self.file_hash(path, stamp)
    }

    fn put(&self, path: &str, stamp: &str, digest: FileDigest) {
        self.keep_file_hash(path, stamp, digest);
    }
}
