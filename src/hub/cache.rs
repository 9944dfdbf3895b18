//! The model cache: a directory in Hugging Face's own layout, with a receipt per finished model.
//!
//! `hub/models--ORG--NAME/{blobs,refs,snapshots}` is what the Hugging Face client reads; the
//! receipts in `.goatbuild/` are ours.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::Hasher;
use super::{Manifest, WeightFile, WeightsError};
use crate::bounded;
use crate::durable::{self, Unfinished};
use crate::event::Reporter;
use crate::fingerprint::Key;
use crate::lock::hub::{FileDigest, RemoteFile};

/// A model cache on this machine.
#[derive(Debug, Clone)]
pub struct ModelCache {
    root: PathBuf,
}

/// Written last, when everything else is in its place.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Receipt {
    key: Key,
    pub(super) repository: String,
    pub(super) commit: String,
    pub(super) files: Vec<RemoteFile>,
    /// When each file's bytes were last changed as they were checked, by the digits of its digest. Receipts
    /// of earlier versions, and those at Modal, don't say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    checked: BTreeMap<String, String>,
}

impl Receipt {
    /// Reads one; none where there is none, or one that leads elsewhere: whoever can write to the volume can
    /// write receipts.
    fn read(path: &Path) -> Option<Self> {
        let text = bounded::read_to_string(path, bounded::LOCK).ok()?;
        let receipt: Self = serde_json::from_str(&text).ok()?;
        receipt.stays_inside().then_some(receipt)
    }

    /// Whether the paths of its files, as they are written, are paths within the volume. [`RemoteFile::is_path`]
    /// would ask too much: a directory of the project may have files by names that no hub's repository has.
    fn stays_inside(&self) -> bool {
        let commit = &self.commit;
        is_plain(&folder(&self.repository))
            && is_plain(commit)
            && commit.is_ascii()
            && !commit.contains('/')
            && self.files.iter().all(|file| file.path.split('/').all(is_plain))
    }
}

/// What became of a file of a model that was put here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lapse {
    /// It is gone, or has another size.
    Gone(String),
    /// It was written to since it was checked, whatever it holds now.
    Touched(String),
}

impl ModelCache {
    /// The cache at `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a repository is, relative to the cache's root.
    pub fn repository(repository: &str) -> String {
        format!("hub/{}", folder(repository))
    }

    /// Where the files of a commit are, relative to the cache's root.
    pub fn commit_directory(repository: &str, commit: &str) -> String {
        format!("hub/{}/snapshots/{commit}", folder(repository))
    }

    /// Whether the model that was put here with this key is all there: receipt, links and sizes, and nobody
    /// has written to its files since.
    ///
    /// `None` without a receipt; otherwise the first file of which that isn't so. No byte of a file is read:
    /// that takes minutes, and [`Self::read_all`] does.
    pub fn check(&self, key: &Key) -> Option<Result<String, Lapse>> {
        let receipt = Receipt::read(&self.receipt(key))?;
        let directory = self.directory(&receipt);
        for file in &receipt.files {
            let found = std::fs::metadata(directory.join(&file.path));
            let Some(found) = found.ok().filter(|found| found.len() == file.size) else {
                return Some(Err(Lapse::Gone(file.path.clone())));
            };
            let checked = receipt.checked.get(&file.digest.hex());
            if checked.is_some_and(|checked| *checked != written(&found)) {
                return Some(Err(Lapse::Touched(file.path.clone())));
            }
        }
        Some(Ok(receipt.commit))
    }

    /// The receipts of all models that were put here. Links in the volume may still lead out of it.
    pub(super) fn receipts(&self) -> Vec<Receipt> {
        let entries = std::fs::read_dir(self.root.join(RECEIPTS)).into_iter().flatten().flatten();
        entries.filter_map(|entry| Receipt::read(&entry.path())).collect()
    }

