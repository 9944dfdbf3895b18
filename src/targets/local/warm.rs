//! Warming a compile cache: the engine is started twice, exactly as it will serve.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::super::factors::Factors;
use super::serve::{explain, free_port, random_id, url};
use super::server::Stay;
use super::state::Served;
use super::{Deployment, Local, LocalError, end_of, length};
use crate::clock::now;
use crate::event::Reporter;
use crate::fingerprint::Key;
use crate::openai::Server;
use crate::step::{Facts, Observation, Outcome, StepError, Task};

/// Written last, beside the warmed directory.
#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    key: Key,
    model: String,
    files: BTreeSet<String>,
    /// What the engine says went into the cache's key: by file, by name, the digest of the value
    /// unless that may be a secret.
    #[serde(default)]
    factors: BTreeMap<String, BTreeMap<String, Option<String>>>,
    first_seconds: f64,
    second_seconds: f64,
}

/// What a start left in the compile cache.
struct Cache {
    files: BTreeSet<String>,
    /// By the file that tells them.
    factors: BTreeMap<String, Factors>,
}

/// How it is known that a second start compiled again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    /// The engine tells what went into its key, and these differ.
    Factors(Vec<String>),
    /// It tells nothing that differs, and wrote these files.
    Files(Vec<String>),
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
        let cache = Cache::read(&warm, deployment.cache_factors, &task.reporter);
        task.reporter.message("second start: from the cache");
        let second = self.try_out(&deployment, task).await?;
        let after = Cache::read(&warm, deployment.cache_factors, &task.reporter);
        if let Some(again) = after.compiled_since(&cache) {
            return Err(LocalError::Cold { model: deployment.model.clone(), again }.into());
        }
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
            startup_timeout: None,
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
                let api = Server::local(&url(port), &deployment.model, Duration::from_secs(120))?;
                Ok(api.chat(&deployment.served_name).await.map(drop))
            }
            Err(unserved) => Err(unserved),
        };
        self.stop_started(&served, started).await?;
        match asked {
            Ok(chatted) => chatted.map(|()| took).map_err(StepError::from),
            Err(unserved) => {
                let log = end_of(&self.log_file(&deployment.model), begins);
                Err(explain(deployment, unserved, String::new(), &log))
            }
        }
    }
}

impl Cache {
    fn read(directory: &Path, factors: Option<&str>, reporter: &Reporter) -> Self {
        let files = files_of(directory);
        let tells = |file: &&String| factors.is_some_and(|name| Path::new(file).ends_with(name));
        let read = |file: &String| {
            let factors =
                std::fs::read(directory.join(file)).ok().and_then(|it| Factors::read(&it));
            if factors.is_none() {
                reporter.log(format!("{file} does not tell what went into the cache's key"));
            }
            Some((file.clone(), factors?))
        };
        let factors = files.iter().filter(tells).filter_map(read).collect();
        Self { files, factors }
    }

    /// What tells that the start after `before` compiled; none when it took all from the cache.
    fn compiled_since(&self, before: &Self) -> Option<Again> {
        let changed = self
            .factors
            .iter()
            .filter(|(file, factors)| before.factors.get(*file) != Some(factors));
        // Another key is another directory: what it is to be compared with is what is most like it.
        let differing: BTreeSet<&str> = changed
            .filter_map(|(_, factors)| {
                let differing = before.factors.values().map(|old| factors.differing(old));
                differing.min_by_key(BTreeSet::len)
            })
            .flatten()
            .collect();
        if !differing.is_empty() {
            return Some(Again::Factors(differing.into_iter().map(str::to_owned).collect()));
        }
        let new: Vec<String> = self.files.difference(&before.files).cloned().collect();
        (!new.is_empty()).then_some(Again::Files(new))
    }
}

impl fmt::Display for Again {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// How many names a message holds.
        const SHOWN: usize = 5;
        let (what, names) = match self {
            Self::Factors(names) => ("its cache key differs in", names),
            Self::Files(names) => ("it wrote", names),
        };
        let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        write!(formatter, "{what} {shown}")?;
        match names.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(files: &[(&str, &str)], more: &[&str]) -> Cache {
        let names = files.iter().map(|(file, _)| file).chain(more);
        let factors = |text: &str| Factors::read(text.as_bytes()).expect("an object");
        Cache {
            files: names.map(ToString::to_string).collect(),
            factors: files.iter().map(|(file, text)| ((*file).to_owned(), factors(text))).collect(),
        }
    }

    #[test]
    fn a_new_key_is_compared_with_the_one_most_like_it() {
        let ranks = [
            ("a/rank_0_0/f", r#"{"rank": 0, "env": {"HOME": "/root"}}"#),
            ("a/rank_1_0/f", r#"{"rank": 1, "env": {"HOME": "/root"}}"#),
        ];
        let before = cache(&ranks, &["a/graph"]);
        let again = ("b/rank_1_0/f", r#"{"rank": 1, "env": {"HOME": "/tmp"}}"#);
        let after = cache(&[ranks[0], ranks[1], again], &["a/graph", "b/graph"]);
        let differing = Again::Factors(vec!["env.HOME".to_owned()]);
        assert_eq!(after.compiled_since(&before), Some(differing));
        assert_eq!(before.compiled_since(&before), None);
    }

    #[test]
    fn without_a_factor_that_differs_the_new_files_tell() {
        let one = [("a/f", r#"{"code": 1}"#)];
        let before = cache(&one, &["a/graph", "a/lock"]);
        let after = cache(&[one[0], ("b/f", r#"{"code": 1}"#)], &["a/graph", "a/lock", "b/graph"]);
        let new = Again::Files(vec!["b/f".to_owned(), "b/graph".to_owned()]);
        assert_eq!(after.compiled_since(&before), Some(new.clone()));
        assert_eq!(cache(&one, &["a/graph"]).compiled_since(&before), None, "a lock that is gone");
        assert_eq!(new.to_string(), "it wrote b/f, b/graph");
        let many = Again::Files((1..8).map(|it| it.to_string()).collect());
        assert_eq!(many.to_string(), "it wrote 1, 2, 3, 4, 5 and 2 more");
    }
}
