//! Where garbage lies.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Garbage, GarbageError, GarbageKind, Needed};
use crate::digest::Digest;
use crate::oci::Layout;

/// Blobs that no needed image has.
pub fn blobs(layout: &Layout, needed: &Needed) -> Result<Vec<Garbage>, GarbageError> {
    let unneeded = |name: &str| is_unneeded(name, needed);
    pieces(GarbageKind::Blob, &layout.root().join("blobs/sha256"), unneeded)
}

/// Wheels, packages and Pythons that no lock names, and parts of bases that nothing is built on.
pub fn downloads(cache: &Path, needed: &Needed) -> Result<Vec<Garbage>, GarbageError> {
    let unneeded = |name: &str| {
        let whole = name.strip_suffix(".part").unwrap_or(name);
        let digits = whole.strip_suffix(".whl").unwrap_or(whole);
        let digits = digits.strip_prefix("python-").unwrap_or(digits);
        Digest::from_hex(digits).is_ok() && !needed.needs_download(whole)
    };
    let mut found = Vec::new();
    for directory in ["wheels", "debs", "scripts", "pythons"] {
        found.extend(pieces(GarbageKind::Download, &cache.join(directory), unneeded)?);
    }
    // Blobs on their way into the layout, the locks of those who bring them, and what was found in
    // bases that are whole.
    let unneeded = |name: &str| is_unneeded(name.split('.').next().unwrap_or(name), needed);
    found.extend(pieces(GarbageKind::Download, &cache.join("bases"), unneeded)?);
    Ok(found)
}

/// Unpacked images that nothing on this machine runs and no spec here wants.
pub fn roots(state: &Path, needed: &Needed) -> Result<Vec<Garbage>, GarbageError> {
    let unneeded =
        |name: &str| name.strip_prefix("sha256-").is_some_and(|digits| is_unneeded(digits, needed));
    pieces(GarbageKind::Root, &state.join("roots"), unneeded)
}

/// What packages were built in: unpacked again where one is built again.
pub fn build_roots(roots: &Path) -> Result<Vec<Garbage>, GarbageError> {
    pieces(GarbageKind::Root, roots, |name| name.starts_with("sha256-"))
}

/// Logs of runs before the last ones.
pub fn logs(cache: &Path, runs: &BTreeSet<i64>) -> Result<Vec<Garbage>, GarbageError> {
    let past = |name: &str| name.parse().is_ok_and(|run: i64| !runs.contains(&run));
    pieces(GarbageKind::Log, &cache.join("logs"), past)
}

/// Whether a name is a digest's digits, and nothing needs what has them.
fn is_unneeded(digits: &str, needed: &Needed) -> bool {
    Digest::from_hex(digits).is_ok_and(|digest| !needed.needs_digest(digest))
}

/// The entries of a directory that are garbage, in order; none when there is no such directory.
pub(super) fn pieces(
    kind: GarbageKind,
    directory: &Path,
    unneeded: impl Fn(&str) -> bool,
) -> Result<Vec<Garbage>, GarbageError> {
    let unneeded = names(directory)?.into_iter().filter(|name| unneeded(name));
    Ok(unneeded.map(|name| piece(kind, directory.join(name))).collect())
}

pub(super) fn piece(kind: GarbageKind, path: PathBuf) -> Garbage {
    Garbage { kind, path, bytes: 0 }
}

/// The names in a directory, in order; none when there is no such directory.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, GarbageError> {
    let failed = |source| GarbageError { path: directory.to_owned(), verb: "listed", source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is not UTF-8 is none of ours.
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}
