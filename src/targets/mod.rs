//! The targets: where models are served.
//!
//! Adding one is one file or folder and one line in [`built_in`].

mod capabilities;
mod factors;
pub mod local;
pub mod modal;
mod opening;
mod registry;
mod second_start;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::engine::PinnedFile;
use crate::fetch::Fetcher;
use crate::fingerprint::{Fingerprint, Key};
use crate::hub::{HashCache, Hub, Manifest, RemoteFile};
use crate::lock::hub::Access;
use crate::plan::{AlwaysOn, PlannedModel, Unwanted, UsdPerHour};
use crate::runtime::Check;
use crate::spec::{Api, Auth, Header, Model, ModelSource, Rollout, Takes};
use crate::step::{Fact, Facts, Observation, Outcome, StepError, Task};

pub use capabilities::*;
pub use opening::{Imported, Opening, Opens};
pub use registry::{Openers, Targets, built_in};
pub use second_start::{WAY_OUT, saved_nothing, still_written};

/// Gives the program and its arguments for what names the model, for an address, for a port, and for a
/// deployment's mark.
pub type CommandLine = dyn Fn(&str, &str, u16, Option<&str>) -> Vec<String> + Send + Sync;

/// What is to be served, whatever the target is.
#[derive(Clone)]
pub struct Deployment {
    /// The model.
    pub model: String,
    /// What its spec says.
    pub spec: Arc<Model>,
    /// What it is asked for.
    pub api: Api,
    /// The digest of the image's manifest, or the target's id of the image.
    pub image: String,
    /// The image's name in the project.
    pub image_name: String,
    /// Its reference by digest, where the target takes it from a registry.
    pub image_from: Option<String>,
    /// Whether the model asks for a graphics processor.
    pub gpu: bool,
    /// The weights.
    pub weights: PinnedRepository,
    /// What requests call the model.
    pub served_name: String,
    /// The name that no other deployment answers to; none where there is no telling by a name.
    pub mark: Option<String>,
    /// The program and its arguments; the port is filled in by `command`.
    pub command: Arc<CommandLine>,
    /// Environment variables over the image's.
    pub environment: BTreeMap<String, String>,
    /// The port, when the spec names one.
    pub port: Option<u16>,
    /// The path that answers 200 once it is up.
    pub health: String,
    /// How long a start may take.
    pub startup_timeout: Duration,
    /// The warm-up whose caches it starts from; none where nothing is warmed.
    pub warm_cache: Option<Key>,
    /// The name of the files there that tell what went into the cache's key.
    pub cache_factors: Option<&'static str>,
    /// The names in its compile cache that are written when it compiles a graph alone.
    pub graphs: &'static [&'static str],
}

impl std::fmt::Debug for dyn Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Weights as a model cache knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedRepository {
    /// `organisation/name`.
    pub repository: String,
    /// 40 lower-case hexadecimal digits.
    pub commit: String,
}

impl PinnedRepository {
    /// The facts of the step that puts it there, known before it does.
    pub fn facts(&self) -> Facts {
        [Fact::REPOSITORY.is(&self.repository), Fact::COMMIT.is(&self.commit)].into()
    }
}

/// Weights that a target is to hold.
#[derive(Debug, Clone)]
pub struct Weights {
    /// What they are.
    pub pinned: PinnedRepository,
    /// Where they come from.
    pub origin: WeightsOrigin,
}

/// Where weights come from.
#[derive(Debug, Clone)]
pub enum WeightsOrigin {
    /// A directory on this machine.
    Directory {
        /// Its files.
        manifest: Manifest,
        /// Where it is.
        from: std::path::PathBuf,
    },
    /// A hub.
    Hub {
        /// Which one, and how to ask it.
        hub: Hub,
        /// The branches and tags that stand for the commit.
        branches: Vec<String>,
        /// Who may fetch it; none where nobody knows.
        access: Option<Access>,
        /// The files that are wanted.
        files: Vec<RemoteFile>,
    },
    /// An address of its own.
    File {
        /// What it is.
        pinned: PinnedFile,
        /// What its bytes are.
        file: RemoteFile,
        /// Where this machine takes files like it from, if not from where they are published.
        mirror: Option<String>,
        /// How this machine asks.
        fetcher: Fetcher,
    },
}

/// How quickly a deployment answered when it was tried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Until the first answer: a cold start, unless a replica was up.
    pub first_answer: Duration,
    /// Until the first piece of a streamed answer.
    pub first_token: Duration,
}

/// What became of a deployment that failed its smoke test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenBack {
    /// It stands as it was.
    Left,
    /// An earlier version that had passed stands again.
    WentBack {
        /// Its number, as it was deployed first.
        version: u32,
        /// The number that it stands under now.
        stands: u32,
    },
    /// What it replaced was started again, where there are no versions.
    Restored {
        /// What came of that, in brackets, behind what went wrong.
        outcome: &'static str,
    },
    /// It was stopped: no earlier version had passed.
    Stopped,
}

/// Gives the key of the smoke test of a deployment with these facts.
pub type SmokeKey<'a> = dyn Fn(&Facts) -> Key + Send + Sync + 'a;

/// How a deployment is right now, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The model.
    pub model: String,
    /// The key it is marked with.
    pub key: Option<Key>,
    /// `running`, `busy`, `silent`, `stopped` or `starting`; `left`, where nothing but a candidate is up.
    pub state: &'static str,
    /// Where it answers; empty where nobody is led there.
    pub url: String,
    /// Its process on this machine, where it is one.
    pub pid: Option<i32>,
    /// Since when, RFC 3339.
    pub since: String,
    /// The version that stands, where the target counts them.
    pub version: Option<LiveVersion>,
    /// How many replicas are up, where the target counts them.
    pub replicas: Option<u32>,
    /// Who may ask it, where the target knows that.
    pub auth: Option<Auth>,
    /// How quickly it answered in its smoke test, where the target keeps that.
    pub measured: Option<Measured>,
    /// What its replicas told of themselves, where the target knows that.
    pub told: Option<Replicas>,
    /// Anything else worth a line: process, memory, ….
    pub detail: String,
}

/// What the replicas of a deployment told of themselves since it was deployed, or in the last day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replicas {
    /// How many of their starts failed.
    pub failed_starts: usize,
    /// How many engines ended after they had started.
    pub ended: usize,
    /// When the first of those was: RFC 3339.
    pub since: Option<String>,
    /// How the last of those was.
    pub last: Option<String>,
    /// What they ran on, each with what was wrong with that.
    pub devices: Vec<String>,
}

impl Replicas {
    /// How often engines ended, if they did.
    pub fn ends(&self) -> Option<String> {
        let (since, last) = (self.since.as_ref()?, self.last.as_ref()?);
        let count = |count: usize, one: &str, many: &str| {
            (count > 0).then(|| format!("{count} {}", if count == 1 { one } else { many }))
        };
        let starts = count(self.failed_starts, "failed start", "failed starts");
        let later = count(self.ended, "engine that ended later", "engines that ended later");
        let counted: Vec<String> = starts.into_iter().chain(later).collect();
        Some(format!("{} since {since}, last: {last}", counted.join(" and ")))
    }
}

/// The version of a deployment that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveVersion {
    /// The target's number of it.
    pub number: u32,
    /// What it is marked with: its key, if goatbuild deployed it.
    pub tag: String,
    /// Who deployed it.
    pub by: String,
    /// When: RFC 3339.
    pub at: String,
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
    fn predict_deployment(&self, model: &str, port: Option<u16>) -> Facts;

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