    /// Where the files of a model are.
    pub(super) fn directory(&self, receipt: &Receipt) -> PathBuf {
        self.root.join(Self::commit_directory(&receipt.repository, &receipt.commit))
    }

    /// Copies a directory of weights in, verifies every byte, and writes the receipt.
    ///
    /// Returns the bytes that were copied; files that are here already, and are what they are
    /// called, are not copied again.
    pub fn install(
        &self,
        key: Key,
        repository: &str,
        manifest: &Manifest,
        from: &Path,
        reporter: &Reporter,
    ) -> Result<u64, WeightsError> {
        let blobs = self.prepare(repository)?;
        reporter.expect(manifest.size());
        let files: Vec<RemoteFile> = manifest.files.iter().map(remote).collect();
        let mut copied = 0;
        for file in &files {
            let blob = blobs.join(file.digest.hex());
            if !holds(&blob, file, reporter)? {
                if blob.exists() {
                    reporter.notice(format!(
                        "{} in the volume is damaged: copying it again",
                        file.path
                    ));
                }
                copy(&from.join(&file.path), &blob, file, reporter)?;
                copied += file.size;
            }
        }
        let commit = manifest.commit();
        self.link(repository, &commit, &files)?;
        self.refer(repository, "main", &commit)?;
        self.certify(key, repository, &commit, &files)?;
        Ok(copied)
    }

    /// Writes the receipt of a model that is all here and was checked, under the key of what it was fetched for.
    pub fn certify(
        &self,
        key: Key,
        repository: &str,
        commit: &str,
        files: &[RemoteFile],
    ) -> Result<(), WeightsError> {
        let mut receipt = Receipt {
            key,
            repository: repository.to_owned(),
            commit: commit.to_owned(),
            files: files.to_vec(),
            checked: BTreeMap::new(),
        };
        let directory = self.directory(&receipt);
        for file in files {
            let path = directory.join(&file.path);
            let found = std::fs::metadata(&path).map_err(failed(&path))?;
            receipt.checked.insert(file.digest.hex(), written(&found));
        }
        let text = serde_json::to_vec_pretty(&receipt)
            .unwrap_or_else(|error| panic!("BUG: a receipt is not JSON: {error}"));
        write(&self.receipt(&key), &text)
    }

    /// Makes the directory of a repository's blobs, and clears it of what killed copies left.
    pub(super) fn prepare(&self, repository: &str) -> Result<PathBuf, WeightsError> {
        let blobs = self.root.join("hub").join(folder(repository)).join("blobs");
        create(&blobs)?;
        clear_remains(&blobs)?;
        Ok(blobs)
    }

    /// Gives files whose blobs are here their names in a commit.
    pub(super) fn link(
        &self,
        repository: &str,
        commit: &str,
        files: &[RemoteFile],
    ) -> Result<(), WeightsError> {
        let directory = self.root.join(Self::commit_directory(repository, commit));
        for file in files {
            let up = "../".repeat(file.path.matches('/').count() + 2);
            let target = format!("{up}blobs/{}", file.digest.hex());
            symlink(&target, &directory.join(&file.path))?;
        }
        Ok(())
    }

    /// Lets a branch or tag stand for a commit.
    pub fn refer(
        &self,
        repository: &str,
        reference: &str,
        commit: &str,
    ) -> Result<(), WeightsError> {
        if !reference.split('/').all(is_plain) {
            let (repository, reference) = (repository.to_owned(), reference.to_owned());
            return Err(WeightsError::Reference { repository, reference });
        }
        write(&self.reference(repository, reference), commit.as_bytes())
    }

    /// Whether anything stands for a branch or tag.
    pub fn has_reference(&self, repository: &str, reference: &str) -> bool {
        self.reference(repository, reference).exists()
    }

    fn reference(&self, repository: &str, reference: &str) -> PathBuf {
        self.root.join("hub").join(folder(repository)).join("refs").join(reference)
    }

    fn receipt(&self, key: &Key) -> PathBuf {
        self.root.join(RECEIPTS).join(format!("weights-{key}.json"))
    }
}

