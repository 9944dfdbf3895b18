//! The targets: where models are served.
//!
//! Adding one is one file or folder and one line in [`built_in`].

mod billing;
mod capabilities;
mod deployment;
mod factors;
mod live;
pub mod local;
pub mod modal;
mod opening;
mod registry;
mod rollout;
mod second_start;

use std::time::Duration;

use async_trait::async_trait;

use crate::event::Reporter;
use crate::fingerprint::{Fingerprint, Key};
use crate::hub::{HashCache, ModelRead};
use crate::openai::Credentials;
use crate::plan::{AlwaysOn, PlannedModel, Unwanted, UsdPerHour};
use crate::runtime::Check;
use crate::spec::{Header, Model, ModelSource, Rollout, Takes};
use crate::step::{Facts, Observation, Outcome, StepError, Task};

pub use billing::*;
pub use capabilities::*;
pub use deployment::*;
pub use live::*;
pub use opening::{Imported, Opening, Opens};
pub use registry::{Openers, Targets, built_in};
pub use rollout::*;
pub use second_start::{WAY_OUT, saved_nothing, still_written};

impl std::fmt::Debug for dyn Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A place where models are served.
///
/// `look` is called before observations; they answer from what it saw.
#[async_trait]
pub trait Target: Send + Sync {
    /// Its name in specs.
    fn name(&self) -> &'static str;

    /// Whether it is this machine.
    fn is_here(&self) -> bool {
        false
    }

    /// The headers that requests to a model have to have.
    fn headers(&self, model: &Model) -> Vec<Header> {
        let _ = model;
        Vec::new()
    }

    /// The headers that requests to what is deployed now have to have.
    fn headers_of_deployed(&self, model: &Model) -> Vec<Header> {
        self.headers(model)
    }

    /// The values of these headers for requests that goatbuild makes itself.
    async fn credentials(
        &self,
        model: &Model,
        headers: Vec<Header>,
    ) -> Result<Credentials, StepError> {
        Ok(Credentials::of_environment(model.name.as_str(), headers)?)
    }

    /// How it will serve a model, as far as that is known before it does.
    fn plan_model(&self, model: &Model) -> PlannedModel;

    /// The most that a replica is billed by the hour, as far as that has a limit; none where that isn't known.
    fn most_per_hour(&self, model: &Model) -> Option<UsdPerHour> {
        self.plan_model(model).usd_per_hour
    }

