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
    ///
    /// Nothing outside of the volume is read or taken away, wherever a link leads.
    pub fn read_all(&self, reporter: &Reporter) -> Result<Vec<ModelRead>, WeightsError> {
        let Ok(root) = self.root().canonicalize() else { return Ok(Vec::new()) };
        let mut models: BTreeMap<(String, String), BTreeSet<RemoteFile>> = BTreeMap::new();
        for receipt in self.receipts() {
            models.entry((receipt.repository, receipt.commit)).or_default().extend(receipt.files);
        }
        reporter.expect(size(models.values().flatten()));
        // Commits share the files that are the same.
        let mut known = BTreeMap::new();
        let mut read = Vec::new();
        for ((repository, commit), files) in models {
            let directory = self.root().join(Self::commit_directory(&repository, &commit));
            let mut model = ModelRead {
                repository,
                commit,
                files: files.len(),
                bytes: size(&files),
                damaged: Vec::new(),
                missing: Vec::new(),
            };
            for file in files {
                let blob = (model.repository.clone(), file.digest);
                let found = directory.join(&file.path).canonicalize().ok();
                let Some(path) = found.filter(|path| path.is_file()) else {
                    // Another file may have had the same bytes, which were taken away with that.
                    let is_damaged = known.get(&blob) == Some(&false);
                    let list = if is_damaged { &mut model.damaged } else { &mut model.missing };
                    list.push(file.path);
                    continue;
                };
                if !path.starts_with(&root) {
                    reporter.notice(format!(
                        "{} of {} leads out of the volume, to {}: it is not read",
                        file.path,
                        model.repository,
                        path.display()
                    ));
                    model.missing.push(file.path);
                    continue;
                }
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

/// Bytes of all of these files, whatever a receipt says of them.
fn size<'a>(files: impl IntoIterator<Item = &'a RemoteFile>) -> u64 {
    files.into_iter().fold(0, |sum, file| sum.saturating_add(file.size))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;
    use crate::digest::Digest;
    use crate::fingerprint::{Fingerprint, Key};
    use crate::lock::hub::FileDigest;

    const REPOSITORY: &str = "acme/tiny";
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    const RIGHT: &str = "right";
    const WRONG: &str = "wrong";

    fn key() -> Key {
        Fingerprint::new("weights", 1_u32).key()
    }

    fn file(path: &str) -> RemoteFile {
        let digest = FileDigest::Sha256(Digest::of(RIGHT.as_bytes()));
        RemoteFile { path: path.to_owned(), size: RIGHT.len() as u64, digest }
    }

    /// A model in a volume, all of whose files hold the same: the volume's parent, the cache, the model's
    /// directory, and the one blob.
    fn placed(paths: &[&str]) -> (tempfile::TempDir, ModelCache, PathBuf, PathBuf) {
        let parent = tempfile::tempdir().unwrap();
        let cache = ModelCache::new(parent.path().join("volume"));
        let files: Vec<RemoteFile> = paths.iter().map(|path| file(path)).collect();
        let blob = cache.prepare(REPOSITORY).unwrap().join(files[0].digest.hex());
        fs::write(&blob, RIGHT).unwrap();
        cache.link(REPOSITORY, COMMIT, &files).unwrap();
        cache.certify(key(), REPOSITORY, COMMIT, &files).unwrap();
        let snapshot = cache.root().join(ModelCache::commit_directory(REPOSITORY, COMMIT));
        (parent, cache, snapshot, blob)
    }

    fn read(cache: &ModelCache) -> ModelRead {
        let read = cache.read_all(&Reporter::silent()).unwrap();
        let [model] = &read[..] else { panic!("{read:?}") };
        model.clone()
    }

    #[test]
    fn nothing_outside_of_the_volume_is_taken_away_whatever_receipts_and_links_say() {
        let (parent, cache, snapshot, _) = placed(&["config.json"]);
        let outside = parent.path().join("theirs");
        fs::write(&outside, WRONG).unwrap();
        symlink(&outside, snapshot.join("out")).unwrap();
        symlink(parent.path(), snapshot.join("away")).unwrap();
        let up = format!("{}theirs", "../".repeat(5));
        let absolute = outside.to_str().unwrap();
        let planted = [
            (COMMIT, &*up),
            (COMMIT, absolute),
            (COMMIT, "out"),
            (COMMIT, "away/theirs"),
            ("../../../..", "theirs"),
        ];
        for (at, (commit, path)) in planted.into_iter().enumerate() {
            let directory = snapshot.with_file_name(commit);
            assert_eq!(fs::read_to_string(directory.join(path)).unwrap(), WRONG, "{path}");
            let receipt = serde_json::json!({
                "key": key(), "repository": REPOSITORY, "commit": commit, "files": [file(path)]
            });
            let name = format!(".goatbuild/weights-{at}.json");
            fs::write(cache.root().join(name), receipt.to_string()).unwrap();
        }
        let model = read(&cache);
        assert_eq!((&*model.commit, model.files), (COMMIT, 3));
        assert_eq!(model.damaged, [""; 0]);
        assert_eq!(model.missing, ["away/theirs", "out"]);
        assert_eq!(fs::read_to_string(outside).unwrap(), WRONG);
    }

    #[test]
    fn what_is_missing_is_damaged_only_if_its_bytes_were() {
        let (_parent, cache, snapshot, blob) = placed(&["a", "b"]);
        fs::remove_file(snapshot.join("b")).unwrap();
        let model = read(&cache);
        assert_eq!((model.damaged, model.missing), (vec![], vec!["b".to_owned()]));
        cache.link(REPOSITORY, COMMIT, &[file("b")]).unwrap();
        fs::write(&blob, WRONG).unwrap();
        let model = read(&cache);
        assert_eq!(model.damaged, ["a", "b"]);
        assert_eq!(model.missing, [""; 0]);
        assert!(!blob.exists());
    }
}
