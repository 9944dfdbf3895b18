//! What replicas tell of themselves in their logs, which is asked of Modal and wakes nobody.

use std::collections::BTreeSet;

use async_trait::async_trait;
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
        let failed = told.into_iter().filter(Told::is_failed_start);
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

    /// What the replicas of what is deployed told of themselves, as the last look showed.
    pub(super) fn told(&self, model: &str) -> Option<Replicas> {
        Some(replicas(&self.seen_app(model)?.told?))
    }
}
