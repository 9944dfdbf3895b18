//! What a target has to be able to, done at Modal.

use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;

use super::account::NO_CREDENTIALS;
use super::error::ModalError;
use super::kept::Kept;
use super::live::LEFT;
use super::price::{self, Paid};
use super::spec::Replicas;
use super::{Modal, app, serve};
use crate::event::Reporter;
use crate::fingerprint::{Fingerprint, Key};
use crate::hub::HashCache;
use crate::plan::{AlwaysOn, PlannedModel, Unwanted, UsdPerHour};
use crate::runtime::Check;
use crate::spec::{Header, Model, ModelSource, Rollout, Takes};
use crate::step::{Fact, Facts, Observation, Outcome, StepError, Task};
use crate::targets::{
    Bills, Candidates, Deed, Deployment, Images, Lack, Leases, Live, Logs, Measured,
    PinnedRepository, PriceLists, Programs, Rolling, Starts, TakesBack, Target, Trials, Versions,
    Volumes, Weights,
};

#[async_trait]
impl Target for Modal {
    fn name(&self) -> &'static str {
        "modal"
    }

    fn plan_model(&self, model: &Model) -> PlannedModel {
        let name = model.name.as_str();
        let app = self.app(name);
        let address = self.address(&app);
        let hardware = model.hardware.as_ref();
        let deployed = self.deployed(name).filter(|it| it.app == app).map(|it| it.url);
        let notes = if deployed.is_some() { None } else { address.note() };
        let left =
            self.left(name).map(|left| format!("{left} {LEFT}: the next deployment stops it"));
        let replicas: &Replicas = model.serve.own.get();
        let price = self.price(Paid::of(model, replicas.region.as_deref()));
        PlannedModel {
            model: model.name.to_string(),
            target: self.name().to_owned(),
            url: deployed.or_else(|| address.url()),
            app: Some(app),
            gpu: hardware.map(|hardware| hardware.gpu.clone()),
            gpu_count: hardware.map_or(0, |hardware| hardware.count),
            usd_per_hour: price,
            always_on: Self::always_on(replicas.min.unwrap_or_default(), price),
            in_reserve: replicas.buffer.unwrap_or_default(),
            notes: notes
                .into_iter()
                .chain(left)
                .chain(self.told(name).and_then(|it| it.ends()))
                .collect(),
        }
    }

    fn describe(&self, model: &Model, fingerprint: &mut Fingerprint) {
        fingerprint
            .field("modal.environment", &self.settings.environment)
            .field("modal.app", self.app(model.name.as_str()))
            .field("modal.runtime", app::RUNTIME)
            .field("serve.startup-timeout", format_args!("{:?}", model.serve.startup_timeout));
        let Replicas { min, max, buffer, region, cloud } = model.serve.own.get();
        fingerprint
            .optional("serve.min-containers", *min)
            .optional("serve.max-containers", *max)
            .optional("serve.buffer-containers", *buffer)
            .optional("serve.region", region.as_ref())
            .optional("serve.cloud", cloud.as_ref())
            .optional("hardware.cpu", model.reserved.cores())
            .optional("hardware.memory", model.reserved.gib());
        self.describe_protection(&model.serve, fingerprint);
    }

    fn most_per_hour(&self, model: &Model) -> Option<UsdPerHour> {
        let replicas: &Replicas = model.serve.own.get();
        self.most(Paid::of(model, replicas.region.as_deref()))
    }

    fn without_limit(&self) -> Option<&'static str> {
        Some("memory used beyond what is reserved")
    }

    fn price_of_errand(&self) -> Option<UsdPerHour> {
        Some(Self::price_of_errand(self))
    }

    fn time_to_fetch(&self, bytes: Option<u64>) -> Duration {
        price::time_to_fetch(bytes)
    }

    fn lacks(&self, deed: Deed, model: &Model, takes: Takes) -> Vec<Lack> {
        self.lacking_secrets(deed, model, takes)
    }

    fn always_on(&self, model: &str) -> Option<AlwaysOn> {
        self.stays_up(model)
    }

    fn headers(&self, model: &Model) -> Vec<Header> {
        self.settings.headers(self.wanted_auth(model))
    }

    fn headers_of_deployed(&self, model: &Model) -> Vec<Header> {
        let deployed = self.deployed_auth(model.name.as_str());
        self.settings.headers(deployed.unwrap_or(model.serve.auth))
    }

    async fn check(&self, what: &[String]) -> Result<(), StepError> {
        if self.credentials.are_there() {
            return Ok(());
        }
        Err(ModalError::NoCredentials { what: what.to_vec() }.into())
    }

    async fn survey(&self) -> Result<Vec<Check>, StepError> {
        Ok(vec![self.surveyed().await])
    }

    async fn place(&self) -> Option<String> {
        if !self.credentials.are_there() {
            return None;
        }
        let workspace = self.kept(|kept| kept.workspace.clone());
        let workspace = workspace.or_else(|| self.settings.workspace.clone());
        let workspace = workspace.map(|name| format!("workspace {name}, "));
        let (workspace, environment) = (workspace.unwrap_or_default(), &self.settings.environment);
        Some(format!("served on Modal: {workspace}environment {environment}"))
    }

    async fn look(&self) -> Result<(), StepError> {
        let seen = if self.credentials.are_there() {
            match self.ask().await {
                Ok((seen, kept)) => match self.assert_workspace(kept.workspace.as_deref()) {
                    Ok(()) => {
                        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = kept;
                        Ok(seen)
                    }
                    Err(error) => Err(error.to_string()),
                },
                // What is wrong is told per step: a plan goes on without, and an apply does not.
                Err(error) => Err(error.to_string()),
            }
        } else {
            Err(NO_CREDENTIALS.to_owned())
        };
        *self.world.write().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(())
    }

    fn observe_weights(&self, pinned: &PinnedRepository, key: Option<&Key>) -> Observation {
        let Some(key) = key else { return Observation::Unobserved(None) };
        match self.has_weights(key) {
            Ok(true) => Observation::Present { key: *key, facts: pinned.facts() },
            Ok(false) => Observation::Absent,
            Err(unseen) => unseen,
        }
    }

    fn check_weights(&self, source: &ModelSource) -> Result<(), StepError> {
        match source {
            ModelSource::Path(path) => Err(ModalError::Path { path: path.into() }.into()),
            ModelSource::Hub(_) => Ok(()),
        }
    }

    async fn place_weights(
        &self,
        weights: &Weights,
        _: &dyn HashCache,
        task: &Task,
    ) -> Result<Outcome, StepError> {
        self.settle_account(&task.reporter).await?;
        self.fetch_weights(weights, task).await
    }

    fn observe_warmup(&self, model: &str, key: Option<&Key>) -> Observation {
        let held = self.held_behind(model);
        let Some(key) = key else { return held.unwrap_or(Observation::Unobserved(None)) };
        match self.is_warm(key) {
            Ok(true) if !self.lost_caches(model) => {
                Observation::Present { key: *key, facts: serve::warm_facts(model, key) }
            }
            Ok(_) => held.unwrap_or(Observation::Absent),
            Err(unseen) => unseen,
        }
    }

    async fn warm_up(&self, deployment: &Deployment, task: &Task) -> Result<Outcome, StepError> {
        self.settle_account(&task.reporter).await?;
        self.warm(deployment, task).await
    }

    fn observe_deployment(&self, model: &str) -> Observation {
        self.observe_app(model)
    }

    fn applied_deployment(&self, model: &str) -> Option<Fingerprint> {
        self.deployed(model).map(|deployed| deployed.applied)
    }

    fn predict_deployment(&self, _: &Model) -> Facts {
        // Somebody else may have taken the label, and then Modal gives another.
        Facts::new()
    }

    async fn deploy(&self, deployment: &Deployment, task: &Task) -> Result<Outcome, StepError> {
        self.settle_account(&task.reporter).await?;
        let outcome = self.serve(deployment, task).await?;
        // It is deployed all the same; what is left is told by the next plan.
        if let Err(error) = self.stop_left(&deployment.model, &task.reporter).await {
            task.reporter.log(format!("the candidate that was left is still up: {error:?}"));
        }
        Ok(outcome)
    }

    fn observe_smoke(&self, model: &str) -> Observation {
        if let Err(why) = &*self.world() {
            return Observation::Unobserved(Some(why.clone()));
        }
        match self.deployed(model).and_then(|it| Some((it.smoke?, it.instance()))) {
            Some((key, instance)) => {
                Observation::Present { key, facts: [Fact::INSTANCE.is(instance)].into() }
            }
            None => self.held_behind(model).unwrap_or(Observation::Absent),
        }
    }

    async fn passed_smoke(
        &self,
        model: &str,
        instance: &str,
        key: Key,
        measured: Measured,
    ) -> Result<(), StepError> {
        let passed = |kept: &mut Kept| {
            let deployed = kept.deployments.get_mut(model);
            if let Some(deployed) = deployed.filter(|it| it.instance() == instance) {
                (deployed.smoke, deployed.answered) = (Some(key), Some(measured.into()));
                deployed.left_open = None;
                kept.failed.remove(model);
            }
        };
        self.keep(passed, &Reporter::silent()).await
    }

    fn failed_deployment(&self, model: &str) -> Option<Key> {
        self.failed_key(model)
    }

    fn unwanted(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<Unwanted> {
        self.deployed_without(wanted)
    }

    async fn remove(&self, model: &str) -> Result<(), StepError> {
        let reporter = Reporter::silent();
        self.stop_left(model, &reporter).await?;
        let Some(deployed) = self.deployed(model) else { return Ok(()) };
        self.stop(&deployed.app, &reporter).await?;
        self.keep(|kept| kept.forget(model), &Reporter::silent()).await
    }

    fn live(&self) -> Vec<Live> {
        self.deployments()
    }

    fn log(&self, _: &str) -> Option<PathBuf> {
        None
    }

    fn note(&self, model: &Model, rollout: Rollout) -> Option<&'static str> {
        match (rollout, model.serve.snapshot) {
            (Rollout::Candidate, true) => Some(CANDIDATE_FIRST_FROM_SNAPSHOT),
            (Rollout::Candidate, false) => Some(CANDIDATE_FIRST),
            (Rollout::InPlace, true) => Some(SNAPSHOT),
            (Rollout::InPlace, false) => None,
        }
    }

    fn unseen(&self) -> Option<String> {
        self.world().as_ref().err().cloned()
    }

    fn has(&self, model: &str) -> bool {
        self.deployed(model).is_some() || self.left(model).is_some()
    }

    fn knows(&self, model: &str) -> bool {
        self.has_app(model)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }

    fn bills(&self) -> Option<&dyn Bills> {
        Some(self)
    }

    fn price_list(&self) -> Option<&dyn PriceLists> {
        Some(self)
    }

    fn versions(&self) -> Option<&dyn Versions> {
        Some(self)
    }

    fn takes_back(&self) -> Option<&dyn TakesBack> {
        Some(self)
    }

    fn rolling(&self) -> Option<&dyn Rolling> {
        Some(self)
    }

    fn starts(&self) -> Option<&dyn Starts> {
        Some(self)
    }

    fn candidates(&self) -> Option<&dyn Candidates> {
        Some(self)
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(self)
    }

    fn programs(&self) -> Option<&dyn Programs> {
        Some(self)
    }

    fn volumes(&self) -> Option<&dyn Volumes> {
        Some(self)
    }

    fn logs(&self) -> Option<&dyn Logs> {
        Some(self)
    }

    fn trials(&self) -> Option<&dyn Trials> {
        Some(self)
    }
}

/// What people should know of a deployment that starts from a snapshot.
const SNAPSHOT: &str = "starts from a snapshot of the GPU's memory: alpha at Modal";

/// What people should know of a deployment with a candidate.
const CANDIDATE_FIRST: &str = "tried out as a candidate first, for one more cold start";

const CANDIDATE_FIRST_FROM_SNAPSHOT: &str = "tried out as a candidate first, for one more cold start; \
     starts from a snapshot of the GPU's memory: alpha at Modal";
