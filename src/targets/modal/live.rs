//! What is deployed, for people.

use super::Modal;
use super::price::Paid;
use crate::clock::written;
use crate::plan::{AlwaysOn, Unwanted};
use crate::step::{Observation, StepId};
use crate::targets::{Live, LiveVersion};

/// What there is to say of a candidate that is up while nothing is at work.
pub(super) const LEFT: &str = "is up, left of an apply that was cut short";

impl Modal {
    /// How the deployments are, as the last look showed.
    pub(super) fn deployments(&self) -> Vec<Live> {
        let deployments = self.kept(|kept| kept.deployments.clone());
        let live = deployments.into_iter().map(|(model, deployed)| {
            let app = self.seen_app(&model);
            let newest = app.as_ref().and_then(|app| app.history.first());
            let containers = app.as_ref().map_or(0, |app| app.containers);
            let version = newest.map(|newest| LiveVersion {
                number: newest.number,
                tag: newest.tag.clone(),
                by: newest.by.clone(),
                at: written(newest.at),
            });
            let who =
                version.as_ref().map(|it| format!(" v{} by {} at {}", it.number, it.by, it.at));
            let replicas = if containers == 1 { "replica" } else { "replicas" };
            let up = matches!(self.stands(&model), Observation::Present { .. });
            Live {
                key: Some(deployed.key),
                state: match (up, containers) {
                    (true, 0) => "scaled to zero",
                    (true, _) => "running",
                    (false, _) => "changed",
                },
                url: deployed.url,
                pid: None,
                since: deployed.at,
                detail: format!(
                    "{}{}, {containers} {replicas}",
                    deployed.app,
                    who.unwrap_or_default()
                ),
                version,
                replicas: Some(containers),
                auth: self.deployed_auth(&model),
                measured: deployed.answered.map(Into::into),
                told: self.told(&model),
                model,
            }
        });
        live.chain(self.left_without()).collect()
    }

    /// Candidates that were left of models which are neither specified nor deployed: nothing else would
    /// tell of them.
    fn left_without(&self) -> impl Iterator<Item = Live> {
        let unknown = |(model, _): &(String, String)| {
            !self.specs.contains_key(model) && self.deployed(model).is_none()
        };
        let left: Vec<_> = self.candidates_left().into_iter().filter(unknown).collect();
        left.into_iter().map(|(model, app)| Live {
            key: None,
            state: "left",
            url: String::new(),
            pid: None,
            since: String::new(),
            detail: format!("{app} {LEFT}"),
            version: None,
            replicas: self.seen_by_name(&app).map(|app| app.containers),
            auth: None,
            measured: None,
            told: None,
            model,
        })
    }

    /// What stays up of what is deployed of a model, though nobody asks anything.
    pub(super) fn stays_up(&self, model: &str) -> Option<AlwaysOn> {
        self.seen_app(model).filter(|app| app.deployed)?;
        let deployed = self.deployed(model)?;
        let replicas = deployed.applied.get("serve.min-containers")?.parse().ok()?;
        let paid = Paid::of_applied(&deployed.applied)?;
        Self::always_on(replicas, self.price(paid))
    }

    /// Deployments that none of `wanted` is the model of.
    pub(super) fn deployed_without(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<Unwanted> {
        let mut unwanted = Vec::new();
        self.kept(|kept| {
            for (model, deployed) in kept.deployments.iter().filter(|(model, _)| !wanted(model)) {
                let price = Paid::of_applied(&deployed.applied).and_then(|paid| self.price(paid));
                let price = price.map(|price| format!(", {price} per hour while a replica is up"));
                unwanted.push(Unwanted {
                    id: StepId::deploy(model),
                    model: model.clone(),
                    detail: format!("{} on Modal{}", deployed.app, price.unwrap_or_default()),
                    absent: false,
                });
            }
        });
        for (model, app) in self.candidates_left().into_iter().filter(|(model, _)| !wanted(model)) {
            let what = format!("{app} {LEFT}");
            match unwanted.iter_mut().find(|it| it.model == model) {
                Some(it) => it.detail = format!("{}; {what}", it.detail),
                None => unwanted.push(Unwanted {
                    id: StepId::deploy(&model),
                    model,
                    detail: what,
                    absent: false,
                }),
            }
        }
        unwanted
    }
}
