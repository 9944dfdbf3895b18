//! Reading every byte of the models in a volume: what a disk has changed and nobody wrote is found no other way.

use std::collections::{BTreeMap, BTreeSet};

use super::cache::{failed, holds};
use super::{ModelCache, WeightsError};
use crate::event::Reporter;
use crate::lock::hub::RemoteFile;

/// A model in a volume, of which every byte was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRead {
    /// Its repository.
    pub repository: String,
    /// The digits of its commit.
    pub commit: String,
    /// How many files it has.
    pub files: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files that were damaged, and were taken away.
    pub damaged: Vec<String>,
    /// Files that are not there.
    pub missing: Vec<String>,
}

impl ModelCache {
    /// Reads every byte of all models that were put here, and takes away what isn't what it is called, so that
    /// nothing is served with it and the next apply brings it again. The caller has the volume to itself.
    pub fn read_all(&self, reporter: &Reporter) -> Result<Vec<ModelRead>, WeightsError> {
        let mut models: BTreeMap<(String, String), BTreeSet<RemoteFile>> = BTreeMap::new();
        for receipt in self.receipts() {
            models.entry((receipt.repository, receipt.commit)).or_default().extend(receipt.files);
        }
        reporter.expect(models.values().flatten().map(|file| file.size).sum());
        // Commits share the files that are the same.
        let mut known = BTreeMap::new();
        let mut read = Vec::new();
        for ((repository, commit), files) in models {
            let directory = self.root().join(Self::commit_directory(&repository, &commit));
            let mut model = ModelRead {
                repository,
                commit,
                files: files.len(),
                bytes: files.iter().map(|file| file.size).sum(),
                damaged: Vec::new(),
                missing: Vec::new(),
            };
            for file in files {
                let Ok(path) = directory.join(&file.path).canonicalize() else {
                    let damaged = known.contains_key(&(model.repository.clone(), file.digest));
                    let list = if damaged { &mut model.damaged } else { &mut model.missing };
                    list.push(file.path);
                    continue;
                };
                let blob = (model.repository.clone(), file.digest);
                if known.get(&blob) == Some(&true) {
                    reporter.advance(file.size)?;
                    continue;
                }
                reporter.message(format!("reading {} of {}", file.path, model.repository));
                let is_right = holds(&path, &file, reporter)?;
                known.insert(blob, is_right);
                if !is_right {
                    std::fs::remove_file(&path).map_err(failed(&path))?;
                    model.damaged.push(file.path);
                }
            }
            read.push(model);
        }
        Ok(read)
    }
}
