//! Volumes that nothing needs, and in the others the weights and compile caches of the past.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use walkdir::WalkDir;

use super::find::{names, piece, pieces};
use super::{Garbage, GarbageError, GarbageKind, Needed};
use crate::bounded;
use crate::fingerprint::Key;
use crate::step::StepError;
use crate::targets::local;
use crate::workspace::Workspace;

/// What is to be known of a volume before it is looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// An environment has it.
    Wanted,
    /// None does.
    Unwanted,
    /// It is where earlier versions had it, and another is in its place.
    Superseded,
}

/// Finds what nothing needs of a project's volumes: in those of all environments, and where they were
/// before.
pub fn all_volumes(workspace: &Workspace, needed: &Needed) -> Result<Vec<Garbage>, StepError> {
    let (state, project) = (&workspace.settings.state, workspace.project.id.as_str());
    let of = |environment: &str| local::volumes_of(&local::state_of(state, project, environment));
    let mut found = Vec::new();
    for environment in local::environments_of(state, project)? {
        let directory = local::volumes_of(&environment);
        let standing = |name: &str| {
            let is_wanted = needed.with_volume(name).any(|it| of(it) == directory);
            if is_wanted { Standing::Wanted } else { Standing::Unwanted }
        };
        found.extend(volumes(&directory, standing, needed)?);
    }
    let standing = |name: &str| {
        let mut with = needed.with_volume(name).map(|it| of(it).join(name).exists());
        match with.next() {
            None => Standing::Unwanted,
            Some(first) if first && with.all(|is_there| is_there) => Standing::Superseded,
            Some(_) => Standing::Wanted,
        }
    };
    let before = local::old_volumes_of(workspace.store.root());
    found.extend(volumes(&before, standing, needed)?);
    Ok(found)
}

/// Of a directory of volumes, those that no environment has, and in the others the weights and compile
/// caches of the past.
pub(super) fn volumes(
    directory: &Path,
    standing: impl Fn(&str) -> Standing,
    needed: &Needed,
) -> Result<Vec<Garbage>, GarbageError> {
    let mut found = Vec::new();
    for name in names(directory)? {
        let volume = directory.join(&name);
        let standing = standing(&name);
        let is_deployed = needed.is_deployed(&volume);
        if standing == Standing::Superseded && !is_deployed || volume.is_symlink() {
            let stays = is_deployed || standing == Standing::Wanted;
            found.extend((!stays).then(|| piece(GarbageKind::Volume, volume)));
            continue;
        }
        let receipts = Receipt::all(&volume)?;
        // An environment that is gone may have been the last one that was worked on.
        let is_recent = || receipts.iter().any(|receipt| needed.is_past(&receipt.key));
        if standing == Standing::Unwanted && !is_deployed && !is_recent() {
            found.push(piece(GarbageKind::Volume, volume));
            continue;
        }
        let mut needed = needed.clone();
        for Receipt { key, weights, .. } in &receipts {
            if let Some((repository, commit)) = weights
                && needed.needs_key(key)
            {
                needed.add_weights(repository, commit, None);
            }
        }
        // They go first, so that none speaks for files that are gone.
        let unneeded = receipts.iter().filter(|receipt| !receipt.is_needed(&needed));
        found.extend(unneeded.map(|receipt| piece(receipt.kind, receipt.path.clone())));
        for folder in names(&volume.join("hub"))? {
            found.extend(repository(
                &volume.join("hub").join(&folder),
                &folder,
                &receipts,
                &needed,
            )?);
        }
        let is_cache = |name: &str| name.parse::<Key>().is_ok();
        let unneeded = |name: &str| is_cache(name) && !needed.needs_key(name);
        found.extend(pieces(GarbageKind::CompileCache, &volume, unneeded)?);
    }
    Ok(found)
}

/// What a step wrote into a volume once it was done.
struct Receipt {
    kind: GarbageKind,
    path: PathBuf,
    key: String,
    /// The repository and commit, if it is one for weights.
    weights: Option<(String, String)>,
    /// Digests of their files, in hexadecimal.
    files: BTreeSet<String>,
}

impl Receipt {
    fn all(volume: &Path) -> Result<Vec<Self>, GarbageError> {
        let directory = volume.join(".goatbuild");
        let mut receipts = Vec::new();
        for name in names(&directory)? {
            receipts.extend(Self::read(directory.join(&name), &name));
        }
        Ok(receipts)
    }

