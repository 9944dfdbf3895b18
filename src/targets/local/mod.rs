//! The local target: models served on this machine, by Docker or Podman where one is, and otherwise
//! without root and without a daemon.

mod answers;
mod caches;
mod compiled;
mod environments;
mod error;
mod foreseen;
mod log;
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
mod tree;
mod trial;
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
use crate::container::{Condition, Container, probe};
use crate::durable::TEMPORARY;
use crate::event::Reporter;
use crate::fingerprint::{Change, Fingerprint, Key};
use crate::hub::HashCache;
use crate::leftovers::{Age, sweep};
use crate::oci::Layout;
use crate::plan::{PlannedModel, Unwanted};
use crate::runtime::{self, Check};
use crate::spec::{Model, Takes, Volume};
use crate::step::{Fact, Facts, Observation, Outcome, StepError, StepId, Task};

use answers::Answer;
pub use environments::{
    deployed, environments, environments_of, old_volumes_of, state_of, volumes_of,
};
pub use error::LocalError;
use log::{end_of, length};
use runner::{Chosen, Runner};
use secrets::Secrets;
use server::{Life, Running};
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

/// A volume, as the target needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What the project's file calls it.
    pub called: String,
    /// The directory's name among the environment's volumes.
    pub name: String,
    /// The absolute path inside the image.
    pub path: String,
}