    /// What is billed besides that has no limit, for people.
    fn without_limit(&self) -> Option<&'static str> {
        None
    }

    /// What a function without accelerators costs that prepares something there; none where nothing is
    /// billed.
    fn price_of_errand(&self) -> Option<UsdPerHour> {
        None
    }

    /// How long such a function fetches so many bytes of weights, at most; none are given where nobody
    /// knows how many.
    fn time_to_fetch(&self, bytes: Option<u64>) -> Duration {
        let _ = bytes;
        Duration::ZERO
    }

    /// What is needed there to have this done for a model and is not there, as far as the last look tells.
    fn lacks(&self, deed: Deed, model: &Model, takes: Takes) -> Vec<Lack> {
        let _ = (deed, model, takes);
        Vec::new()
    }

    /// What people should know before a model is served there `beside` others, and keeps nobody from it.
    fn doubts(&self, model: &Model, beside: &[&Model]) -> Vec<Lack> {
        let _ = (model, beside);
        Vec::new()
    }

    /// The replicas that stay up of what is deployed of a model, though nobody asks anything.
    fn always_on(&self, model: &str) -> Option<AlwaysOn> {
        let _ = model;
        None
    }

    /// Adds to what a deployment is all that the target itself decides of it.
    fn describe(&self, model: &Model, fingerprint: &mut Fingerprint) {
        let _ = (model, fingerprint);
    }

    /// Whether this machine can apply these models there; fails before anything is locked.
    async fn check(&self, models: &[String]) -> Result<(), StepError>;

    /// What it offers here, thing by thing, for people.
    async fn survey(&self) -> Result<Vec<Check>, StepError>;

    /// Reads every byte of the weights that it has on this machine, and takes away what is damaged: the caller
    /// has all of it to itself. None where they are elsewhere, and nobody reads them.
    async fn read_weights(&self, _: &Reporter) -> Result<Option<Vec<ModelRead>>, StepError> {
        Ok(None)
    }

    /// Where exactly models are going to be served, when there is something to say about it.
    async fn place(&self) -> Option<String>;

    /// Looks at everything of this project that is there.
    async fn look(&self) -> Result<(), StepError>;

    /// Asks the servers of these models, or of all of them, whether they answer, where that wakes nothing and
    /// costs nothing; observations know of it from then on.
    async fn ask(&self, models: &[String]) -> Result<(), StepError> {
        let _ = models;
        Ok(())
    }

    /// Whether the weights of this key are all there.
    fn observe_weights(&self, pinned: &PinnedRepository, key: Option<&Key>) -> Observation;

    /// Fails when it can't have weights that come from there, before any are looked at.
    fn check_weights(&self, source: &ModelSource) -> Result<(), StepError> {
        let _ = source;
        Ok(())
    }

    /// Puts the weights there. `known` remembers which files were verified.
    async fn place_weights(
        &self,
        weights: &Weights,
        known: &dyn HashCache,
        task: &Task,
    ) -> Result<Outcome, StepError>;

    /// Whether the caches of this key are warm.
    fn observe_warmup(&self, model: &str, key: Option<&Key>) -> Observation;

    /// Starts the engine twice in a cache directory of its own, and writes the receipt.
    async fn warm_up(&self, deployment: &Deployment, task: &Task) -> Result<Outcome, StepError>;

    /// What serves this model now.
    fn observe_deployment(&self, model: &str) -> Observation;

    /// What the deployment that serves this model says its key is made of.
    fn applied_deployment(&self, model: &str) -> Option<Fingerprint> {
        let _ = model;
        None
    }

    /// The facts of a deployment that are known before it is made.
    fn predict_deployment(&self, model: &Model) -> Facts;

    /// Serves the model, replacing what served it before.
    async fn deploy(&self, deployment: &Deployment, task: &Task) -> Result<Outcome, StepError>;

    /// Whether the instance that stands passed its smoke test of this key.
    fn observe_smoke(&self, model: &str) -> Observation;

    /// Keeps at the target that the instance passed, and how quickly it answered.
    async fn passed_smoke(
        &self,
        model: &str,
        instance: &str,
        key: Key,
        measured: Measured,
    ) -> Result<(), StepError>;

    /// The key of the last deployment of this model that failed its smoke test, as long as neither it
    /// nor another one has passed since.
    fn failed_deployment(&self, model: &str) -> Option<Key> {
        let _ = model;
        None
    }

    /// Deployments of this project that none of `wanted` is the model of.
    fn unwanted(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<Unwanted>;

    /// Stops and forgets the deployment of a model; does nothing when there is none.
    async fn remove(&self, model: &str) -> Result<(), StepError>;

    /// Stops the deployment of a model as the end of this machine would, and forgets nothing: the next apply
    /// starts it again. Says whether anything ran; what is elsewhere is not stopped.
    async fn halt(&self, model: &str) -> Result<bool, StepError> {
        let _ = model;
        Ok(false)
    }

    /// How the deployments are right now.
    fn live(&self) -> Vec<Live>;

    /// Where the server of a model writes its log on this machine.
    fn log(&self, model: &str) -> Option<std::path::PathBuf>;

    /// What people should know of how it is going to serve a model, and to come there.
    fn note(&self, model: &Model, rollout: Rollout) -> Option<&'static str> {
        let _ = (model, rollout);
        None
    }

    /// Why nobody could look there, if so.
    fn unseen(&self) -> Option<String> {
        None
    }

    /// Whether a model of this project was deployed there.
    fn has(&self, model: &str) -> bool {
        self.live().iter().any(|live| live.model == model)
    }

    /// Whether a model, whatever specs say, has something there.
    fn knows(&self, model: &str) -> bool {
        self.has(model)
    }

    /// Removes what commands that were killed left half-made. The caller holds the locks.
    fn sweep(&self) {}

    /// The right to change things there, where machines share it.
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }

    /// What was spent there.
    fn bills(&self) -> Option<&dyn Bills> {
        None
    }

    /// What it says that it bills.
    fn price_list(&self) -> Option<&dyn PriceLists> {
        None
    }

    /// Versions to go back to.
    fn versions(&self) -> Option<&dyn Versions> {
        None
    }

    /// Deployments that don't stand where they fail their smoke test.
    fn takes_back(&self) -> Option<&dyn TakesBack> {
        None
    }

    /// New deployments that take over little by little.
    fn rolling(&self) -> Option<&dyn Rolling> {
        None
    }

    /// Starts that failed.
    fn starts(&self) -> Option<&dyn Starts> {
        None
    }

    /// Deployments beside what stands.
    fn candidates(&self) -> Option<&dyn Candidates> {
        None
    }

    /// Images that it builds, or takes from a registry.
    fn images(&self) -> Option<&dyn Images> {
        None
    }

    /// Programs to read.
    fn programs(&self) -> Option<&dyn Programs> {
        None
    }

    /// Volumes that models have to be removed from.
    fn volumes(&self) -> Option<&dyn Volumes> {
        None
    }

    /// Logs that it keeps itself.
    fn logs(&self) -> Option<&dyn Logs> {
        None
    }

    /// What is taken for granted of it, and only trying it there can show.
    fn trials(&self) -> Option<&dyn Trials> {
        None
    }

    /// Volumes of earlier versions that are to be moved.
    fn moves(&self) -> Option<&dyn Moves> {
        None
    }
}
