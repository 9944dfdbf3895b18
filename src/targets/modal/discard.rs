//! What only one model has in volumes, removed when it goes for good.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::kept::{DIRECTORY, Kept};
use super::serve::understood;
use super::{Modal, RollbackError};
use crate::engine::Cache;
use crate::event::Reporter;
use crate::fingerprint::Key;
use crate::hub::ModelCache;
use crate::step::StepError;
use crate::targets::{Belongings, Discarded, Volumes};

/// What a receipt says, as far as it matters here.
#[derive(Deserialize)]
struct Receipt {
    key: Key,
    #[serde(default)]
    repository: Option<String>,
    #[serde(default)]
    model: Option<String>,
}

#[async_trait]
impl Volumes for Modal {
    fn belongings(&self, model: &str) -> Belongings {
        let deployed = self.deployed(model);
        // `model.source`, `draft.source`, and those of flags.
        let fields = deployed.iter().flat_map(|deployed| deployed.applied.pairs());
        let sources = fields.filter(|(label, _)| label.ends_with(".source"));
        let repositories = sources.map(|(_, repository)| repository.to_owned()).collect();
        Belongings { repositories, ..Belongings::default() }
    }

    /// What is removed: the snapshots of its repositories, its compile
    /// caches, the programs that were deployed. Receipts go first.
    async fn discard(&self, model: &str, belongings: &Belongings) -> Result<Discarded, StepError> {
        let (weights, warmups) = self
            .receipts()
            .map_err(|why| RollbackError::NotDeployed { model: model.to_owned(), why })?;
        let Belongings { repositories, others, caches, others_caches } = belongings;
        let mut discarded = Discarded::default();
        let model_cache = &self.volume("model-cache").name;
        let mut paths: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let programs = format!("/{DIRECTORY}/{}/{model}", Kept::programs(&self.owner));
        paths.entry(model_cache).or_default().push(programs);
        let ours = Kept::file(&self.owner);
        let is_theirs = |name: &&String| name.starts_with("project-") && **name != ours;
        if let Some(theirs) = weights.iter().find(is_theirs) {
            let why = format!("weights and caches: others use the volumes too ({theirs})");
            discarded.kept.push(why);
        } else {
            for receipt in self.read_receipts(model_cache, "weights-", &weights).await? {
                let Some(repository) = receipt.repository else { continue };
                if !repositories.contains(&repository) || others.contains(&repository) {
                    continue;
                }
                let paths = paths.entry(model_cache).or_default();
                paths.push(format!("/{DIRECTORY}/weights-{}.json", receipt.key));
                let folder = format!("/{}", ModelCache::repository(&repository));
                if !paths.contains(&folder) {
                    paths.push(folder);
                    discarded.gone.push(format!("weights of {repository}"));
                }
            }
            for shared in repositories.intersection(others) {
                discarded.kept.push(format!("weights of {shared}: another model has them too"));
            }
            for (cache, receipt) in self.warmups(&warmups).await? {
                // Models that compile the same have one cache, and one of them wrote the receipt.
                if receipt.model.as_deref() != Some(model) && !caches.contains(&receipt.key) {
                    continue;
                }
                let wanted = others_caches.as_ref().is_none_or(|it| it.contains(&receipt.key));
                if wanted {
                    let short = receipt.key.short();
                    discarded
                        .kept
                        .push(format!("compile caches {short}: another model may want them"));
                    continue;
                }
                let note = format!("/{DIRECTORY}/warmup-{}.json", receipt.key);
                paths.entry(cache).or_default().push(note);
                for Cache { volume: name, .. } in self.engines.caches() {
                    let volume = &self.volume(name).name;
                    paths.entry(volume).or_default().push(format!("/{}", receipt.key));
                }
                discarded.gone.push(format!("compile caches {}", receipt.key.short()));
            }
        }
        for (volume, paths) in paths {
            let request = json!({"volume": volume, "paths": paths});
            self.client.call(volume, "discard", request, &Reporter::silent()).await?;
        }
        Ok(discarded)
    }
}

impl Modal {
    /// Whether there is a receipt of a warm-up of this model.
    pub(super) async fn has_warmed(&self, model: &str) -> Result<bool, StepError> {
        let (_, names) = self
            .receipts()
            .map_err(|why| RollbackError::NotDeployed { model: model.to_owned(), why })?;
        let found = self.warmups(&names).await?;
        Ok(found.iter().any(|(_, receipt)| receipt.model.as_deref() == Some(model)))
    }

    /// The receipts of warm-ups, each with the volume that it lies in.
    async fn warmups(&self, names: &BTreeSet<String>) -> Result<Vec<(&str, Receipt)>, StepError> {
        let mut found = Vec::new();
        for volume in self.receipts_of_warmups() {
            let receipts = self.read_receipts(volume, "warmup-", names).await?;
            found.extend(receipts.into_iter().map(|receipt| (volume, receipt)));
        }
        Ok(found)
    }

    async fn read_receipts(
        &self,
        volume: &str,
        prefix: &str,
        names: &BTreeSet<String>,
    ) -> Result<Vec<Receipt>, StepError> {
        let wanted = names.iter().filter(|name| name.starts_with(prefix));
        let paths: Vec<String> = wanted.map(|name| format!("/{DIRECTORY}/{name}")).collect();
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let request = json!({"volume": volume, "paths": paths});
        let answer = self.client.call(volume, "read", request, &Reporter::silent()).await?;
        let texts: Vec<Option<String>> = understood(answer)?;
        // What can't be read speaks for nothing.
        let read = |text: String| serde_json::from_str(&text).ok();
        Ok(texts.into_iter().flatten().filter_map(read).collect())
    }
}
