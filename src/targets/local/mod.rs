//! The local target: models served on this machine, by Docker or Podman where one is, and otherwise
//! without root and without a daemon.

mod address;
mod answers;
mod caches;
mod compiled;
mod devices;
mod environments;
mod error;
mod foreseen;
mod guard;
mod live;
mod log;
mod mount;
mod mounts;
mod moving;
mod place;
mod roots;
mod runner;
mod secrets;
mod serve;
mod server;
mod spec;
mod state;
mod survey;
mod sweep;
mod tree;
mod trial;
mod unserved;
mod volumes;
mod warm;
mod weights;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::{Mutex, OnceCell};

use super::{
    Deed, Deployment, Lack, Live, Measured, Moves, PinnedRepository, TakesBack, Target, Weights,
};
use crate::container::{Condition, probe};
use crate::event::Reporter;
use crate::fingerprint::{Change, Fingerprint, Key};
use crate::hub::{HashCache, ModelRead};
use crate::oci::Layout;
use crate::openai::Credentials;
use crate::plan::{PlannedModel, Unwanted};
use crate::runtime::Check;
use crate::spec::{Auth, Header, Model, Takes};
use crate::step::{Fact, Facts, Observation, Outcome, StepError, Task};

use answers::Answer;
pub use environments::{
    deployed, environments, environments_of, old_volumes_of, state_of, volumes_of,
};
pub use error::LocalError;
use log::{end_of, length};
pub use mount::Mount;
use runner::Chosen;
use secrets::Secrets;
use server::Life;
use spec::RUNTIMES;
pub use spec::{LocalRuntime, LocalType};
use state::{Served, State};

/// Where things of this project are on this machine.
#[derive(Debug, Clone)]
pub struct Places {
    /// The project's `cache/`.
    pub cache: PathBuf,
    /// The state directory of all projects.
    pub state: PathBuf,
    /// The state directory of this project and environment.
    pub ours: PathBuf,
    /// The executable that supervises servers: this very program.
    pub supervisor: PathBuf,
}

/// This machine.
#[derive(Debug)]
pub struct Local {
    /// The project's id.
    project: String,
    /// What is to run images.
    wish: LocalRuntime,
    places: Places,
    model_cache: Mount,
    /// For what engines make: of each of its engine's, a server sees its own part.
    caches: Vec<Mount>,
    others: Vec<Mount>,
    secrets: Secrets,
    /// The variable that others find the key of models in.
    asked_in: String,
    seen: RwLock<State>,
    /// How containers were when they were looked at, or when they were last started or stopped.
    conditions: RwLock<BTreeMap<String, Condition>>,
    /// What came of asking servers, by their instance.
    answers: RwLock<BTreeMap<String, Answer>>,
    /// What runs images: asked once, when it is needed.
    chosen: OnceCell<Chosen>,
    /// Held while the state file is read, changed and written.
    writing: Mutex<()>,
}

impl Local {
    /// The target of one project and environment. `volumes` are that of weights, those of engines, and the
    /// others.
    fn new(
        project: String,
        wish: LocalRuntime,
        places: Places,
        (model_cache, caches, others): (Mount, Vec<Mount>, Vec<Mount>),
        secrets: Secrets,
        asked_in: String,
    ) -> Self {
        Self {
            project,
            wish,
            places,
            model_cache,
            caches,
            others,
            secrets,
            asked_in,
            seen: RwLock::default(),
            conditions: RwLock::default(),
            answers: RwLock::default(),
            chosen: OnceCell::new(),
            writing: Mutex::new(()),
        }
    }

    /// What runs images here.
    async fn chosen(&self) -> Result<&Chosen, StepError> {
        let system = std::env::consts::OS;
        let choose = || runner::choose(self.wish, system, |kind| probe(kind, system == "linux"));
        Ok(self.chosen.get_or_try_init(choose).await?)
    }

    fn state_file(&self) -> PathBuf {
        State::file(&self.places.ours)
    }

    fn layout(&self) -> Result<Layout, StepError> {
        Ok(Layout::open(&self.places.cache.join("oci"))?)
    }

    fn seen<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.seen.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn served(&self, model: &str) -> Option<Served> {
        self.seen(|state| state.served.get(model).cloned())
    }

    /// Changes the state file, and what was seen of it.
    async fn change(&self, change: impl FnOnce(&mut State)) -> Result<(), StepError> {
        let _writing = self.writing.lock().await;
        let path = self.state_file();
        let mut state = State::load(&path)?;
        change(&mut state);
        state.save(&path)?;
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(())
    }
}

fn drift(field: &str, old: &str, new: &str) -> Observation {
    let change =
        Change { field: field.to_owned(), old: Some(old.to_owned()), new: Some(new.to_owned()) };
    Observation::Drifted { changes: vec![change] }
}

