//! Modal: GPUs that scale to zero.
//!
//! Everything that is done there is done by Modal's own client, with programs that people can read
//! and deploy themselves (see `app`).

mod address;
mod app;
mod client;
mod credentials;
mod discard;
mod error;
mod kept;
mod lease;
mod literal;
mod logs;
mod look;
mod protection;
mod rollback;
mod serve;
mod snapshot;
mod weights;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::{Deployment, Live, LiveVersion, Snapshot, Target, Weights, deploy_id};
use crate::clock::written;
use crate::event::Reporter;
use crate::fetch::Fetcher;
use crate::fingerprint::{Fingerprint, Key};
use crate::hub::HashCache;
use crate::plan::{PlannedModel, Unwanted, UsdPerHour};
use crate::runtime::Check;
use crate::spec::{Gpu, Header, ModalTarget, Model, Project, Replicas, TargetKind, Volume};
use crate::step::{Facts, Observation, Outcome, StepError, Task};

use address::Address;
use client::Client;
pub use credentials::Credentials;
pub use discard::{Belongings, Discarded};
pub use error::ModalError;
use kept::{DIRECTORY, Kept};
pub use lease::{Lease, LeaseHolder};
use look::Seen;
pub use rollback::{Earlier, RollbackError};
pub use serve::ImageDescription;

/// One project's part of a Modal environment.
#[derive(Debug)]
pub struct Modal {
    settings: ModalTarget,
    app_prefix: String,
    gpus: BTreeMap<String, Gpu>,
    /// How often each secret was replaced.
    generations: BTreeMap<String, u32>,
    /// The project, and its environment.
    owner: String,
    /// The models that are to be served there.
    models: Vec<String>,
    volumes: BTreeMap<String, Volume>,
    /// Where programs are written: `cache/modal`.
    programs: PathBuf,
    credentials: Credentials,
    client: Arc<Client>,
    /// What the last look showed, or why there was none.
    world: RwLock<Result<Seen, String>>,
    kept: RwLock<Kept>,
    writing: tokio::sync::Mutex<()>,
}

/// Whose the credentials are.
#[derive(Debug, Clone, Deserialize)]
struct Account {
    workspace: String,
    /// What addresses have behind the workspace.
    suffix: String,
}

impl Modal {
    /// The target of a project that has one. `cache` is the project's.
    pub fn new(
        project: &Project,
        cache: &std::path::Path,
        credentials: Credentials,
        fetcher: Fetcher,
    ) -> Option<Self> {
        let settings = project.targets.modal.clone()?;
        let here = project.models.values().filter(|model| model.target == TargetKind::Modal);
        let volumes = project.volumes.iter();
        Some(Self {
            app_prefix: project.app_prefix.clone(),
            gpus: project.gpus.clone(),
            generations: project.secrets.clone(),
            owner: project.owner(),
            models: here.map(|model| model.name.to_string()).collect(),
            volumes: volumes.map(|(name, it)| (name.to_string(), it.clone())).collect(),
            programs: cache.join("modal"),
            client: Arc::new(Client::new(
                cache.join("tools"),
                fetcher,
                settings.environment.clone(),
            )),
            credentials,
            world: RwLock::new(Err("nobody has looked there".to_owned())),
            kept: RwLock::new(Kept::new(&project.owner())),
            writing: tokio::sync::Mutex::default(),
            settings,
        })
    }

    /// The name of the app that serves a model: the model's own behind the project's prefix.
    fn app(&self, model: &str) -> String {
        format!("{}{model}", self.app_prefix)
    }

    /// The name of an app that runs for as long as it has something to do.
    fn helper(&self, what: &str) -> String {
        address::helper(&self.owner, what)
    }

    fn volume(&self, name: &str) -> &Volume {
        self.volumes.get(name).unwrap_or_else(|| panic!("BUG: the volume {name} is not built in"))
    }

    /// Where a model's app answers, by what is known of the account.
    fn address(&self, app: &str) -> Address {
        let kept = self.kept(|kept| (kept.workspace.clone(), kept.suffix.clone()));
        let workspace = kept.0.or_else(|| self.settings.workspace.clone());
        Address::of(workspace.as_deref(), &self.settings.environment, kept.1.as_deref(), app)
    }

    /// Modal's environment.
    pub fn environment(&self) -> &str {
        &self.settings.environment
    }

