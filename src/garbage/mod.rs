//! What `cache/` and this machine's state hold that nothing needs any more.
//!
//! Needed is what a current spec of any environment asks for, what is deployed, and what the last
//! runs made or tried. All else is garbage: removing it loses time at most, never truth.

mod find;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::Serialize;
use thiserror::Error;

use crate::fingerprint::Key;
use crate::lock::LockFile;
use crate::oci::{Layout, OciError};
use crate::plan::Plan;
use crate::step::Facts;
use crate::store::Recent;
use crate::workspace::Workspace;

pub use find::{blobs, downloads, logs, roots, volumes};

/// What a piece of garbage was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Layers and documents of images, in `cache/oci`.
    Blob,
    /// Wheels and Debian packages that layers were made of.
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

impl Kind {
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
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
    /// What removing it frees, in bytes.
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

/// What is needed.
#[derive(Debug, Clone, Default)]
pub struct Needed {
    digests: BTreeSet<String>,
    keys: BTreeSet<Key>,
    /// File names below `cache/wheels` and `cache/debs`.
    downloads: BTreeSet<String>,
    /// Repositories with a commit.
    weights: BTreeSet<(String, String)>,
    /// Names as the target knows them.
    volumes: BTreeSet<String>,
    /// What targets on this machine wrote down of their deployments: what it names is in use.
    deployed: String,
}

impl Needed {
    /// Adds what one environment asks for.
    pub fn add_environment(&mut self, workspace: &Workspace, plan: &Plan) {
        for step in &plan.steps {
            self.keys.extend(step.key);
            self.add_facts(&step.facts);
        }
        for image in workspace.project.images.keys() {
            let wheels = workspace.parts(image).wheels;
            self.downloads.extend(wheels.iter().map(|wheel| format!("{}.whl", wheel.sha256)));
        }
        workspace.lock(|lock| self.add_lock(lock));
        let volumes = workspace.project.volumes.values();
        self.volumes.extend(volumes.map(|volume| volume.name.clone()));
    }

    fn add_lock(&mut self, lock: &LockFile) {
        let debian = lock.images.values().filter_map(|image| image.debian.as_ref());
        let packages = debian.flat_map(|debian| &debian.packages);
        self.downloads.extend(packages.map(|package| package.sha256.clone()));
    }

    /// Adds what stands, and what the last runs made or tried.
    pub fn add_past(&mut self, recent: &Recent) {
        self.keys.extend(&recent.keys);
        recent.facts.iter().for_each(|facts| self.add_facts(facts));
    }

    /// Adds what is deployed, as its target wrote it down.
    pub fn add_deployed(&mut self, text: &str) {
        self.deployed.push_str(text);
    }

    /// Keys of all that is needed.
    pub fn keys(&self) -> &BTreeSet<Key> {
        &self.keys
    }

    fn add_facts(&mut self, facts: &Facts) {
        self.digests.extend(facts.values().filter(|value| is_digest(value)).cloned());
        if let (Some(repository), Some(commit)) = (facts.get("repository"), facts.get("commit")) {
            self.weights.insert((repository.clone(), commit.clone()));
        }
    }

    /// Adds the parts of every image that is needed. Call it once all else was added.
    pub fn add_parts(&mut self, layout: &Layout) -> Result<(), OciError> {
        for (_, digest) in layout.tags()? {
            if self.is_deployed(&digest) {
                self.digests.insert(digest);
            }
        }
        for digest in self.digests.clone() {
            if let Ok(image) = layout.read_image(&digest) {
                let layers = image.manifest.layers().iter();
                let parts = layers.chain([image.manifest.config()]);
                self.digests.extend(parts.map(|part| part.digest().to_string()));
            }
        }
        Ok(())
    }

    /// Whether an image is needed; its digest is part of a directory's name with `-` for `:`.
    fn is_deployed(&self, digest: &str) -> bool {
        self.deployed.contains(digest) || self.deployed.contains(&digest.replace(':', "-"))
    }

    fn needs_weights(&self, repository: &str, commit: &str) -> bool {
        self.weights.contains(&(repository.to_owned(), commit.to_owned()))
            || self.deployed.contains(commit)
    }

    fn needs_key(&self, key: &str) -> bool {
        key.parse().is_ok_and(|key: Key| self.keys.contains(&key)) || self.deployed.contains(key)
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64)
}

/// Takes away the tags of images that are not needed, so that nothing names what is removed.
pub fn untag(layout: &Layout, needed: &Needed) -> Result<(), OciError> {
    for (tag, digest) in layout.tags()? {
        if !needed.digests.contains(&digest) {
            layout.untag(&tag)?;
        }
    }
    Ok(())
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
    for entry in walkdir::WalkDir::new(path).into_iter().flatten() {
        if entry.file_type().is_dir() {
            let _ = std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o700));
        }
    }
}
