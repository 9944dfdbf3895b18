//! What `cache/` and this machine's state hold that nothing needs any more.
//!
//! Needed is what a current spec of any environment asks for, what is deployed, and what the last
//! runs made or tried. All else is garbage: removing it loses time at most, never truth.

mod find;
mod needed;
mod volumes;

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::Serialize;
use thiserror::Error;
use walkdir::WalkDir;

use crate::oci::{Layout, OciError};

pub use find::{blobs, build_roots, downloads, logs, roots};
pub use needed::Needed;
pub use volumes::all_volumes;

/// What a piece of garbage was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GarbageKind {
    /// Layers and documents of images, in `cache/oci`.
    Blob,
    /// Wheels, Debian packages, Pythons and parts of bases, whole or not: what layers are made of.
    Download,
    /// Weights in a volume.
    Weights,
    /// A warmed compile cache in a volume.
    CompileCache,
    /// A volume that no environment has any more.
    Volume,
    /// An image unpacked for the embedded runtime.
    Root,
    /// Logs of runs that are long over.
    Log,
}

impl GarbageKind {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blob => "image blobs",
            Self::Download => "downloads",
            Self::Weights => "weights",
            Self::CompileCache => "compile caches",
            Self::Volume => "volumes",
            Self::Root => "unpacked images",
            Self::Log => "logs",
        }
    }
}

/// A file or directory that nothing needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// What it was for.
    pub kind: GarbageKind,
    /// Where it is.
    pub path: PathBuf,
    /// What removing it frees, in bytes, once it is measured.
    pub bytes: u64,
}

/// The garbage could not be found, or stays.
#[derive(Debug, Error, Diagnostic)]
#[error("{} can't be {verb}: {source}", path.display())]
#[diagnostic(
    code(goatbuild::gc::file),
    help("check the permissions; `goatbuild gc` again goes on from there")
)]
pub struct GarbageError {
    path: PathBuf,
    verb: &'static str,
    source: io::Error,
}

/// Takes away the tags of images that are not needed, so that nothing names what is removed.
pub fn untag(layout: &Layout, needed: &Needed) -> Result<(), OciError> {
    for (tag, digest) in layout.tags()? {
        if !digest.is_ok_and(|digest| needed.needs_digest(digest)) {
            layout.untag(&tag)?;
        }
    }
    Ok(())
}

/// Tells what removing all of it frees: a file that has yet another name elsewhere stays, and of one
/// that was never filled only what is on disk counts.
pub fn measure(garbage: &mut [Garbage]) -> Result<(), GarbageError> {
    let mut links: HashMap<(u64, u64), u64> = HashMap::new();
    for piece in garbage {
        let unread = |source| GarbageError { path: piece.path.clone(), verb: "read", source };
        piece.bytes = 0;
        for entry in WalkDir::new(&piece.path) {
            let found = match entry.and_then(|entry| entry.metadata()) {
                Ok(found) => found,
                // Somebody else removed it meanwhile.
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(unread(error.into())),
            };
            if found.is_file() {
                let seen = links.entry((found.dev(), found.ino())).or_default();
                *seen += 1;
                if *seen == found.nlink() {
                    piece.bytes += found.len().min(found.blocks() * 512);
                }
            }
        }
    }
    Ok(())
}

fn is_gone(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Removes it all, in the order given: what speaks for other files comes before them.
pub fn remove(garbage: &[Garbage]) -> Result<(), GarbageError> {
    for piece in garbage {
        remove_one(&piece.path).map_err(|source| GarbageError {
            path: piece.path.clone(),
            verb: "removed",
            source,
        })?;
    }
    Ok(())
}

fn remove_one(path: &Path) -> io::Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                open_up(path);
                std::fs::remove_dir_all(path)
            }
            other => other,
        },
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        // It was below something that is gone already.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Lets the user empty directories that an image made read-only. What can't be changed shows later.
fn open_up(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    // From the top: what is below can't be listed before.
    for entry in WalkDir::new(path).into_iter().flatten() {
        if entry.file_type().is_dir() {
            let _ = std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o700));
        }
    }
}

#[cfg(test)]
mod tests;