    /// Describes where an image of goatbuild's comes from, and what takes it from there.
    pub fn describe_registry(&self, image: &str, fingerprint: &mut Fingerprint) {
        let registry = self.settings.registry.as_deref().unwrap_or_default();
        fingerprint
            .field("target.modal.registry", format_args!("{registry}/{image}"))
            .optional("target.modal.registry-secret", self.settings.registry_secret.as_ref())
            .field("modal.image-builder", client::BUILDER);
    }

    fn world(&self) -> RwLockReadGuard<'_, Result<Seen, String>> {
        self.world.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept<T>(&self, read: impl FnOnce(&Kept) -> T) -> T {
        read(&self.kept.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what is kept at Modal, and what is known of it here.
    async fn keep(
        &self,
        change: impl FnOnce(&mut Kept),
        reporter: &Reporter,
    ) -> Result<(), StepError> {
        self.keep_with(change, Vec::new(), reporter).await
    }

    /// The same, with other files beside it: paths and texts.
    async fn keep_with(
        &self,
        change: impl FnOnce(&mut Kept),
        mut files: Vec<(String, String)>,
        reporter: &Reporter,
    ) -> Result<(), StepError> {
        let _writing = self.writing.lock().await;
        let mut kept = self.kept(Kept::clone);
        change(&mut kept);
        files.push((format!("/{DIRECTORY}/{}", Kept::file(&self.owner)), kept.write()));
        let request = json!({"volume": self.volume("model-cache").name, "files": files});
        self.client.call("what is kept", "put", request, reporter).await?;
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(())
    }

    /// Whose the credentials are; fails when the project is another workspace's.
    async fn account(&self, reporter: &Reporter) -> Result<Account, StepError> {
        let found = self.client.call("the account", "account", json!({}), reporter).await?;
        let account: Account = serde_json::from_value(found).map_err(|error| {
            ModalError::Client { verb: "understood", message: error.to_string() }
        })?;
        match &self.settings.workspace {
            Some(wanted) if *wanted != account.workspace => {
                Err(ModalError::Workspace { found: account.workspace, wanted: wanted.clone() }
                    .into())
            }
            _ => Ok(account),
        }
    }

    /// Makes sure, once for a project, whose the credentials are, and keeps that.
    async fn settle_account(&self, reporter: &Reporter) -> Result<(), StepError> {
        let known = self.kept(|kept| kept.workspace.clone());
        match (known, &self.settings.workspace) {
            (Some(known), Some(wanted)) if known == *wanted => return Ok(()),
            (Some(_), None) => return Ok(()),
            _ => {}
        }
        let Account { workspace, suffix } = self.account(reporter).await?;
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        (kept.workspace, kept.suffix) = (Some(workspace), Some(suffix));
        Ok(())
    }

    /// The price of one replica by its hardware.
    fn price(&self, gpu: &str, count: u32) -> Option<UsdPerHour> {
        self.gpus.get(gpu).map(|gpu| UsdPerHour::new(gpu.usd_per_hour).times(count))
    }
}

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
        PlannedModel {
            model: model.name.to_string(),
            target: self.name().to_owned(),
            url: deployed.or_else(|| address.url()),
            app: Some(app),
            gpu: hardware.map(|hardware| hardware.gpu.clone()),
            gpu_count: hardware.map_or(0, |hardware| hardware.count),
            usd_per_hour: hardware.and_then(|hardware| self.price(&hardware.gpu, hardware.count)),
            notes: notes.into_iter().collect(),
        }
    }

    fn describe(&self, model: &Model, fingerprint: &mut Fingerprint) {
        fingerprint
            .field("modal.environment", &self.settings.environment)
            .field("modal.app", self.app(model.name.as_str()))
            .field("modal.runtime", app::RUNTIME)
            .field("serve.startup-timeout", format_args!("{:?}", model.serve.startup_timeout));
        let Replicas { min, max, buffer, region, cloud } = &model.serve.replicas;
        fingerprint
            .optional("serve.min-containers", *min)
            .optional("serve.max-containers", *max)
            .optional("serve.buffer-containers", *buffer)
            .optional("serve.region", region.as_ref())
            .optional("serve.cloud", cloud.as_ref());
        self.describe_protection(model.serve.auth, fingerprint);
    }

    fn headers(&self, model: &Model) -> Vec<Header> {
        self.settings.headers(model.serve.auth)
    }

    async fn check(&self, what: &[String]) -> Result<(), StepError> {
        if self.credentials.are_there() {
            return Ok(());
        }
        Err(ModalError::NoCredentials { what: what.to_vec() }.into())
    }

