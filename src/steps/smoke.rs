//! `smoke:<model>`: whether the instance that stands answers as clients will ask it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::engines::engine;
use crate::fingerprint::Fingerprint;
use crate::openai::{Credentials, Server};
use crate::spec::{Model, TargetKind};
use crate::step::{
    Head, Input, Inputs, Observation, Outcome, Resource, Step, StepError, StepId, Task, Wanted,
};
use crate::workspace::SharedWorkspace;

/// Raise when more is asked of an instance.
const VERSION: u32 = 1;

const DEPLOY_FACTS: &[&str] = &["instance", "url", "served-name"];

pub(super) struct Smoke {
    workspace: SharedWorkspace,
    head: Head,
    model: Arc<Model>,
}

impl Smoke {
    pub(super) fn new(workspace: &SharedWorkspace, model: &Arc<Model>, deploy: &StepId) -> Self {
        let id = StepId::new("smoke", &model.name);
        let resource = match model.target {
            TargetKind::Local => Resource::Accelerator,
            TargetKind::Modal => Resource::Network,
        };
        let head = Head::effect(id, resource, &[model.name.to_string()])
            .taking(vec![Input::facts(deploy.clone(), DEPLOY_FACTS)]);
        Self { workspace: workspace.clone(), head, model: Arc::clone(model) }
    }

    fn fact<'a>(&self, inputs: &'a Inputs, name: &str) -> &'a str {
        inputs.fact(&self.inputs()[0].step, name)
    }
}

#[async_trait]
impl Step for Smoke {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, inputs: &Inputs) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("smoke", VERSION);
        for name in DEPLOY_FACTS {
            fingerprint.field(*name, self.fact(inputs, name));
        }
        fingerprint
    }

    fn observe(&self, _: Option<Wanted<'_>>) -> Observation {
        self.workspace.target(&self.model).observe_smoke(self.model.name.as_str())
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let url = self.fact(&task.inputs, "url");
        let name = self.fact(&task.inputs, "served-name");
        let model = self.model.name.as_str();
        let serve = &self.model.serve;
        let patience = serve.timeout.min(Duration::from_secs(600));
        let server = match self.model.target {
            TargetKind::Local => Server::local(url, model, patience)?,
            // The first request starts a replica.
            TargetKind::Modal => {
                let headers = self.workspace.target(&self.model).headers(&self.model);
                let credentials = Credentials::of_environment(model, headers)?;
                Server::remote(url, model, patience + serve.startup_timeout, credentials)?
            }
        };
        task.reporter.message("GET /v1/models");
        let began = Instant::now();
        let listed = server.models().await?;
        let started = began.elapsed();
        if engine(self.model.engine.name).lists_served_name() && !listed.iter().any(|id| id == name)
        {
            let (url, listed) = (format!("{url}/models"), listed.join(", "));
            return Err(server.unexpected(&url, "a list with the served name", &listed).into());
        }
        task.reporter.check()?;
        task.reporter.message("a chat completion");
        let answer = server.chat(name).await?;
        task.reporter.log(format!("chat: {answer:?}"));
        task.reporter.check()?;
        task.reporter.message("a streamed chat completion");
        let streamed = server.stream(name).await?;
        let instance = self.fact(&task.inputs, "instance").to_owned();
        let target = self.workspace.target(&self.model);
        target.passed_smoke(self.model.name.as_str(), &instance, task.key).await?;
        let evidence = [
            ("first-token-ms".to_owned(), streamed.first.as_millis().to_string()),
            ("pieces".to_owned(), streamed.pieces.to_string()),
            ("first-answer-seconds".to_owned(), format!("{:.1}", started.as_secs_f64())),
        ];
        Ok(Outcome { facts: [("instance".to_owned(), instance)].into(), evidence: evidence.into() })
    }
}
