//! What replicas tell of themselves in their logs, which is asked of Modal and wakes nobody.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::Modal;
use super::serve::understood;
use crate::clock::written;
use crate::event::Reporter;
use crate::step::StepError;
use crate::targets::{FailedStart, Replicas, Starts, Tried};

/// One thing that a replica told.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Told {
    /// Seconds since 1970.
    at: f64,
    replica: String,
    words: String,
}

/// What the words begin with of how a process ended: those of `runtime/replica.part.py`.
const ENDED: [&str; 2] = ["the engine ended ", "the guard ended "];

/// What follows when it had not come up yet.
const STARTING: &str = "while starting";

/// By how much the times of a start may be off that are told in whole seconds.
const ROUNDED: f64 = 1.0;

/// What the words begin with of the device.
const RUNS: &str = "it runs on ";

impl Told {
    fn is_end(&self) -> bool {
        ENDED.iter().any(|start| self.words.starts_with(start))
    }

    fn is_failed_start(&self) -> bool {
        ENDED.iter().any(|start| {
            self.words.strip_prefix(start).is_some_and(|rest| rest.starts_with(STARTING))
        })
    }

    /// When the process began that ended: the words end with `after N s`.
    fn began(&self) -> f64 {
        let took = self.words.rsplit_once(" after ").and_then(|(_, took)| took.strip_suffix(" s"));
        self.at - took.and_then(|took| took.parse::<f64>().ok()).unwrap_or_default()
    }
}

/// What all that was told comes to.
pub(super) fn replicas(told: &[Told]) -> Replicas {
    let ends: Vec<&Told> = told.iter().filter(|it| it.is_end()).collect();
    let failed = ends.iter().filter(|it| it.is_failed_start()).count();
    let devices: BTreeSet<&str> =
        told.iter().filter_map(|it| it.words.strip_prefix(RUNS)).collect();
    Replicas {
        failed_starts: failed,
        ended: ends.len() - failed,
        since: ends.first().map(|it| written(it.at)),
        last: ends.last().map(|it| it.words.clone()),
        devices: devices.into_iter().map(str::to_owned).collect(),
    }
}

#[async_trait]
impl Starts for Modal {
    async fn failed(
        &self,
        model: &str,
        tried: Tried,
        since: f64,
    ) -> Result<Vec<FailedStart>, StepError> {
        let app = self.tried(model, tried);
        let request = json!({"app": app, "since": since});
        let told = self.client.call(&app, "told", request, &Reporter::silent()).await?;
        let told: Vec<Told> = understood(told)?;
        // What is replaced may go on starting, and failing, for a while.
        let began = self.deployed_at(model, tried).unwrap_or(since);
        let failed =
            told.into_iter().filter(|it| it.is_failed_start() && it.began() + ROUNDED >= began);
        Ok(failed.map(|it| FailedStart { replica: it.replica, how: it.words }).collect())
    }

    async fn last_words(
        &self,
        model: &str,
        tried: Tried,
        failed: &FailedStart,
    ) -> Result<Vec<String>, StepError> {
        let app = self.tried(model, tried);
        let request = json!({"app": app, "replica": failed.replica});
        understood(self.client.call(&app, "last_words", request, &Reporter::silent()).await?)
    }
}

impl Modal {
    /// The app that is being tried out.
    fn tried(&self, model: &str, tried: Tried) -> String {
        match tried {
            Tried::Standing => self.app(model),
            Tried::Candidate => self.candidate(model),
        }
    }

    /// When Modal says that it was deployed, in seconds since 1970, where that is written down.
    fn deployed_at(&self, model: &str, tried: Tried) -> Option<f64> {
        let deployed = self.deployed(model).filter(|_| tried == Tried::Standing)?;
        let at: Timestamp = deployed.at.parse().ok()?;
        Some(at.as_duration().as_secs_f64())
    }

    /// What the replicas of what is deployed told of themselves, as the last look showed.
    pub(super) fn told(&self, model: &str) -> Option<Replicas> {
        Some(replicas(&self.seen_app(model)?.told?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `runtime/replica.part.py` tells it.
    #[test]
    fn a_line_tells_when_its_start_began() {
        let told = |words: &str| {
            let (replica, words) = ("ta-1".to_owned(), words.to_owned());
            Told { at: 1000.0, replica, words }.began().to_string()
        };
        assert_eq!(told("the engine ended while starting, with exit code 1, after 94 s"), "906");
        assert_eq!(told("the guard ended while starting, with signal 9, after 0 s"), "1000");
        assert_eq!(told("the engine ended while starting"), "1000");
    }
}
