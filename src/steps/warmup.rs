//! `warmup:<model>`: a compile cache, filled before anything is served from it.

use async_trait::async_trait;

use super::REQUESTS;
use super::deploy::ModelToServe;
use crate::fingerprint::Fingerprint;
use crate::step::{
    EngineUse, Head, Inputs, Observation, Outcome, Step, StepError, StepId, Task, Wanted,
};

/// Raise when the same settings come to warm another cache.
const VERSION: u32 = 2;

/// Everything that can change what is compiled.
pub(super) fn describe(serving: &ModelToServe, inputs: &Inputs) -> Fingerprint {
    let mut fingerprint = Fingerprint::new("warmup", VERSION);
    serving.describe_compiled(inputs, &mut fingerprint);
    // Whatever an engine does with one is the same with the next value of it.
    for (variable, secret) in &serving.model.secret_env {
        fingerprint.field(format_args!("secret-env.{variable}"), &secret.value);
    }
    fingerprint
}

pub(super) struct Warmup {
    serving: ModelToServe,
    head: Head,
}

impl Warmup {
    pub(super) fn new(serving: ModelToServe) -> Self {
        // It starts the engine twice.
        let busy = serving.model.serve.startup_timeout * 2 + REQUESTS;
        let engine = EngineUse { starts: true, asks: false, busy };
        let id = StepId::warmup(&serving.model.name);
        Self { head: serving.head(id, serving.inputs(), engine), serving }
    }
}

#[async_trait]
impl Step for Warmup {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, inputs: &Inputs) -> Fingerprint {
        describe(&self.serving, inputs)
    }

    fn exclusive(&self) -> Option<String> {
        // Elsewhere each has a directory of its own, and a machine of its own.
        self.serving.model.target.is_here().then(|| "volume:compile-cache".to_owned())
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