impl Mount {
    /// A volume of a project's file, by its name there.
    pub fn of(called: &str, Volume { name, mount }: &Volume) -> Self {
        Self { called: called.to_owned(), name: name.clone(), path: mount.clone() }
    }
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
    /// The target of one project and environment.
    fn new(
        project: String,
        wish: LocalRuntime,
        places: Places,
        model_cache: Mount,
        caches: Vec<Mount>,
        others: Vec<Mount>,
        secrets: Secrets,
    ) -> Self {
        Self {
            project,
            wish,
            places,
            model_cache,
            caches,
            others,
            secrets,
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

    /// Keeps how a container is.
    fn saw(&self, container: &Container, condition: Condition) {
        let mut conditions = self.conditions.write().unwrap_or_else(PoisonError::into_inner);
        conditions.insert(container.id.clone(), condition);
    }

    fn condition_of(&self, container: &str) -> Option<Condition> {
        let conditions = self.conditions.read().unwrap_or_else(PoisonError::into_inner);
        conditions.get(container).cloned()
    }

    /// How a container was when it was looked at.
    fn seen_of(&self, container: &str) -> Life {
        match self.condition_of(container) {
            Some(Condition::Runs) => Life::Runs,
            Some(Condition::Altered(how) | Condition::Ended(how)) => Life::Ended(how),
            Some(Condition::Gone) => Life::Ended("removed".to_owned()),
            None => Life::Ended("not looked at".to_owned()),
        }
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

    fn plan_model(&self, model: &Model) -> PlannedModel {
        let hardware = model.hardware.as_ref();
        let port = model.serve.port.as_ref().map(|port| port.value);
        PlannedModel {
            model: model.name.to_string(),
            target: self.name().to_owned(),
            app: None,
            url: self.predict_deployment(model.name.as_str(), port).remove("url"),
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
    fn describe(&self, _: &Model, fingerprint: &mut Fingerprint) {
        let runtime = RUNTIMES.iter().find(|(_, it)| *it == self.wish);
        let runtime = runtime.filter(|(_, it)| *it != LocalRuntime::Auto).map(|(word, _)| word);
        fingerprint.optional("target.local.runtime", runtime);
    }

    async fn check(&self, _: &[String]) -> Result<(), StepError> {
        match self.chosen().await?.runner {
            Runner::Engine(_) => return Ok(()),
            Runner::Embedded => {}
        }
        let report = self.try_embedded()?;
        match report.checks.into_iter().find(Check::is_wrong) {
            None => Ok(()),
            Some(check) => Err(LocalError::Runtime {
                reason: format!("{}: {}", check.name, check.detail),
                help: check.help.unwrap_or_else(|| "`goatbuild check` tells more".to_owned()),
            }
            .into()),
        }
    }

    async fn survey(&self) -> Result<Vec<Check>, StepError> {
        let chosen = match self.chosen().await {
            Ok(chosen) => chosen,
            Err(error) => {
                let help = error.help().map(|help| help.to_string());
                let detail = error.to_string();
                return Ok(vec![Check { name: "local runtime", ok: Some(false), detail, help }]);
            }
        };
        let detail = chosen.at_length();
        let mut checks = vec![Check { name: "local runtime", ok: Some(true), detail, help: None }];
        if chosen.runner == Runner::Embedded {
            checks.extend(self.try_embedded()?.checks);
        }
        Ok(checks)
    }

    async fn place(&self) -> Option<String> {
        Some(match self.chosen().await {
            Ok(chosen) => format!("served here by {chosen}"),
            Err(error) => error.to_string(),
        })
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
        let Some(served) = self.served(model) else { return Observation::Absent };
        let kind = served.instance.as_ref().map_or("process", Running::kind);
        match (served.healthy, self.life(&served)) {
            (true, Life::Runs) => match self.mount_changes(&served) {
                changes if changes.is_empty() => {
                    Observation::Present { key: served.key, facts: served.facts }
                }
                changes => Observation::Drifted { changes },
            },
            (true, Life::Hangs(how)) => drift(kind, "running", how),
            (true, Life::Ended(how)) => drift(kind, "running", &how),
            (false, Life::Runs) if served.left_of_start().is_some() => {
                drift("start", "finished", "going on")
            }
            (false, _) => drift("start", "finished", "not finished"),
        }
    }

    fn applied_deployment(&self, model: &str) -> Option<Fingerprint> {
        self.served(model)?.applied
    }

    fn predict_deployment(&self, model: &str, port: Option<u16>) -> Facts {
        let kept = self.served(model).map(|served| served.port);
        match port.or(kept) {
            Some(port) => [Fact::URL.is(serve::url(port))].into(),
            None => Facts::new(),
        }
    }

    async fn deploy(&self, deployment: &Deployment, task: &Task) -> Result<Outcome, StepError> {
        self.serve(deployment, task).await
    }

    fn observe_smoke(&self, model: &str) -> Observation {
        let Some(served) = self.served(model) else { return Observation::Absent };
        let instance = Fact::INSTANCE.text_of(&served.facts);
        if served.failed {
            return drift("smoke test", "passed", "failed");
        }
        match (served.smoke, served.tested) {
            (None, _) => Observation::Absent,
            (Some(_), Some(tested)) if tested != instance => drift("instance", &tested, instance),
            (Some(key), _) => {
                let facts = [Fact::INSTANCE.is(instance)].into();
                Observation::Present { key, facts }
            }
        }
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
        self.seen(|state| {
            let gone = state.served.iter().filter(|(model, _)| !wanted(model));
            gone.map(|(model, served)| Unwanted {
                id: StepId::deploy(model),
                model: model.clone(),
                detail: format!(
                    "{} on this machine, costs nothing per hour",
                    serve::url(served.port)
                ),
                absent: false,
            })
            .collect()
        })
    }

    async fn remove(&self, model: &str) -> Result<(), StepError> {
        if let Some(served) = self.served(model) {
            // Both may run when a start was cut short.
            for served in [Some(&served), served.previous.as_deref()].into_iter().flatten() {
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
        let describe = |(model, served): (&String, &Served)| {
            let life = self.life(served);
            Live {
                model: model.clone(),
                key: Some(served.key),
                state: match (&life, served.healthy, self.answer_of(served)) {
                    (Life::Runs, true, Some(Answer::Status(status))) if status >= 300 => "busy",
                    (Life::Runs, true, _) => "running",
                    (Life::Runs, false, _) => "starting",
                    (Life::Hangs(_), _, Some(Answer::Nothing)) => "silent",
                    (Life::Hangs(_) | Life::Ended(_), ..) => "stopped",
                },
                url: serve::url(served.port),
                pid: match (&served.instance, &life) {
                    (Some(Running::Embedded(_)), Life::Ended(_)) => None,
                    (Some(Running::Embedded(process)), _) => Some(process.pid),
                    _ => None,
                },
                since: served.since.clone(),
                version: None,
                replicas: None,
                auth: None,
                measured: None,
                told: None,
                detail: match (&served.instance, life) {
                    (Some(instance), Life::Runs) => {
                        let mut words = instance.describe();
                        if let Some(Answer::Status(status)) = self.answer_of(served)
                            && status >= 300
                        {
                            words = format!("{words} answers {status} to GET {}", served.health);
                        }
                        self.described_with_changes(served, words)
                    }
                    (Some(instance), Life::Hangs(how)) => {
                        format!("{}: {how}; `goatbuild apply` starts it anew", instance.describe())
                    }
                    (Some(Running::Container(_)), Life::Ended(how)) => {
                        format!("{how}; `goatbuild apply` starts it again")
                    }
                    _ => "`goatbuild apply` starts it again".to_owned(),
                },
            }
        };
        self.seen(|state| state.served.iter().map(describe).collect())
    }

    fn log(&self, model: &str) -> Option<PathBuf> {
        let log = self.log_file(model);
        log.exists().then_some(log)
    }

    fn sweep(&self) {
        // The embedded runtime is tried out there by whoever plans.
        sweep(&self.places.ours, ".tmp", Age::Old);
        sweep(&self.places.ours, TEMPORARY, Age::Any);
        let roots = self.places.state.join("roots");
        // Other projects unpack there too; who does, holds the lock.
        if let Ok(_unpacking) = place::unpacking(&roots, false, &Reporter::silent()) {
            sweep(&roots, ".unpacking-", Age::Any);
        }
        self.sweep_moves();
        let both = [self.volumes(), self.old_volumes()].map(std::fs::read_dir);
        for volume in both.into_iter().flatten().flatten().flatten() {
            let volume = volume.path();
            sweep(&volume.join(".goatbuild"), TEMPORARY, Age::Any);
            for model in std::fs::read_dir(volume.join("hub")).into_iter().flatten().flatten() {
                sweep(&model.path().join("blobs"), ".incoming-", Age::Any);
                sweep(&model.path().join("refs"), TEMPORARY, Age::Any);
            }
        }
    }

    fn takes_back(&self) -> Option<&dyn TakesBack> {
        Some(self)
    }

    fn moves(&self) -> Option<&dyn Moves> {
        Some(self)
    }
}

impl Local {
    /// Tries out the embedded runtime.
    fn try_embedded(&self) -> Result<runtime::Report, StepError> {
        let scratch = &self.places.ours;
        std::fs::create_dir_all(scratch)
            .map_err(|source| LocalError::File { path: scratch.clone(), source })?;
        Ok(runtime::check(scratch, &self.places.supervisor))
    }

    fn log_file(&self, model: &str) -> PathBuf {
        self.places.ours.join("logs").join(format!("{model}.log"))
    }
}
