//! `warmup:<model>`: a compile cache, filled before anything is served from it.

use async_trait::async_trait;

use super::deploy::Serving;
use crate::fingerprint::Fingerprint;
use crate::step::{
    Class, Facts, Input, Inputs, Observation, Outcome, Resource, Step, StepError, StepId, Task,
    Wanted,
};

/// Raise when the same settings come to warm another cache.
const VERSION: u32 = 1;

/// Everything that can change what is compiled.
pub(super) fn describe(serving: &Serving, inputs: &Inputs) -> Fingerprint {
    let mut fingerprint = Fingerprint::new("warmup", VERSION);
    serving.describe_compiled(inputs, &mut fingerprint);
    fingerprint
}

pub(super) struct Warmup {
    serving: Serving,
    id: StepId,
    models: Vec<String>,
    inputs: Vec<Input>,
}

impl Warmup {
    pub(super) fn new(serving: Serving) -> Self {
        Self {
            id: StepId::new("warmup", &serving.model.name),
            models: vec![serving.model.name.to_string()],
            inputs: serving.inputs(),
            serving,
        }
    }
}

#[async_trait]
impl Step for Warmup {
    fn id(&self) -> &StepId {
        &self.id
    }

    fn class(&self) -> Class {
        Class::Effect
    }

    fn resource(&self) -> Resource {
        Resource::Accelerator
    }

    fn models(&self) -> &[String] {
        &self.models
    }

    fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    fn describe(&self, inputs: &Inputs) -> Fingerprint {
        describe(&self.serving, inputs)
    }

    fn predict(&self) -> Facts {
        Facts::new()
    }

    fn exclusive(&self) -> Option<String> {
        Some("volume:compile-cache".to_owned())
    }

    fn observe(&self, wanted: Option<Wanted<'_>>) -> Observation {
        let name = self.serving.model.name.as_str();
        self.serving.target().observe_warmup(name, wanted.map(|wanted| wanted.key))
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let deployment = self.serving.deployment(&task.inputs, Some(task.key));
        self.serving.target().warm_up(&deployment, task).await
    }
}
