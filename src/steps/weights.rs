//! `weights:<path>`: a model's files, verified, in the target's model cache.

use async_trait::async_trait;

use crate::event::Reporter;
use crate::fingerprint::Fingerprint;
use crate::spec::Model;
use crate::step::{
    Facts, Head, Inputs, Observation, Outcome, Resource, Step, StepError, StepId, Task, Wanted,
};
use crate::targets::Weights;
use crate::workspace::SharedWorkspace;

/// Raise when the same files come to lie otherwise in a volume.
const VERSION: u32 = 1;

pub(super) struct Weigh {
    workspace: SharedWorkspace,
    head: Head,
    weights: Weights,
    commit: String,
}

impl Weigh {
    pub(super) fn new(
        workspace: &SharedWorkspace,
        path: &str,
        models: &[String],
        reporter: &Reporter,
    ) -> Result<Self, StepError> {
        let manifest = workspace.manifest(path, reporter)?;
        let commit = manifest.commit();
        let name: String =
            path.chars().map(|letter| if letter == '/' { '-' } else { letter }).collect();
        let weights = Weights {
            // No organisation on a hub is called so by accident: its models are not fetched here.
            repository: format!("local/{}", name.trim_matches('-')),
            manifest,
            from: workspace.root.join(path),
        };
        let head = Head::effect(StepId::new("weights", path), Resource::Disk, models);
        Ok(Self { workspace: workspace.clone(), head, weights, commit })
    }

    pub(super) fn weights(&self) -> &Weights {
        &self.weights
    }

    fn model(&self) -> &Model {
        self.workspace
            .project
            .models
            .get(self.models().first().map_or("", String::as_str))
            .unwrap_or_else(|| panic!("BUG: {} is needed by no model", self.id()))
    }
}

#[async_trait]
impl Step for Weigh {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, _: &Inputs) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("weights", VERSION);
        fingerprint
            .field("target", self.workspace.target(self.model()).name())
            .field("repository", &self.weights.repository)
            .field("model.revision", &self.commit);
        fingerprint
    }

    fn predict(&self) -> Facts {
        self.weights.predicted()
    }

    fn exclusive(&self) -> Option<String> {
        Some(format!("volume:{}", self.weights.repository))
    }

    fn observe(&self, wanted: Option<Wanted<'_>>) -> Observation {
        let target = self.workspace.target(self.model());
        target.observe_weights(&self.weights, wanted.map(|wanted| wanted.key))
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        self.workspace.target(self.model()).place_weights(&self.weights, task).await
    }
}
