//! Where volumes are: in the state directory of the project's environment, which deleting a checkout
//! or its `cache/` does not touch.
//!
//! Earlier versions had them in `cache/volumes/`. One that is still there is read there, until
//! an apply moves it; what is in its place by then, say by another checkout's apply, wins, and the old
//! one is only a source of weights, which `gc` removes. All checkouts share a volume, and the lock of
//! the state directory, which whoever writes holds.

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::moving::is_origin;
use super::{Local, Mount, environments_of, old_volumes_of, volumes_of};
use crate::hub::ModelCache;
use crate::targets::{Move, Way};

impl Local {
    /// The directory of this environment's volumes.
    pub(super) fn volumes(&self) -> PathBuf {
        volumes_of(&self.places.ours)
    }

    /// Where earlier versions had all environments' volumes.
    pub(super) fn old_volumes(&self) -> PathBuf {
        old_volumes_of(&self.places.cache)
    }

    /// Where a volume is, or is going to be made.
    pub(super) fn volume(&self, mount: &Mount) -> PathBuf {
        match self.way(&mount.name) {
            Some(_) => self.old_volumes().join(&mount.name),
            None => self.volumes().join(&mount.name),
        }
    }

    pub(super) fn cache(&self) -> ModelCache {
        ModelCache::new(self.volume(&self.model_cache))
    }

    /// All volumes of this environment.
    pub(super) fn mounts(&self) -> impl Iterator<Item = &Mount> {
        std::iter::once(&self.model_cache).chain(&self.caches).chain(&self.others)
    }

    /// How a volume gets to where it belongs; none once it is there, or nowhere.
    pub(super) fn way(&self, name: &str) -> Option<Way> {
        let (from, to) = (self.old_volumes().join(name), self.volumes().join(name));
        if !from.is_dir() || to.symlink_metadata().is_ok() {
            return None;
        }
        // A link leads to where another environment has taken it.
        let renamed = !from.is_symlink() && on_one_file_system(&from, &to);
        Some(if renamed { Way::Renamed } else { Way::Copied })
    }

    /// The volumes that are not yet where they belong.
    pub(super) fn moves(&self) -> Vec<Move> {
        let mut names = HashSet::new();
        let mounts = self.mounts().filter(|mount| names.insert(&mount.name));
        let moves = mounts.filter_map(|Mount { name, .. }| {
            let (from, to) = (self.old_volumes().join(name), self.volumes().join(name));
            let way = self.way(name)?;
            Some(Move { name: name.clone(), bytes: size(&from), from, to, way })
        });
        moves.collect()
    }

    /// Volumes of earlier versions in whose place others are.
    pub(super) fn left_beside(&self) -> Vec<PathBuf> {
        let names: HashSet<&str> = self.mounts().map(|mount| &*mount.name).collect();
        let old = names.into_iter().filter(|name| {
            let (old, belongs) = (self.old_volumes().join(name), self.volumes().join(name));
            !old.is_symlink() && old.is_dir() && belongs.is_dir() && !is_origin(&belongs, &old)
        });
        let mut old: Vec<PathBuf> = old.map(|name| self.old_volumes().join(name)).collect();
        old.sort();
        old
    }

    /// The model caches in other volumes of this project, whatever environment has them.
    pub(super) fn other_volumes(&self) -> Vec<PathBuf> {
        let entries = |directory: &Path| {
            let found = std::fs::read_dir(directory).into_iter().flatten().flatten();
            found.map(|entry| entry.path())
        };
        let real = |path: &Path| path.canonicalize().ok();
        let own = real(&self.volume(&self.model_cache));
        // They are a source that may be had: what can't be listed is none.
        let environments = environments_of(&self.places.state, &self.project).unwrap_or_default();
        let mut others: Vec<PathBuf> = environments
            .iter()
            .map(|environment| volumes_of(environment))
            .chain([self.old_volumes()])
            .flat_map(|volumes| entries(&volumes).collect::<Vec<_>>())
            .filter_map(|volume| real(&volume))
            .filter(|volume| Some(volume) != own.as_ref())
            .map(|volume| volume.join("hub"))
            .filter(|cache| cache.is_dir())
            .collect();
        others.sort();
        others.dedup();
        others
    }
}

/// Whether a directory can be had under the other path by renaming it, as far as that can be told.
fn on_one_file_system(from: &Path, to: &Path) -> bool {
    let device = |path: &Path| path.metadata().ok().map(|found| found.dev());
    let there = to.ancestors().skip(1).find_map(device);
    there.is_some() && there == device(from)
}

/// What a directory takes on disk.
pub(super) fn size(directory: &Path) -> u64 {
    let mut seen = HashSet::new();
    // The volume itself may be behind a link.
    let entries = WalkDir::new(directory.join(".")).into_iter().flatten();
    let files = entries.filter_map(|entry| entry.metadata().ok()).filter(Metadata::is_file);
    let once = files.filter(|file| seen.insert((file.dev(), file.ino())));
    once.map(|file| file.len().min(file.blocks() * 512)).sum()
}
