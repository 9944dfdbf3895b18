//! `gateway:<model>`: the entry through which clients find a model.

use async_trait::async_trait;

use crate::fingerprint::{Fingerprint, Key};
use crate::gateways::{Endpoint, Gateway, facts, gateway_id};
use crate::spec::{Header, Model};
use crate::step::{
    Edge, Head, Input, Inputs, Observation, Outcome, Resource, Step, StepError, StepId, Task,
    Wanted,
};
use crate::workspace::SharedWorkspace;

/// Raise when the same settings come to make another entry.
const VERSION: u32 = 1;

const DEPLOY_FACTS: &[&str] = &["url", "served-name"];

pub(super) struct Wire {
    workspace: SharedWorkspace,
    head: Head,
    alias: String,
    headers: Vec<Header>,
}

impl Wire {
    pub(super) fn new(
        workspace: &SharedWorkspace,
        model: &Model,
        alias: &str,
        deploy: &StepId,
        smoke: Option<&StepId>,
    ) -> Self {
        let mut inputs = vec![Input::facts(deploy.clone(), DEPLOY_FACTS)];
        inputs.extend(smoke.map(|step| Input {
            step: step.clone(),
            edge: Edge::Gate,
            blobs: false,
        }));
        Self {
            workspace: workspace.clone(),
            head: Head::effect(
                gateway_id(model.name.as_str()),
                Resource::Disk,
                &[model.name.to_string()],
            )
            .taking(inputs),
            alias: alias.to_owned(),
            headers: workspace.targets.of(model).headers(model),
        }
    }

    fn gateway(&self) -> &dyn Gateway {
        let gateway = self.workspace.gateway.as_deref();
        gateway.unwrap_or_else(|| panic!("BUG: {} without a gateway", self.id()))
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("gateway", VERSION);
        fingerprint.field("project", self.workspace.project.owner());
        fingerprint
    }

    fn endpoint(&self, inputs: Option<&Inputs>, key: Option<&Key>) -> Endpoint {
        let fact =
            |name| inputs.map_or("", |inputs| inputs.fact(&self.inputs()[0].step, name)).to_owned();
        Endpoint {
            alias: self.alias.clone(),
            served_name: fact("served-name"),
            url: fact("url"),
            headers: self.headers.clone(),
            project: self.workspace.project.owner(),
            model: self.models()[0].clone(),
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
        self.gateway().describe(&self.endpoint(Some(inputs), None), &mut fingerprint);
        fingerprint
    }

    fn applied(&self, inputs: &Inputs) -> Option<Fingerprint> {
        let wanted = self.endpoint(Some(inputs), Some(&self.describe(inputs).key()));
        let mut fingerprint = self.fingerprint();
        self.gateway().describe_found(&wanted, &mut fingerprint)?;
        Some(fingerprint)
    }

    fn exclusive(&self) -> Option<String> {
        Some(format!("gateway:{}", self.gateway().name()))
    }

    fn observe(&self, wanted: Option<Wanted<'_>>) -> Observation {
        let (inputs, key) = (wanted.map(|it| it.inputs), wanted.map(|it| it.key));
        self.gateway().observe(&self.endpoint(inputs, key), key)
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let wanted = self.endpoint(Some(&task.inputs), Some(&task.key));
        let changed = self.gateway().upsert(std::slice::from_ref(&wanted), task.adopt)?;
        task.reporter.log(if changed { "the file was changed" } else { "the file was right" });
        Ok(Outcome { facts: facts(&wanted), ..Outcome::default() })
    }
}