    fn read(path: PathBuf, name: &str) -> Option<Self> {
        let (word, key) = name.strip_suffix(".json")?.split_once('-')?;
        let kind = match word {
            "weights" => GarbageKind::Weights,
            "warmup" => GarbageKind::CompileCache,
            _ => return None,
        };
        let text = bounded::read(&path, bounded::LOCK).ok();
        let text: Value =
            text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let part = |name: &str| text[name].as_str().map(str::to_owned);
        let files = text["files"].as_array().into_iter().flatten();
        let files = files.filter_map(|file| Some(file["digest"].as_str()?.split_once(':')?.1));
        Some(Self {
            kind,
            key: key.to_owned(),
            weights: part("repository").zip(part("commit")),
            files: files.map(str::to_owned).collect(),
            path,
        })
    }

    fn is_needed(&self, needed: &Needed) -> bool {
        match (self.kind, &self.weights) {
            (GarbageKind::Weights, Some((repository, commit))) => {
                needed.needs_weights(repository, commit)
            }
            // What it is can't be read: nothing is known of what it speaks for.
            (GarbageKind::Weights, None) => true,
            _ => needed.needs_key(&self.key),
        }
    }
}

/// Of one repository in Hugging Face's layout, what belongs to no needed commit.
fn repository(
    directory: &Path,
    folder: &str,
    receipts: &[Receipt],
    needed: &Needed,
) -> Result<Vec<Garbage>, GarbageError> {
    let Some(name) = folder.strip_prefix("models--") else { return Ok(Vec::new()) };
    let repository = name.replacen("--", "/", 1);
    let snapshots = directory.join("snapshots");
    let kept: Vec<String> = names(&snapshots)?
        .into_iter()
        .filter(|commit| needed.needs_weights(&repository, commit))
        .collect();
    if kept.is_empty() && !needed.needs_repository(&repository) {
        return Ok(vec![piece(GarbageKind::Weights, directory.to_owned())]);
    }
    let mut found =
        pieces(GarbageKind::Weights, &snapshots, |name| !kept.iter().any(|it| it == name))?;
    found.extend(dangling(&directory.join("refs"), &repository, needed)?);
    let mut files = BTreeSet::new();
    for commit in &kept {
        for entry in WalkDir::new(snapshots.join(commit)).into_iter().flatten() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            files.extend(target.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    // A fetch that broke off has left files that no snapshot has yet, whole ones and others.
    for (commit, puts) in needed.commits(&repository) {
        let Some(more) = files_of(&repository, commit, puts, receipts, needed) else {
            // Which they are isn't known: any may be of what is wanted.
            return Ok(found);
        };
        files.extend(more);
    }
    let unneeded = |name: &str| digest_of(name).is_some_and(|digest| !files.contains(digest));
    found.extend(pieces(GarbageKind::Weights, &directory.join("blobs"), unneeded)?);
    Ok(found)
}

/// Digests of all files of a commit, if it is known which these are: the lock lists them, or all that
/// is wanted of it was put here, with receipts that do.
fn files_of(
    repository: &str,
    commit: &str,
    puts: &BTreeSet<Key>,
    receipts: &[Receipt],
    needed: &Needed,
) -> Option<BTreeSet<String>> {
    if let Some(listed) = needed.files(repository, commit) {
        return Some(listed.clone());
    }
    let weights = (repository.to_owned(), commit.to_owned());
    let of: Vec<_> = receipts.iter().filter(|it| it.weights.as_ref() == Some(&weights)).collect();
    let is_here = |key: &Key| of.iter().any(|receipt| receipt.key == key.to_string());
    let all = !of.is_empty() && puts.iter().all(is_here);
    all.then(|| of.iter().flat_map(|receipt| receipt.files.iter().cloned()).collect())
}

/// The digest of a blob, or of one that is on its way, by its name.
fn digest_of(name: &str) -> Option<&str> {
    let begun = name.strip_prefix(crate::hub::PARTIAL);
    let digest = begun.map_or(name, |begun| begun.strip_suffix(".blocks").unwrap_or(begun));
    (!digest.is_empty() && digest.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digest)
}

/// Branches and tags that stand for no needed commit; a name may have slashes.
fn dangling(refs: &Path, repository: &str, needed: &Needed) -> Result<Vec<Garbage>, GarbageError> {
    let mut found = Vec::new();
    for entry in WalkDir::new(refs).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.path().is_some_and(|path| !path.exists()) => continue,
            Err(error) => {
                let path = error.path().unwrap_or(refs).to_owned();
                return Err(GarbageError { path, verb: "listed", source: error.into() });
            }
        };
        if entry.file_type().is_file() {
            let commit = bounded::read_to_string(entry.path(), bounded::TEXT).unwrap_or_default();
            if !needed.needs_weights(repository, commit.trim()) {
                found.push(piece(GarbageKind::Weights, entry.into_path()));
            }
        }
    }
    Ok(found)
}
