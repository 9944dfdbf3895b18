//! `gateway:<model>`: the entry through which clients find a model; and `gateway:<model>/<adapter>`, one
//! of its adapters.

use std::sync::Arc;

use async_trait::async_trait;

use crate::fingerprint::{Fingerprint, Key};
use crate::gateways::{Endpoint, Gateway, facts};
use crate::spec::{Api, Header, Model};
use crate::step::{
    At, Edge, Fact, Head, Input, Inputs, Observation, Outcome, Resource, Step, StepError, StepId,
    Task, Wanted,
};
use crate::workspace::Workspace;

/// Raise when the same settings come to make another entry.
const VERSION: u32 = 1;

const DEPLOY_FACTS: &[Fact] = &[Fact::URL, Fact::SERVED_NAME];

pub(super) struct Wire {
    gateway: Arc<dyn Gateway>,
    head: Head,
    /// The project, as entries name it.
    owner: String,
    alias: String,
    /// Which of the model's adapters it is, if it is one.
    adapter: Option<String>,
    headers: Vec<Header>,
    /// What the model is asked for.
    api: Api,
}

impl Wire {
    /// The entry of a model.
    pub(super) fn new(
        workspace: &Workspace,
        gateway: &Arc<dyn Gateway>,
        model: &Model,
        alias: &str,
        deploy: &StepId,
        smoke: Option<&StepId>,
    ) -> Self {
        Self::led(workspace, gateway, model, (alias, None), deploy, smoke)
    }

    /// The entry of one of its adapters, which leads to the name that the server knows it by.
    pub(super) fn adapter(
        workspace: &Workspace,
        gateway: &Arc<dyn Gateway>,
        model: &Model,
        (alias, adapter): (&str, &str),
        deploy: &StepId,
        smoke: Option<&StepId>,
    ) -> Self {
        Self::led(workspace, gateway, model, (alias, Some(adapter)), deploy, smoke)
    }

    fn led(
        workspace: &Workspace,
        gateway: &Arc<dyn Gateway>,
        model: &Model,
        (alias, adapter): (&str, Option<&str>),
        deploy: &StepId,
        smoke: Option<&StepId>,
    ) -> Self {
        let mut inputs = vec![Input::facts(deploy.clone(), DEPLOY_FACTS)];
        inputs.extend(smoke.map(|step| Input {
            step: step.clone(),
            edge: Edge::Gate,
            blobs: false,
        }));
        let id = match adapter {
            Some(adapter) => StepId::gateway_of_adapter(&model.name, adapter),
            None => StepId::gateway(&model.name),
        };
        let head = Head::effect(id, Resource::Disk, &[model.name.to_string()]).taking(inputs);
        Self {
            gateway: Arc::clone(gateway),
            owner: workspace.project.owner(),
            head: Head { at: At::Here, ..head },
            alias: alias.to_owned(),
            adapter: adapter.map(str::to_owned),
            headers: workspace.targets.of(model).headers(model),
            api: workspace.api_of(model),
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("gateway", VERSION);
        fingerprint.field("project", &self.owner);
        fingerprint
    }

    fn endpoint(&self, inputs: Option<&Inputs>, key: Option<&Key>) -> Endpoint {
        let fact =
            |fact| inputs.map_or("", |inputs| inputs.fact(&self.inputs()[0].step, fact)).to_owned();
        Endpoint {
            alias: self.alias.clone(),
            served_name: self.adapter.clone().unwrap_or_else(|| fact(Fact::SERVED_NAME)),
            url: fact(Fact::URL),
            headers: self.headers.clone(),
            api: self.api,
            project: self.owner.clone(),
            model: self.head.id.name().to_owned(),
            key: key.map(ToString::to_string).unwrap_or_default(),
        }
    }
}

#[async_trait]
impl Step for Wire {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, inputs: &Inputs) -> Fingerprint {
        let mut fingerprint = self.fingerprint();
        self.gateway.describe(&self.endpoint(Some(inputs), None), &mut fingerprint);
        fingerprint
    }

    fn applied(&self, inputs: &Inputs) -> Option<Fingerprint> {
        let wanted = self.endpoint(Some(inputs), Some(&self.describe(inputs).key()));
        let mut fingerprint = self.fingerprint();
        self.gateway.describe_found(&wanted, &mut fingerprint)?;
        Some(fingerprint)
    }

    fn exclusive(&self) -> Option<String> {
        Some(format!("gateway:{}", self.gateway.name()))
    }

    fn observe(&self, wanted: Option<Wanted<'_>>) -> Observation {
        let (inputs, key) = (wanted.map(|it| it.inputs), wanted.map(|it| it.key));
        self.gateway.observe(&self.endpoint(inputs, key), key)
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let wanted = self.endpoint(Some(&task.inputs), Some(&task.key));
        let changed = self.gateway.upsert(std::slice::from_ref(&wanted), task.adopt)?;
        task.reporter.log(if changed { "the file was changed" } else { "the file was right" });
        Ok(Outcome { facts: facts(&wanted.alias), ..Outcome::default() })
    }
}
