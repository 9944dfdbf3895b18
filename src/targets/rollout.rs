//! How deployments take the place of others, are tried out before, and are taken back.

use async_trait::async_trait;

use super::Deployment;
use crate::event::Reporter;
use crate::fingerprint::Key;
use crate::spec::{Auth, Model};
use crate::step::{Facts, StepError, Task};

/// The version that a model is to go back to.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// The target's number of it.
    pub version: u32,
    /// The deployment's key.
    pub key: Key,
    /// Whether the target itself goes back to it.
    pub allowed: bool,
    /// What stands now; none where nothing does.
    pub stands: Option<Stands>,
    /// For people: when it was deployed, and by whom.
    pub detail: String,
}

impl Earlier {
    /// Whether it stands already.
    pub fn is_there(&self) -> bool {
        self.stands.as_ref().is_some_and(|stands| stands.version == self.version)
    }
}

/// The version that stands.
#[derive(Debug, Clone)]
pub struct Stands {
    /// The target's number of it.
    pub version: u32,
    /// What it is marked with.
    pub tag: String,
}

/// Versions of what was deployed, to go back to.
#[async_trait]
pub trait Versions: Send + Sync {
    /// The version to go back to: the one with this number, or the one before what stands.
    fn earlier(&self, model: &str, wanted: Option<u32>) -> Result<Earlier, StepError>;

    /// Who may ask that version, and who may ask it as its spec is, where the two differ and what was
    /// deployed is kept.
    async fn other_auth(
        &self,
        model: &Model,
        earlier: &Earlier,
        reporter: &Reporter,
    ) -> Result<Option<(Auth, Auth)>, StepError>;

    /// Goes back to an earlier version, and holds that; gives the number that it has now.
    async fn roll_back(
        &self,
        model: &str,
        earlier: &Earlier,
        smoke: &SmokeKey<'_>,
        reporter: &Reporter,
    ) -> Result<u32, StepError>;

    /// Ends a hold; says what it was.
    async fn release(&self, model: &str) -> Result<Option<String>, StepError>;
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

/// Deployments that don't stand where they fail their smoke test.
#[async_trait]
pub trait TakesBack: Send + Sync {
    /// Takes an instance back that failed its smoke test, where there is something to go back to.
    async fn take_back(
        &self,
        model: &str,
        instance: &str,
        smoke: &SmokeKey<'_>,
        reporter: &Reporter,
    ) -> Result<TakenBack, StepError>;
}

/// New deployments that take over little by little: for a while, what they replace goes on answering.
#[async_trait]
pub trait Rolling: Send + Sync {
    /// The name that this instance alone answers to; none where it was deployed without one.
    fn mark(&self, model: &str, instance: &str) -> Option<String>;

    /// How many replicas are up that were asked for before this instance was deployed.
    async fn older(
        &self,
        model: &str,
        instance: &str,
        reporter: &Reporter,
    ) -> Result<u32, StepError>;

    /// Keeps at the target that it was left open whether the instance passes its smoke test.
    async fn leave_open(&self, model: &str, instance: &str, key: Key) -> Result<(), StepError>;

    /// The key of the smoke test of what stands, where it was left open whether that passes.
    fn left_open(&self, model: &str) -> Option<Key>;
}

/// A deployment that is being tried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// What stands.
    Standing,
    /// What is to take its place.
    Candidate,
}

/// A start that came to nothing.
#[derive(Debug, Clone)]
pub struct FailedStart {
    /// The target's name of the replica.
    pub replica: String,
    /// How it ended.
    pub how: String,
}

/// Starts that fail, told without asking a replica anything.
#[async_trait]
pub trait Starts: Send + Sync {
    /// Those of a model that failed since then, in seconds since 1970, the oldest first.
    async fn failed(
        &self,
        model: &str,
        tried: Tried,
        since: f64,
    ) -> Result<Vec<FailedStart>, StepError>;

    /// What such a replica said last.
    async fn last_words(
        &self,
        model: &str,
        tried: Tried,
        failed: &FailedStart,
    ) -> Result<Vec<String>, StepError>;
}

/// Deployments that are tried out beside what stands.
#[async_trait]
pub trait Candidates: Send + Sync {
    /// Serves the model beside what stands; gives the facts of that, or nothing where what stands is
    /// the same already.
    async fn deploy(
        &self,
        deployment: &Deployment,
        task: &Task,
    ) -> Result<Option<Facts>, StepError>;

    /// Stops what was tried out. With `failed`, it was found at fault: its last words go into the
    /// log, and its key is kept.
    async fn end(
        &self,
        model: &str,
        failed: Option<Key>,
        reporter: &Reporter,
    ) -> Result<(), StepError>;

    /// What an apply that was cut short left of a model's candidate, by its name there.
    fn left(&self, model: &str) -> Option<String>;
}