#[async_trait]
impl Target for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn is_here(&self) -> bool {
        true
    }

    fn headers(&self, model: &Model) -> Vec<Header> {
        self.headers_where(model.serve.auth == Auth::ApiKey)
    }

    fn headers_of_deployed(&self, model: &Model) -> Vec<Header> {
        match self.served(model.name.as_str()) {
            Some(served) => self.headers_where(served.has_key()),
            None => self.headers(model),
        }
    }

    /// With the key that it was started with.
    async fn credentials(&self, model: &Model, _: Vec<Header>) -> Result<Credentials, StepError> {
        let served = self.served(model.name.as_str()).map(|served| served.secrets);
        let taken = served.unwrap_or_else(|| self.secrets.of(model));
        self.secrets.credentials(&taken).await
    }

    fn plan_model(&self, model: &Model) -> PlannedModel {
        let hardware = model.hardware.as_ref();
        PlannedModel {
            model: model.name.to_string(),
            target: self.name().to_owned(),
            app: None,
            url: self.predict_deployment(model).remove("url"),
            gpu: hardware.map(|hardware| hardware.gpu.clone()),
            gpu_count: hardware.map_or(0, |hardware| hardware.count),
            usd_per_hour: None,
            always_on: None,
            in_reserve: 0,
            notes: Vec::new(),
        }
    }

    fn lacks(&self, deed: Deed, model: &Model, _: Takes) -> Vec<Lack> {
        let mut lacks = match deed {
            Deed::Fetch { .. } => return Vec::new(),
            Deed::Start => Vec::new(),
            Deed::Serve => self.lacks_to_serve(model),
        };
        lacks.extend(self.secrets.lacking(model));
        lacks
    }

    fn doubts(&self, model: &Model, beside: &[&Model]) -> Vec<Lack> {
        foreseen::doubts(model, beside)
    }

    /// The setting and not what came of it: starting Docker on some machine redeploys nothing there.
    fn describe(&self, model: &Model, fingerprint: &mut Fingerprint) {
        let runtime = RUNTIMES.iter().find(|(_, it)| *it == self.wish);
        let runtime = runtime.filter(|(_, it)| *it != LocalRuntime::Auto).map(|(word, _)| word);
        fingerprint.optional("target.local.runtime", runtime);
        let host = Some(address::host(model)).filter(|host| *host != address::LOOPBACK);
        fingerprint.optional("serve.host", host);
        let devices = model.hardware.iter().flat_map(|it| &it.devices).map(ToString::to_string);
        let devices: Vec<String> = devices.collect();
        let devices = Some(devices.join(",")).filter(|devices| !devices.is_empty());
        fingerprint.optional("hardware.devices", devices);
        self.secrets.describe_key(model, fingerprint);
    }

    async fn check(&self, _: &[String]) -> Result<(), StepError> {
        self.can_serve().await
    }

    async fn survey(&self) -> Result<Vec<Check>, StepError> {
        self.offers().await
    }

    async fn read_weights(&self, reporter: &Reporter) -> Result<Option<Vec<ModelRead>>, StepError> {
        self.read_all(reporter).await.map(Some)
    }

    async fn place(&self) -> Option<String> {
        Some(self.told_place().await)
    }

    async fn look(&self) -> Result<(), StepError> {
        let state = State::load(&self.state_file())?;
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.look_at_containers().await;
        self.look_for_stopped();
        Ok(())
    }

    async fn ask(&self, models: &[String]) -> Result<(), StepError> {
        self.ask_servers(models).await
    }

    fn observe_weights(&self, pinned: &PinnedRepository, key: Option<&Key>) -> Observation {
        self.weights_receipt(pinned, key)
    }

    async fn place_weights(
        &self,
        weights: &Weights,
        known: &dyn HashCache,
        task: &Task,
    ) -> Result<Outcome, StepError> {
        self.place(weights, known, task).await
    }

    fn observe_warmup(&self, model: &str, key: Option<&Key>) -> Observation {
        self.warm_receipt(model, key)
    }

    async fn warm_up(&self, deployment: &Deployment, task: &Task) -> Result<Outcome, StepError> {
        self.warm(deployment, task).await
    }

    fn observe_deployment(&self, model: &str) -> Observation {
        self.deployment_seen(model)
    }

    fn applied_deployment(&self, model: &str) -> Option<Fingerprint> {
        self.served(model)?.applied
    }

    fn predict_deployment(&self, model: &Model) -> Facts {
        let kept = self.served(model.name.as_str()).map(|served| served.port);
        match model.serve.port.as_ref().map(|port| port.value).or(kept) {
            Some(port) => [Fact::URL.is(address::url(address::host(model), port))].into(),
            None => Facts::new(),
        }
    }

    async fn deploy(&self, deployment: &Deployment, task: &Task) -> Result<Outcome, StepError> {
        self.serve(deployment, task).await
    }

    fn observe_smoke(&self, model: &str) -> Observation {
        self.smoke_seen(model)
    }

    async fn passed_smoke(
        &self,
        model: &str,
        instance: &str,
        key: Key,
        _: Measured,
    ) -> Result<(), StepError> {
        self.change(|state| state.passes(model, instance, key)).await?;
        // What it replaced isn't needed any more.
        self.forget_own(model, self.served(model).as_ref());
        Ok(())
    }

    fn failed_deployment(&self, model: &str) -> Option<Key> {
        self.seen(|state| state.failed.get(model).copied())
    }

    fn unwanted(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<Unwanted> {
        self.served_unwanted(wanted)
    }

    async fn halt(&self, model: &str) -> Result<bool, StepError> {
        self.halt_server(model).await
    }

    async fn remove(&self, model: &str) -> Result<(), StepError> {
        if let Some(served) = self.served(model) {
            // Several may run when a start was cut short.
            for served in served.all() {
                self.stop(served).await?;
            }
        }
        let forget = |state: &mut State| {
            state.served.remove(model);
            state.failed.remove(model);
        };
        self.change(forget).await?;
        self.forget_caches(model);
        Ok(())
    }

    fn live(&self) -> Vec<Live> {
        self.all_seen()
    }

    fn log(&self, model: &str) -> Option<PathBuf> {
        let log = self.log_file(model);
        log.exists().then_some(log)
    }

    fn sweep(&self) {
        self.sweep_all();
    }

    fn takes_back(&self) -> Option<&dyn TakesBack> {
        Some(self)
    }

    fn moves(&self) -> Option<&dyn Moves> {
        Some(self)
    }
}

impl Local {
    fn log_file(&self, model: &str) -> PathBuf {
        self.places.ours.join("logs").join(format!("{model}.log"))
    }
}