    async fn survey(&self) -> Result<Vec<Check>, StepError> {
        let name = "modal";
        if !self.credentials.are_there() {
            let detail = NO_CREDENTIALS.to_owned();
            return Ok(vec![Check { name, ok: true, detail, help: None }]);
        }
        Ok(vec![match self.account(&Reporter::silent()).await {
            Ok(account) => {
                let environment = &self.settings.environment;
                let detail = format!("workspace {}, environment {environment}", account.workspace);
                Check { name, ok: true, detail, help: None }
            }
            Err(error) => {
                let help = error.help().map(|help| help.to_string());
                Check { name, ok: false, detail: error.to_string(), help }
            }
        }])
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
                Ok((seen, kept)) => {
                    *self.kept.write().unwrap_or_else(PoisonError::into_inner) = kept;
                    Ok(seen)
                }
                // What is wrong is told per step: a plan goes on without, and an apply does not.
                Err(error) => Err(error.to_string()),
            }
        } else {
            Err(NO_CREDENTIALS.to_owned())
        };
        *self.world.write().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(())
    }

    fn observe_weights(&self, snapshot: &Snapshot, key: Option<&Key>) -> Observation {
        let Some(key) = key else { return Observation::Unobserved(None) };
        match self.has_weights(key) {
            Ok(true) => Observation::Present { key: *key, facts: snapshot.facts() },
            Ok(false) => Observation::Absent,
            Err(unseen) => unseen,
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
            Ok(true) => Observation::Present { key: *key, facts: serve::warm_facts(model, key) },
            Ok(false) => held.unwrap_or(Observation::Absent),
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

    fn predict_deployment(&self, _: &str, _: Option<u16>) -> Facts {
        // Somebody else may have taken the label, and then Modal gives another.
        Facts::new()
    }

    async fn deploy(&self, deployment: &Deployment, task: &Task) -> Result<Outcome, StepError> {
        self.settle_account(&task.reporter).await?;
        self.serve(deployment, task).await
    }

    fn observe_smoke(&self, model: &str) -> Observation {
        if let Err(why) = &*self.world() {
            return Observation::Unobserved(Some(why.clone()));
        }
        match self.deployed(model).and_then(|it| Some((it.smoke?, it.instance()))) {
            Some((key, instance)) => {
                Observation::Present { key, facts: [("instance".to_owned(), instance)].into() }
            }
            None => self.held_behind(model).unwrap_or(Observation::Absent),
        }
    }

    async fn passed_smoke(&self, model: &str, instance: &str, key: Key) -> Result<(), StepError> {
        let passed = |kept: &mut Kept| {
            let deployed = kept.deployments.get_mut(model);
            if let Some(deployed) = deployed.filter(|it| it.instance() == instance) {
                deployed.smoke = Some(key);
            }
        };
        self.keep(passed, &Reporter::silent()).await
    }

    fn unwanted(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<Unwanted> {
        let mut unwanted = Vec::new();
        self.kept(|kept| {
            for (model, deployed) in kept.deployments.iter().filter(|(model, _)| !wanted(model)) {
                let gpu = deployed.applied.get("hardware.gpu");
                let count = deployed.applied.get("hardware.count").and_then(|it| it.parse().ok());
                let price = gpu.and_then(|gpu| self.price(gpu, count.unwrap_or(1)));
                let price = price.map(|price| format!(", {price} per hour while a replica is up"));
                unwanted.push(Unwanted {
                    id: deploy_id(model),
                    model: model.clone(),
                    detail: format!("{} on Modal{}", deployed.app, price.unwrap_or_default()),
                    absent: false,
                });
            }
        });
        unwanted
    }

    async fn remove(&self, model: &str) -> Result<(), StepError> {
        let Some(deployed) = self.deployed(model) else { return Ok(()) };
        let request = json!({"app": deployed.app});
        self.client.call(&deployed.app, "stop", request, &Reporter::silent()).await?;
        let forget = |kept: &mut Kept| {
            kept.deployments.remove(model);
            kept.holds.remove(model);
        };
        self.keep(forget, &Reporter::silent()).await
    }

    fn live(&self) -> Vec<Live> {
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
                    "{}{}, {containers} replicas",
                    deployed.app,
                    who.unwrap_or_default()
                ),
                version,
                replicas: Some(containers),
                model,
            }
        });
        live.collect()
    }

    fn log(&self, _: &str) -> Option<PathBuf> {
        None
    }
}

/// Why nothing was looked at, and what to do about it.
const NO_CREDENTIALS: &str = "no credentials for Modal; `modal token new` makes them";
