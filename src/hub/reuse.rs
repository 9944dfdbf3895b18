//! Files that are here already: in the volume, or in a cache of the user's own.

use std::path::{Path, PathBuf};

use super::cache::{INCOMING, copy, failed, folder, holds};
use super::manifest::stamp;
use super::{HashCache, WeightsError};
use crate::disk::shared;
use crate::durable;
use crate::event::Reporter;
use crate::lock::hub::{FileDigest, RemoteFile};

/// Whether a blob was verified before and has not changed since.
pub(super) fn is_known(blob: &Path, file: &RemoteFile, known: &dyn HashCache) -> bool {
    let Ok(metadata) = std::fs::metadata(blob) else { return false };
    metadata.len() == file.size
        && known.get(&blob.to_string_lossy(), &stamp(&metadata)) == Some(file.digest)
}

/// Remembers that a blob was verified.
pub(super) fn remember(blob: &Path, file: &RemoteFile, known: &dyn HashCache) {
    // One command at a time writes a volume: no other write hides under the same time stamp.
    if let Ok(metadata) = std::fs::metadata(blob) {
        known.put(&blob.to_string_lossy(), &stamp(&metadata), file.digest);
    }
}

/// The blobs of a volume that were verified and have not changed since, by their paths in it; each
/// with its hash.
pub fn verified(volume: &Path, known: &dyn HashCache) -> Vec<(PathBuf, FileDigest)> {
    let mut verified = Vec::new();
    for repository in std::fs::read_dir(volume.join("hub")).into_iter().flatten().flatten() {
        let blobs = std::fs::read_dir(repository.path().join("blobs"));
        for blob in blobs.into_iter().flatten().flatten().map(|entry| entry.path()) {
            let Ok(metadata) = std::fs::metadata(&blob) else { continue };
            let hash = known.get(&blob.to_string_lossy(), &stamp(&metadata));
            let path = blob.strip_prefix(volume).ok().map(Path::to_owned);
            verified.extend(path.zip(hash));
        }
    }
    verified
}

/// Remembers blobs as verified in the volume that they were brought to, unchanged, from another.
pub fn keep_verified(volume: &Path, verified: &[(PathBuf, FileDigest)], known: &dyn HashCache) {
    for (path, hash) in verified {
        let blob = volume.join(path);
        if let Ok(metadata) = std::fs::metadata(&blob) {
            known.put(&blob.to_string_lossy(), &stamp(&metadata), *hash);
        }
    }
}

/// A file of this repository that a user's cache has by its name and size: the file itself, since a
/// link to a link would lead nowhere in an image.
///
/// Where links can't be made, Hugging Face's client has no blobs: its files lie in the snapshots themselves.
fn in_cache(cache: &Path, repository: &str, file: &RemoteFile) -> Option<PathBuf> {
    let ours = cache.join(folder(repository));
    let snapshots = std::fs::read_dir(ours.join("snapshots")).into_iter().flatten().flatten();
    let blob = ours.join("blobs").join(file.digest.hex());
    let all = std::iter::once(blob).chain(snapshots.map(|it| it.path().join(&file.path)));
    all.filter_map(|named| named.canonicalize().ok()).find(|real| {
        std::fs::metadata(real).is_ok_and(|found| found.is_file() && found.len() == file.size)
    })
}

/// The room that a file needs which the user has, if so: none where its bytes can be shared.
pub(super) fn room_for_theirs(
    blob: &Path,
    repository: &str,
    file: &RemoteFile,
    caches: &[PathBuf],
) -> Option<u64> {
    let theirs = caches.iter().find_map(|cache| in_cache(cache, repository, file))?;
    // Who can tell but by trying? A file system may clone between volumes, and forbid links.
    let tried = blob.with_file_name(format!("{INCOMING}{}", file.digest.hex()));
    let is_shared = matches!(shared(&theirs, &tried), Ok(Some(_)));
    let _ = std::fs::remove_file(tried);
    Some(if is_shared { 0 } else { file.size })
}

/// Verifies a blob that is here, or takes it from a cache that has it.
///
/// Whatever is not what it is called is left to be fetched. Returns whether the blob is here now.
pub(super) fn find(
    blob: &Path,
    repository: &str,
    file: &RemoteFile,
    caches: &[PathBuf],
    reporter: &Reporter,
) -> Result<bool, WeightsError> {
    if holds(blob, file, reporter)? {
        return Ok(true);
    }
    if blob.exists() {
        reporter.notice(format!("{} in the volume is damaged: fetching it again", file.path));
        std::fs::remove_file(blob).map_err(failed(blob))?;
    }
    for theirs in caches.iter().filter_map(|cache| in_cache(cache, repository, file)) {
        if taken(&theirs, blob, file, reporter)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes a file by sharing its bytes or by copying them, and verifies what came of it.
fn taken(
    theirs: &Path,
    blob: &Path,
    file: &RemoteFile,
    reporter: &Reporter,
) -> Result<bool, WeightsError> {
    let incoming = blob.with_file_name(format!("{INCOMING}{}", file.digest.hex()));
    let Some(how) = shared(theirs, &incoming).map_err(failed(&incoming))? else {
        return match copy(theirs, blob, file, reporter) {
            Ok(()) => {
                reporter.log(format!("{} copied from {}", file.path, theirs.display()));
                Ok(true)
            }
            Err(WeightsError::Changed { .. }) => {
                // What was counted as done has to be done again.
                reporter.expect(file.size);
                passed_over(theirs, file, reporter);
                Ok(false)
            }
            Err(WeightsError::Read { .. }) => Ok(false),
            Err(error) => Err(error),
        };
    };
    if holds(&incoming, file, reporter)? {
        durable::rename(&incoming, blob).map_err(failed(blob))?;
        reporter.log(format!("{} {how} {}", file.path, theirs.display()));
        return Ok(true);
    }
    std::fs::remove_file(&incoming).map_err(failed(&incoming))?;
    passed_over(theirs, file, reporter);
    Ok(false)
}

fn passed_over(theirs: &Path, file: &RemoteFile, reporter: &Reporter) {
    let theirs = theirs.display();
    reporter.log(format!("{theirs} is not {}: it is fetched instead", file.digest));
}
