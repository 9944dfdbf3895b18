//! `gateway:<model>`: the entry through which clients find a model.

use async_trait::async_trait;

use crate::fingerprint::{Fingerprint, Key};
use crate::gateways::litellm::gateway::{Gateway, facts, gateway_id};
use crate::gateways::litellm::{Access, Entry};
use crate::spec::Model;
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
    access: Access,
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
            access: Access::with(&workspace.targets.of(model).headers(model)),
        }
    }

    fn gateway(&self) -> &Gateway {
        let gateway = self.workspace.gateway.as_ref();
        gateway.unwrap_or_else(|| panic!("BUG: {} without a gateway", self.id()))
    }

    /// All that an entry's key is made of stands in the entry.
    fn describe_entry(
        &self,
        alias: &str,
        url: &str,
        served_name: &str,
        access: &Access,
    ) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("gateway", VERSION);
        fingerprint
            .field("project", self.workspace.project.owner())
            .field("gateway.config", self.gateway().name())
            .field("gateway.alias", alias)
            .field("url", url)
            .field("served-name", served_name);
        for (label, value) in access.described() {
            fingerprint.field(label, value);
        }
        fingerprint
    }

    fn entry(&self, known: Option<(&Key, &Inputs)>) -> Entry {
        let fact = |name| {
            known.map_or("", |(_, inputs)| inputs.fact(&self.inputs()[0].step, name)).to_owned()
        };
        Entry {
            alias: self.alias.clone(),
            served_name: fact("served-name"),
            api_base: fact("url"),
            access: self.access.clone(),
            project: self.workspace.project.owner(),
            model: self.models()[0].clone(),
            key: known.map(|(key, _)| key.to_string()).unwrap_or_default(),
        }
    }
}

#[async_trait]
impl Step for Wire {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, inputs: &Inputs) -> Fingerprint {
        let deploy = &self.inputs()[0].step;
        self.describe_entry(
            &self.alias,
            inputs.fact(deploy, "url"),
            inputs.fact(deploy, "served-name"),
            &self.access,
        )
    }

    fn applied(&self, inputs: &Inputs) -> Option<Fingerprint> {
        let wanted = self.entry(Some((&self.describe(inputs).key(), inputs)));
        let found = self.gateway().found(&wanted)?;
        Some(self.describe_entry(&found.alias, &found.api_base, &found.served_name, &found.access))
    }

    fn exclusive(&self) -> Option<String> {
        Some(format!("gateway:{}", self.gateway().name()))
    }

    fn observe(&self, wanted: Option<Wanted<'_>>) -> Observation {
        let known = wanted.map(|wanted| (wanted.key, wanted.inputs));
        self.gateway().observe(&self.entry(known), wanted.map(|wanted| wanted.key))
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let entry = self.entry(Some((&task.key, &task.inputs)));
        let changed = self.gateway().upsert(&entry, task.adopt)?;
        task.reporter.log(if changed { "the file was changed" } else { "the file was right" });
        Ok(Outcome { facts: facts(&entry), ..Outcome::default() })
    }
}
