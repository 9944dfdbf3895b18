//! The files of a model, each by its size and SHA-256.

use std::fs::{Metadata, canonicalize};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::WeightsError;
use crate::bounded;
use crate::digest::{self, Digest};
use crate::event::Reporter;
use crate::fetch::sha256_of;
use crate::lock::hub::FileDigest;

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WeightFile {
    /// Relative path with `/` between parts.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Of its bytes.
    #[serde(with = "digest::bare")]
    pub sha256: Digest,
}

/// All files of a model, sorted by path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The files.
    pub files: Vec<WeightFile>,
}

impl Manifest {
    /// 40 hexadecimal digits that stand for exactly these files, where a hub has a git commit.
    pub fn commit(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for file in &self.files {
            hasher.update(
                format!("{}\0{}\0{}\n", file.path, file.size, file.sha256.hex()).as_bytes(),
            );
        }
        hasher.finalize().to_hex()[..40].to_owned()
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// Remembers the hashes of files between runs.
pub trait HashCache: Sync {
    /// The hash of the file at `path` when it still has this stamp.
    fn get(&self, path: &str, stamp: &str) -> Option<FileDigest>;
    /// Remembers a hash.
    fn put(&self, path: &str, stamp: &str, digest: FileDigest);
}

/// What changes whenever a file does.
pub(super) fn stamp(metadata: &Metadata) -> String {
    format!(
        "{}-{}-{}.{}-{}.{}",
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec()
    )
}

/// Reads a directory of weights in the project at `root`. Hidden files are left out. Symbolic links are
/// followed as long as they stay in the project: whoever writes a spec gets to serve nothing else that
/// this user can read.
pub fn scan(
    root: &Path,
    path: &str,
    known: &dyn HashCache,
    reporter: &Reporter,
) -> Result<Manifest, WeightsError> {
    let directory = &root.join(path);
    if !directory.is_dir() {
        return Err(WeightsError::NoDirectory { path: directory.clone() });
    }
    let unreadable = |source| WeightsError::Read { path: root.to_owned(), source };
    let project = canonicalize(root).map_err(unreadable)?;
    stays_inside(directory, &project)?;
    let mut files = Vec::new();
    let visible = |entry: &walkdir::DirEntry| {
        entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.')
    };
    for entry in WalkDir::new(directory).follow_links(true).into_iter().filter_entry(visible) {
        reporter.check()?;
        let entry = entry.map_err(|error| unwalkable(error, directory))?;
        if entry.path_is_symlink() {
            stays_inside(entry.path(), &project)?;
        }
        if let Some(what) = bounded::special(entry.file_type()) {
            return Err(WeightsError::Special { path: entry.into_path(), what });
        }
        if entry.file_type().is_file() {
            files.push(describe(directory, entry.path(), known)?);
        }
    }
    if files.is_empty() {
        return Err(WeightsError::Empty { path: directory.clone() });
    }
    files.sort_unstable();
    Ok(Manifest { files })
}

/// Fails on what leads out of the project, by whatever chain of links.
fn stays_inside(path: &Path, project: &Path) -> Result<(), WeightsError> {
    let source = |source| WeightsError::Read { path: path.to_owned(), source };
    let to = canonicalize(path).map_err(source)?;
    if to.starts_with(project) {
        return Ok(());
    }
    Err(WeightsError::Outside { path: path.to_owned(), to })
}

/// What stops a walk through a directory: for the most part links, which are named with their targets.
fn unwalkable(error: walkdir::Error, directory: &Path) -> WeightsError {
    let path = error.path().unwrap_or(directory).to_owned();
    if let Some(to) = error.loop_ancestor().map(Path::to_owned) {
        return WeightsError::Loop { path, to };
    }
    match std::fs::read_link(&path) {
        Ok(to) => WeightsError::Dangling { path, to, source: plain(error) },
        Err(_) => WeightsError::Read { path, source: plain(error) },
    }
}

/// What the system said, without the path that the error names already.
fn plain(error: walkdir::Error) -> std::io::Error {
    let code = error.io_error().and_then(std::io::Error::raw_os_error);
    code.map_or_else(|| error.into(), std::io::Error::from_raw_os_error)
}

fn describe(
    directory: &Path,
    path: &Path,
    known: &dyn HashCache,
) -> Result<WeightFile, WeightsError> {
    let failed = |source| WeightsError::Read { path: path.to_owned(), source };
    let relative = path.strip_prefix(directory).unwrap_or(path);
    let relative =
        relative.to_str().ok_or_else(|| WeightsError::NotUtf8 { path: path.to_owned() })?;
    let metadata = std::fs::metadata(path).map_err(failed)?;
    let stamp = stamp(&metadata);
    let name = path.to_string_lossy();
    let sha256 = if let Some(FileDigest::Sha256(sha256)) = known.get(&name, &stamp) {
        sha256
    } else {
        let mut file = bounded::open(path).map_err(failed)?;
        let sha256 = sha256_of(&mut file).map_err(failed)?;
        // A file written in the last moments could change again under the same time stamp.
        let settled =
            metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        if settled.is_some_and(|age| age > Duration::from_secs(2)) {
            known.put(&name, &stamp, FileDigest::Sha256(sha256));
        }
        sha256
    };
    Ok(WeightFile { path: relative.to_owned(), size: metadata.len(), sha256 })
}
