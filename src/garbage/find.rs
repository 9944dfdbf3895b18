//! Where garbage lies.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{Garbage, GarbageError, Kind, Needed};
use crate::oci::Layout;

/// Blobs that no needed image has.
pub fn blobs(layout: &Layout, needed: &Needed) -> Result<Vec<Garbage>, GarbageError> {
    let directory = layout.root().join("blobs/sha256");
    let unneeded = |name: &str| {
        let is_blob = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_blob && !needed.digests.contains(&format!("sha256:{name}"))
    };
    pieces(Kind::Blob, &directory, unneeded)
}

/// Wheels and packages that no lock names.
pub fn downloads(cache: &Path, needed: &Needed) -> Result<Vec<Garbage>, GarbageError> {
    let unneeded = |name: &str| {
        let whole = name.strip_suffix(".part").unwrap_or(name);
        let digits = whole.strip_suffix(".whl").unwrap_or(whole);
        let is_ours = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_ours && !needed.downloads.contains(whole)
    };
    let mut found = pieces(Kind::Download, &cache.join("wheels"), unneeded)?;
    found.extend(pieces(Kind::Download, &cache.join("debs"), unneeded)?);
    Ok(found)
}

/// Volumes that no environment has, and in the others the weights and compile caches of the past.
pub fn volumes(cache: &Path, needed: &Needed) -> Result<Vec<Garbage>, GarbageError> {
    let directory = cache.join("volumes");
    let mut found = pieces(Kind::Volume, &directory, |name| !needed.volumes.contains(name))?;
    for volume in names(&directory)?.into_iter().filter(|name| needed.volumes.contains(name)) {
        let volume = directory.join(volume);
        let needed = &with_receipts(&volume, needed)?;
        found.extend(receipts(&volume, needed)?);
        for model in names(&volume.join("hub"))? {
            found.extend(model_files(&volume.join("hub").join(&model), &model, needed)?);
        }
        let unneeded = |name: &str| is_cache(name) && !needed.needs_key(name);
        found.extend(pieces(Kind::CompileCache, &volume, unneeded)?);
    }
    Ok(found)
}

/// Unpacked images that nothing on this machine runs and no spec here wants.
pub fn roots(state: &Path, needed: &Needed) -> Result<Vec<Garbage>, GarbageError> {
    let unneeded = |name: &str| {
        let Some(digits) = name.strip_prefix("sha256-") else { return false };
        let digest = format!("sha256:{digits}");
        !needed.digests.contains(&digest) && !needed.is_deployed(&digest)
    };
    pieces(Kind::Root, &state.join("roots"), unneeded)
}

/// Logs of runs before the last ones.
pub fn logs(cache: &Path, runs: &BTreeSet<i64>) -> Result<Vec<Garbage>, GarbageError> {
    let past = |name: &str| name.parse().is_ok_and(|run: i64| !runs.contains(&run));
    pieces(Kind::Log, &cache.join("logs"), past)
}

fn is_cache(name: &str) -> bool {
    name.parse::<crate::fingerprint::Key>().is_ok()
}

/// Where a volume keeps its receipts.
fn receipts_of(volume: &Path) -> PathBuf {
    volume.join(".goatbuild")
}

/// The repository and commit that a receipt speaks for, if it is one for weights.
fn weighed(receipt: &Path) -> Option<(String, String)> {
    let receipt: serde_json::Value = serde_json::from_slice(&fs::read(receipt).ok()?).ok()?;
    let part = |name: &str| receipt[name].as_str().map(str::to_owned);
    Some((part("repository")?, part("commit")?))
}

/// What is needed, with the weights that a run put here whose key counts.
fn with_receipts(volume: &Path, needed: &Needed) -> Result<Needed, GarbageError> {
    let directory = receipts_of(volume);
    let mut needed = needed.clone();
    for name in names(&directory)? {
        let key = name.strip_prefix("weights-").and_then(|it| it.strip_suffix(".json"));
        if key.is_some_and(|key| needed.needs_key(key)) {
            needed.weights.extend(weighed(&directory.join(name)));
        }
    }
    Ok(needed)
}

