//! Weights in the model cache of this machine.

use super::super::{PinnedRepository, Weights, WeightsOrigin};
use super::{Local, drift};
use crate::blocking::blocking;
use crate::event::Reporter;
use crate::fingerprint::Key;
use crate::hub::{HashCache, Lapse, ModelRead};
use crate::step::{Observation, Outcome, StepError, Task};

impl Local {
    /// Reads every byte of the weights in this environment's model cache, and takes away what is damaged. Other
    /// volumes have none that goatbuild put there: what they say of themselves, servers may have written.
    pub(super) async fn read_all(&self, reporter: &Reporter) -> Result<Vec<ModelRead>, StepError> {
        let (cache, reporter) = (self.cache(), reporter.clone());
        Ok(blocking(move || cache.read_all(&reporter)).await?)
    }

    pub(super) fn weights_receipt(
        &self,
        pinned: &PinnedRepository,
        key: Option<&Key>,
    ) -> Observation {
        let Some(key) = key else { return Observation::Unobserved(None) };
        match self.cache().check(key) {
            None => Observation::Absent,
            Some(Err(Lapse::Gone(file))) => drift(&file, "present", "gone or changed"),
            Some(Err(Lapse::Touched(file))) => drift(&file, "as checked", "written to since"),
            Some(Ok(commit)) => {
                let pinned = PinnedRepository { commit, ..pinned.clone() };
                Observation::Present { key: *key, facts: pinned.facts() }
            }
        }
    }

    pub(super) async fn place(
        &self,
        weights: &Weights,
        known: &dyn HashCache,
        task: &Task,
    ) -> Result<Outcome, StepError> {
        let (cache, reporter, key) = (self.cache(), task.reporter.clone(), task.key);
        let Weights { pinned, origin } = weights.clone();
        let facts = pinned.facts();
        let evidence = match origin {
            WeightsOrigin::Directory { manifest, from } => {
                let size = manifest.size();
                let install =
                    move || cache.install(key, &pinned.repository, &manifest, &from, &reporter);
                let copied = blocking(install).await?;
                [("bytes", size), ("copied", copied), ("bytes-reused", size - copied)]
            }
            WeightsOrigin::Hub { hub, branches, files, .. } => {
                let PinnedRepository { repository, commit } = &pinned;
                // The volumes of other environments may have it.
                let hub = hub.with_caches(self.other_volumes());
                let done = hub.fetch(repository, commit, &files, &cache, known, &reporter).await?;
                for branch in &branches {
                    cache.refer(repository, branch, commit)?;
                }
                // Who reads offline and names no revision means `main`, which nobody has asked for.
                if !cache.has_reference(repository, "main") {
                    cache.refer(repository, "main", commit)?;
                }
                cache.certify(key, repository, commit, &files)?;
                let size = done.fetched + done.reused;
                [("bytes", size), ("bytes-fetched", done.fetched), ("bytes-reused", done.reused)]
            }
            WeightsOrigin::File { pinned: published, file, mirror, fetcher } => {
                let url = published.url(mirror.as_deref());
                let PinnedRepository { repository, commit } = &pinned;
                let whose = (key, repository.as_str(), commit.as_str());
                let came = cache.fetch_file(&fetcher, &url, &file, whose, &reporter).await?;
                let size = file.size;
                [("bytes", size), ("bytes-fetched", came), ("bytes-reused", size - came)]
            }
        };
        let evidence = evidence.map(|(name, bytes)| (name.to_owned(), bytes.to_string()));
        Ok(Outcome { facts, evidence: evidence.into() })
    }
}
