//! Warming a compile cache: the engine is started twice, exactly as it will serve.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::address::{LOOPBACK, free_port};
use super::caches::Writer;
use super::compiled::{Cache, Files};
use super::serve::random_id;
use super::server::Stay;
use super::state::Served;
use super::unserved::explain;
use super::{Deployment, Local, LocalError, end_of, length};
use crate::blocking::blocking;
use crate::bounded;
use crate::clock::now;
use crate::durable;
use crate::fingerprint::Key;
use crate::step::{Fact, Facts, Observation, Outcome, StepError, Task};
use crate::targets::{saved_nothing, still_written};

/// Written last, beside the warmed directory of the compile cache.
#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    key: Key,
    model: String,
    /// By the name of the cache's volume, those below the key's directory in it.
    files: BTreeMap<String, Files>,
    /// What the engine says went into the cache's key: by file, by name, the digest of the value
    /// unless that may be a secret.
    #[serde(default)]
    factors: BTreeMap<String, BTreeMap<String, Option<String>>>,
    first_seconds: f64,
    second_seconds: f64,
}

impl Local {
    /// The directories that a warm-up fills, each with the name of its volume.
    fn directories(&self, key: &Key) -> Vec<(String, PathBuf)> {
        let caches = self.caches.iter();
        caches.map(|volume| (volume.name.clone(), self.warmed(volume, key))).collect()
    }

    fn receipt_file(&self, key: &Key) -> PathBuf {
        // Wherever it is that there is room for receipts.
        let volume = self.caches.first().unwrap_or(&self.model_cache);
        self.volume(volume).join(".goatbuild").join(format!("warmup-{key}.json"))
    }

    pub(super) fn warm_receipt(&self, model: &str, key: Option<&Key>) -> Observation {
        let Some(key) = key else { return Observation::Unobserved(None) };
        let receipt = bounded::read(&self.receipt_file(key), bounded::LOCK)
            .ok()
            .and_then(|text| serde_json::from_slice::<Receipt>(&text).ok());
        match receipt {
            Some(receipt) if receipt.key == *key => {
                for (volume, directory) in self.directories(key) {
                    for (file, compiled) in receipt.files.get(&volume).into_iter().flatten() {
                        let found = std::fs::metadata(directory.join(file));
                        let is_whole = found.as_ref().is_ok_and(|it| it.len() == compiled.bytes);
                        if !is_whole {
                            let now = if found.is_ok() { "changed" } else { "gone" };
                            return super::drift(file, "present", now);
                        }
                    }
                }
                Observation::Present { key: *key, facts: facts(model, key) }
            }
            _ => Observation::Absent,
        }
    }

    pub(super) async fn warm(
        &self,
        deployment: &Deployment,
        task: &Task,
    ) -> Result<Outcome, StepError> {
        // What a killed warm-up left running still writes.
        self.clear(&deployment.model).await?;
        let observed = self.warm_receipt(&deployment.model, Some(&task.key));
        if !matches!(observed, Observation::Present { .. }) {
            // Nobody vouches for what a killed compiler left.
            for (_, directory) in self.directories(&task.key) {
                gone(&directory, std::fs::remove_dir_all(&directory))?;
            }
        }
        // Until it is all done again, nobody does for this.
        let receipt = self.receipt_file(&task.key);
        gone(&receipt, std::fs::remove_file(&receipt))?;
        task.reporter.message("first start: compiling");
        let first = self.try_out(deployment, task).await?;
        let before = self.left(deployment, task).await?;
        task.reporter.message("second start: from the cache");
        let second = self.try_out(deployment, task).await?;
        let after = self.left(deployment, task).await?;
        let is_slow = saved_nothing(first, second);
        if let Some(again) = after.compiled_since(&before, deployment.graphs, is_slow) {
            return Err(LocalError::Cold { model: deployment.model.clone(), again }.into());
        }
        let written = after.written_since(&before);
        if !written.is_empty() {
            task.reporter.notice(still_written(&deployment.model, &written));
        }
        let count = after.count();
        let receipt = Receipt {
            key: task.key,
            model: deployment.model.clone(),
            files: after.files,
            factors: after.factors.iter().map(|(file, it)| (file.clone(), it.kept())).collect(),
            first_seconds: first.as_secs_f64(),
            second_seconds: second.as_secs_f64(),
        };
        write(&self.receipt_file(&task.key), &receipt)?;
        let evidence = [
            ("first-start-seconds".to_owned(), format!("{:.1}", receipt.first_seconds)),
            ("second-start-seconds".to_owned(), format!("{:.1}", receipt.second_seconds)),
            ("files".to_owned(), count.to_string()),
        ];
        Ok(Outcome { facts: facts(&deployment.model, &task.key), evidence: evidence.into() })
    }