/// Where receipts are.
const RECEIPTS: &str = ".goatbuild";

/// When a file's bytes were last changed, as far as its file system knows. Neither its inode nor when that
/// changed: other environments share the file by links, and a volume is moved to another disk, or brought
/// back from a backup.
fn written(found: &Metadata) -> String {
    format!("{}.{:09}", found.mtime(), found.mtime_nsec())
}

/// Whether a part of a path is a name, and leads nowhere else.
fn is_plain(part: &str) -> bool {
    !["", ".", ".."].contains(&part) && !part.contains('\0')
}

/// The directory of a repository in a cache of Hugging Face's layout.
pub(super) fn folder(repository: &str) -> String {
    format!("models--{}", repository.replace('/', "--"))
}

pub(super) fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> WeightsError {
    let path = path.to_owned();
    move |source| WeightsError::Write { path, source }
}

fn create(directory: &Path) -> Result<(), WeightsError> {
    std::fs::create_dir_all(directory).map_err(failed(directory))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// What a copy is called until its bytes are verified.
pub(super) const INCOMING: &str = ".incoming-";

/// Deletes what a killed run left half-copied. Only one run at a time writes a model.
fn clear_remains(blobs: &Path) -> Result<(), WeightsError> {
    for entry in std::fs::read_dir(blobs).map_err(failed(blobs))? {
        let entry = entry.map_err(failed(blobs))?;
        if entry.file_name().to_string_lossy().starts_with(INCOMING) {
            std::fs::remove_file(entry.path()).map_err(failed(&entry.path()))?;
        }
    }
    Ok(())
}

fn remote(file: &WeightFile) -> RemoteFile {
    let digest = FileDigest::Sha256(file.sha256);
    RemoteFile { path: file.path.clone(), size: file.size, digest }
}

/// Whether the file at `path` has this size and these bytes; counts them as done if so.
pub(super) fn holds(
    path: &Path,
    file: &RemoteFile,
    reporter: &Reporter,
) -> Result<bool, WeightsError> {
    if !std::fs::metadata(path).is_ok_and(|found| found.len() == file.size) {
        return Ok(false);
    }
    let unreadable = |source| WeightsError::Read { path: path.to_owned(), source };
    let mut bytes = File::open(path).map_err(unreadable)?;
    let mut hasher = Hasher::new(file.digest.kind(), file.size);
    let mut buffer = vec![0; 1 << 20];
    loop {
        reporter.check()?;
        match bytes.read(&mut buffer).map_err(unreadable)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let right = hasher.finish() == file.digest;
    if right {
        reporter.advance(file.size)?;
    }
    Ok(right)
}

/// Copies a file, and gives it its name when its bytes are the right ones.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    file: &RemoteFile,
    reporter: &Reporter,
) -> Result<(), WeightsError> {
    let unreadable = |source| WeightsError::Read { path: from.to_owned(), source };
    let mut source = bounded::open(from).map_err(unreadable)?;
    // A container may read the volume as another user.
    let mut incoming = Unfinished::begin(parent(to), INCOMING, 0o644).map_err(failed(to))?;
    let mut hasher = Hasher::new(file.digest.kind(), file.size);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = source.read(&mut buffer).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        incoming.write_all(&buffer[..read]).map_err(failed(to))?;
        reporter.advance(read as u64)?;
    }
    if hasher.finish() != file.digest {
        return Err(WeightsError::Changed { path: from.to_owned() });
    }
    incoming.finish(to).map_err(failed(to))
}

fn symlink(target: &str, link: &Path) -> Result<(), WeightsError> {
    if std::fs::read_link(link).is_ok_and(|found| found.as_os_str() == target) {
        return Ok(());
    }
    create(parent(link))?;
    durable::link(target, link).map_err(failed(link))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), WeightsError> {
    create(parent(path))?;
    durable::write(path, bytes, 0o644).map_err(failed(path))
}