/// Receipts for what is not needed: they go first, so that none speaks for files that are gone.
fn receipts(volume: &Path, needed: &Needed) -> Result<Vec<Garbage>, GarbageError> {
    let directory = receipts_of(volume);
    let unneeded = |name: &str| {
        if let Some(key) = name.strip_prefix("warmup-").and_then(|it| it.strip_suffix(".json")) {
            return !needed.needs_key(key);
        }
        let weighed = name.starts_with("weights-").then(|| weighed(&directory.join(name)));
        weighed
            .flatten()
            .is_some_and(|(repository, commit)| !needed.needs_weights(&repository, &commit))
    };
    let mut found = pieces(Kind::Weights, &directory, unneeded)?;
    for piece in &mut found {
        let name = piece.path.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(b"warmup-") {
            piece.kind = Kind::CompileCache;
        }
    }
    Ok(found)
}

/// Of one repository in Hugging Face's layout, what belongs to no needed commit.
fn model_files(
    directory: &Path,
    folder: &str,
    needed: &Needed,
) -> Result<Vec<Garbage>, GarbageError> {
    let Some(name) = folder.strip_prefix("models--") else { return Ok(Vec::new()) };
    let repository = name.replacen("--", "/", 1);
    let snapshots = directory.join("snapshots");
    let kept: Vec<String> = names(&snapshots)?
        .into_iter()
        .filter(|commit| needed.needs_weights(&repository, commit))
        .collect();
    let asked_for = needed.weights.iter().any(|(known, _)| *known == repository);
    if kept.is_empty() && !asked_for {
        return Ok(vec![piece(Kind::Weights, directory.to_owned())?]);
    }
    let mut found = pieces(Kind::Weights, &snapshots, |name| !kept.iter().any(|it| it == name))?;
    let refs = directory.join("refs");
    let dangling = |name: &str| {
        let commit = fs::read_to_string(refs.join(name)).unwrap_or_default();
        !needed.needs_weights(&repository, commit.trim())
    };
    found.extend(pieces(Kind::Weights, &refs, dangling)?);
    let mut linked = BTreeSet::new();
    for commit in &kept {
        for entry in WalkDir::new(snapshots.join(commit)).into_iter().flatten() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            linked.extend(target.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    // What is not whole yet may be of a commit that is wanted: the next fetch goes on from it.
    let is_whole = |name: &str| name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let unlinked = |name: &str| is_whole(name) && !linked.contains(name);
    found.extend(pieces(Kind::Weights, &directory.join("blobs"), unlinked)?);
    Ok(found)
}

/// The entries of a directory that are garbage, in order; none when there is no such directory.
fn pieces(
    kind: Kind,
    directory: &Path,
    unneeded: impl Fn(&str) -> bool,
) -> Result<Vec<Garbage>, GarbageError> {
    let unneeded = names(directory)?.into_iter().filter(|name| unneeded(name));
    unneeded.map(|name| piece(kind, directory.join(name))).collect()
}

fn names(directory: &Path) -> Result<Vec<String>, GarbageError> {
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

fn piece(kind: Kind, path: PathBuf) -> Result<Garbage, GarbageError> {
    let bytes =
        size(&path).map_err(|source| GarbageError { path: path.clone(), verb: "read", source })?;
    Ok(Garbage { kind, path, bytes })
}

/// What removing `path` frees: a file that has another name elsewhere stays.
fn size(path: &Path) -> io::Result<u64> {
    let mut links: HashMap<(u64, u64), u64> = HashMap::new();
    let mut bytes = 0;
    for entry in WalkDir::new(path) {
        let found = entry?.metadata()?;
        if found.is_file() {
            let seen = links.entry((found.dev(), found.ino())).or_default();
            *seen += 1;
            if *seen == found.nlink() {
                bytes += found.len();
            }
        }
    }
    Ok(bytes)
}