    /// What a start left behind.
    async fn left(&self, deployment: &Deployment, task: &Task) -> Result<Cache, StepError> {
        let (directories, factors) = (self.directories(&task.key), deployment.cache_factors);
        let reporter = task.reporter.clone();
        blocking(move || Cache::read(&directories, factors, &reporter)).await
    }

    /// Starts the engine on a port of its own, asks it something, and stops it.
    async fn try_out(&self, deployment: &Deployment, task: &Task) -> Result<Duration, StepError> {
        self.clear(&deployment.model).await?;
        let port = free_port(LOOPBACK)?;
        let writer = Writer::WarmUp(&task.key);
        let recipe = self.recipe(deployment, writer, (LOOPBACK, port), &task.reporter).await?;
        let begins = length(&self.log_file(&deployment.model));
        let began = Instant::now();
        let mut served = Served {
            key: task.key,
            applied: None,
            healthy: false,
            facts: [Fact::INSTANCE.is(random_id())].into(),
            host: None,
            port,
            instance: None,
            recipe,
            health: deployment.health.clone(),
            startup_timeout: None,
            since: now(),
            smoke: None,
            trial: false,
            failed: false,
            tested: None,
            mounted: Vec::new(),
            secrets: self.secrets.of(&deployment.spec),
            previous: None,
        };
        self.make(&deployment.model, &mut served).await?;
        // An apply that is killed leaves no engine behind on the accelerator.
        let started = match self.start(&mut served, Stay::WithUs).await {
            Ok(started) => started,
            Err(error) => {
                self.stop(&served).await?;
                return Err(error);
            }
        };
        let timeout = deployment.startup_timeout;
        let healthy = self.healthy(&deployment.model, &served, timeout, &task.reporter).await;
        let took = began.elapsed();
        let asked = match healthy {
            Ok(()) => {
                let api = self.asking(&deployment.model, &served, Duration::from_secs(120)).await?;
                Ok(api.answer(deployment.api, &deployment.served_name).await.map(drop))
            }
            Err(unserved) => Err(unserved),
        };
        self.stop_started(&served, started).await?;
        match asked {
            Ok(chatted) => chatted.map(|()| took).map_err(StepError::from),
            Err(unserved) => {
                let log = self.secrets.hidden(end_of(&self.log_file(&deployment.model), begins));
                Err(explain(deployment, unserved, String::new(), &log))
            }
        }
    }
}

fn facts(model: &str, key: &Key) -> Facts {
    [Fact::MODEL.is(model), Fact::CACHE.is(key.to_string())].into()
}

/// Fails unless what was to be removed is no longer there.
fn gone(path: &Path, removed: std::io::Result<()>) -> Result<(), StepError> {
    match removed {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(LocalError::File { path: path.to_owned(), source }.into())
        }
        _ => Ok(()),
    }
}

fn write(path: &Path, receipt: &Receipt) -> Result<(), StepError> {
    let failed = |source| LocalError::File { path: path.to_owned(), source };
    let bytes = serde_json::to_vec(receipt).map_err(|error| failed(error.into()))?;
    Ok(durable::write(path, &bytes, 0o600).map_err(failed)?)
}
