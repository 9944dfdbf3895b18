//! Warming a compile cache: the engine is started twice, exactly as it will serve.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::serve::{explain, free_port, random_id, url};
use super::server::Stay;
use super::state::Served;
use super::{Deployment, Local, LocalError, end_of, length};
use crate::clock::now;
use crate::fingerprint::Key;
use crate::openai::Server;
use crate::step::{Facts, Observation, Outcome, StepError, Task};

/// Written last, beside the warmed directory.
#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    key: Key,
    model: String,
    files: BTreeSet<String>,
    first_seconds: f64,
    second_seconds: f64,
}

impl Local {
    fn warm_directory(&self, key: &Key) -> PathBuf {
        self.volume(&self.compile_cache).join(key.to_string())
    }

    fn receipt_file(&self, key: &Key) -> PathBuf {
        self.volume(&self.compile_cache).join(".goatbuild").join(format!("warmup-{key}.json"))
    }

    pub(super) fn warm_receipt(&self, model: &str, key: Option<&Key>) -> Observation {
        let Some(key) = key else { return Observation::Unobserved(None) };
        let receipt = std::fs::read(self.receipt_file(key))
            .ok()
            .and_then(|text| serde_json::from_slice::<Receipt>(&text).ok());
        match receipt {
            Some(receipt) if receipt.key == *key => {
                let warm = self.warm_directory(key);
                match receipt.files.iter().find(|file| !warm.join(file).exists()) {
                    Some(gone) => super::drift(gone, "present", "gone"),
                    None => Observation::Present { key: *key, facts: facts(model, key) },
                }
            }
            _ => Observation::Absent,
        }
    }

    pub(super) async fn warm(
        &self,
        deployment: &Deployment,
        task: &Task,
    ) -> Result<Outcome, StepError> {
        let deployment = Deployment { warm_cache: Some(task.key), ..deployment.clone() };
        let warm = self.warm_directory(&task.key);
        task.reporter.message("first start: compiling");
        let first = self.try_out(&deployment, task).await?;
        let files = files_of(&warm);
        task.reporter.message("second start: from the cache");
        let second = self.try_out(&deployment, task).await?;
        let again = files_of(&warm);
        if again != files {
            let new: Vec<&str> = again.difference(&files).map(String::as_str).take(5).collect();
            return Err(LocalError::Cold {
                model: deployment.model.clone(),
                files: new.join(", "),
            }
            .into());
        }
        let receipt = Receipt {
            key: task.key,
            model: deployment.model.clone(),
            files,
            first_seconds: first.as_secs_f64(),
            second_seconds: second.as_secs_f64(),
        };
        write(&self.receipt_file(&task.key), &receipt)?;
        let evidence = [
            ("first-start-seconds".to_owned(), format!("{:.1}", receipt.first_seconds)),
            ("second-start-seconds".to_owned(), format!("{:.1}", receipt.second_seconds)),
            ("files".to_owned(), receipt.files.len().to_string()),
        ];
        Ok(Outcome { facts: facts(&deployment.model, &task.key), evidence: evidence.into() })
    }

    /// Starts the engine on a port of its own, asks it something, and stops it.
    async fn try_out(&self, deployment: &Deployment, task: &Task) -> Result<Duration, StepError> {
        self.clear(&deployment.model).await?;
        let port = free_port()?;
        let recipe = self.recipe(deployment, port, &task.reporter).await?;
        let begins = length(&self.log_file(&deployment.model));
        let began = Instant::now();
        let mut served = Served {
            key: task.key,
            applied: None,
            healthy: false,
            facts: [("instance".to_owned(), random_id())].into(),
            port,
            instance: None,
            recipe,
            health: deployment.health.clone(),
            since: now(),
            smoke: None,
            tested: None,
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
                let api = Server::local(&url(port), Duration::from_secs(120))?;
                Ok(api.chat(&deployment.served_name).await.map(drop))
            }
            Err(unserved) => Err(unserved),
        };
        self.stop_started(&served, started).await?;
        match asked {
            Ok(chatted) => chatted.map(|()| took).map_err(StepError::from),
            Err(unserved) => {
                let log = end_of(&self.log_file(&deployment.model), begins);
                Err(explain(deployment, unserved, String::new(), log))
            }
        }
    }
}

fn facts(model: &str, key: &Key) -> Facts {
    [("model".to_owned(), model.to_owned()), ("cache".to_owned(), key.to_string())].into()
}

fn files_of(directory: &Path) -> BTreeSet<String> {
    WalkDir::new(directory)
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| {
            entry.path().strip_prefix(directory).ok().map(|path| path.to_string_lossy().into())
        })
        .collect()
}

fn write(path: &Path, receipt: &Receipt) -> Result<(), StepError> {
    let failed = |source| LocalError::File { path: path.to_owned(), source };
    let parent = path.parent().unwrap_or(path);
    std::fs::create_dir_all(parent).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
    serde_json::to_writer(&mut file, receipt).map_err(|error| failed(error.into()))?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
