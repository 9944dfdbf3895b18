//! Where a server writes what it compiles. What a receipt speaks for is written by a warm-up alone;
//! a deployment gets a copy of its own, since engines that only read still write locks and notes.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::state::Served;
use super::{Deployment, Local, LocalError, Mount};
use crate::blocking::blocking;
use crate::event::Reporter;
use crate::fingerprint::Key;
use crate::runtime::Bind;
use crate::step::StepError;

/// Who is going to write.
#[derive(Debug, Clone, Copy)]
pub(super) enum Writer<'a> {
    /// The warm-up, whose directories have its key.
    WarmUp(&'a Key),
    /// The deployment that has this instance first.
    Deployment(&'a str),
}

/// What a model without a warm-up keeps from one deployment to the next.
const LASTING: &str = "lasting";

impl Local {
    /// The part of a cache's volume that belongs to a warm-up.
    pub(super) fn warmed(&self, volume: &Mount, key: &Key) -> PathBuf {
        self.volume(volume).join(key.to_string())
    }

    /// The volumes for what the engine of a deployment makes.
    pub(super) fn caches_for(&self, deployment: &Deployment) -> impl Iterator<Item = &Mount> {
        let own = deployment.spec.engine.kind.caches();
        self.caches.iter().filter(|mount| own.iter().any(|it| it.volume == mount.called))
    }

    /// The caches of one model's deployments.
    fn caches_of(&self, model: &str) -> PathBuf {
        self.places.ours.join("caches").join(model)
    }

    /// The directory that is a cache's volume for this writer.
    pub(super) fn cache_for(
        &self,
        volume: &Mount,
        deployment: &Deployment,
        writer: Writer<'_>,
    ) -> PathBuf {
        match writer {
            Writer::WarmUp(key) => self.warmed(volume, key),
            Writer::Deployment(instance) => {
                let name = if deployment.warm_cache.is_some() { instance } else { LASTING };
                self.caches_of(&deployment.model).join(name).join(&volume.name)
            }
        }
    }

    /// Gives a deployment its own copy of what was warmed.
    pub(super) async fn fill_caches(
        &self,
        deployment: &Deployment,
        writer: Writer<'_>,
        reporter: &Reporter,
    ) -> Result<(), StepError> {
        let (Writer::Deployment(_), Some(key)) = (writer, &deployment.warm_cache) else {
            return Ok(());
        };
        for volume in self.caches_for(deployment) {
            let from = self.warmed(volume, key);
            let to = self.cache_for(volume, deployment, writer);
            let reporter = reporter.clone();
            blocking(move || copy(&from, &to, &reporter)).await?;
        }
        Ok(())
    }

    /// Removes what a model's deployments have of their own, copies of caches and directories to work
    /// in, but for those of a server that is kept, and of what it keeps itself.
    pub(super) fn forget_own(&self, model: &str, kept: Option<&Served>) {
        let kept = kept.into_iter().flat_map(Served::all);
        let binds: Vec<&Bind> = kept.flat_map(|served| served.recipe.binds()).collect();
        let places = [self.caches_of(model), self.works_of(model)];
        for entry in
            places.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten().flatten()
        {
            let path = std::path::absolute(entry.path()).unwrap_or_else(|_| entry.path());
            // A server of November 2026 works in the place itself.
            let is_used = binds
                .iter()
                .any(|bind| bind.source.starts_with(&path) || path.starts_with(&bind.source));
            if !is_used && entry.file_name() != LASTING {
                // The next deployment tries again.
                let _ = if path.is_dir() && !path.is_symlink() {
                    std::fs::remove_dir_all(path)
                } else {
                    std::fs::remove_file(path)
                };
            }
        }
    }

    /// Removes all caches of a model that is no longer deployed.
    pub(super) fn forget_caches(&self, model: &str) {
        let _ = std::fs::remove_dir_all(self.caches_of(model));
    }
}

/// Copies a directory with its times, by which build tools know what is up to date. File systems that
/// can share the bytes do.
fn copy(from: &Path, to: &Path, reporter: &Reporter) -> Result<(), StepError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LocalError::File { path, source }
    };
    std::fs::create_dir_all(to).map_err(failed(to))?;
    if !from.is_dir() {
        return Ok(());
    }
    for entry in WalkDir::new(from).min_depth(1) {
        reporter.check()?;
        let entry = entry.map_err(|error| failed(from)(error.into()))?;
        let path = to.join(entry.path().strip_prefix(from).unwrap_or(entry.path()));
        let kind = entry.file_type();
        if kind.is_dir() {
            std::fs::create_dir_all(&path).map_err(failed(&path))?;
        } else if kind.is_symlink() {
            let target = std::fs::read_link(entry.path()).map_err(failed(entry.path()))?;
            std::os::unix::fs::symlink(target, &path).map_err(failed(&path))?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &path).map_err(failed(&path))?;
            let modified = entry.metadata().ok().and_then(|found| found.modified().ok());
            if let (Some(modified), Ok(file)) = (modified, std::fs::File::open(&path)) {
                file.set_modified(modified).map_err(failed(&path))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_copy_has_all_files_and_their_times() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(from.path().join("a/b")).unwrap();
        std::fs::write(from.path().join("a/b/graph"), "1").unwrap();
        std::os::unix::fs::symlink("graph", from.path().join("a/b/link")).unwrap();
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let graph = std::fs::File::open(from.path().join("a/b/graph")).unwrap();
        graph.set_modified(then).unwrap();
        let to = to.path().join("new");
        copy(from.path(), &to, &Reporter::silent()).unwrap();
        assert_eq!(std::fs::read(to.join("a/b/link")).unwrap(), b"1");
        assert!(to.join("a/b/link").is_symlink());
        assert_eq!(to.join("a/b/graph").metadata().unwrap().modified().unwrap(), then);
        std::fs::write(to.join("a/b/graph"), "2").unwrap();
        assert_eq!(std::fs::read(from.path().join("a/b/graph")).unwrap(), b"1");
        copy(&to.join("nothing"), &to.join("empty"), &Reporter::silent()).unwrap();
        assert!(to.join("empty").is_dir());
    }
}
