//! What only some targets can do: who wants it done asks the target whether it can.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use miette::Diagnostic;
use thiserror::Error;

use super::Deployment;
use crate::event::Reporter;
use crate::fingerprint::{Fingerprint, Key};
use crate::hub::HashCache;
use crate::lock::LockedImage;
use crate::lock::hub::Access;
use crate::lock::pylock::LockedWheel;
use crate::platform::MajorMinor;
use crate::spec::{Image, Model};
use crate::step::{Observation, Outcome, StepError, Task};
use crate::words::{bytes, count};

/// Is told for whom somebody waits.
pub type Tell<'t> = dyn Fn(&str) + 't;

/// Is given what was printed.
pub type Print<'p> = dyn Fn(&[u8]) + Sync + 'p;

/// Ends once nobody wants more.
pub type Stop<'s> = Pin<Box<dyn Future<Output = ()> + 's>>;

/// The right to change things, had by one goatbuild at a time, on whatever machine.
#[async_trait(?Send)]
pub trait Leases: Send + Sync {
    /// Takes it, waiting at most `timeout`; `waiting` is told once for whom it waits. Says whether it
    /// had to wait, in which case the world has moved.
    async fn take(
        &self,
        command: &str,
        run: Option<String>,
        timeout: Duration,
        waiting: &Tell<'_>,
    ) -> Result<(Box<dyn Lease>, bool), StepError>;

    /// Who has it, if anybody.
    async fn holder(&self) -> Result<Option<Holder>, StepError>;

    /// Takes it away from whoever has it.
    async fn free(&self, holder: &Holder) -> Result<(), StepError>;
}

/// Who has the right to change things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// No other lease's.
    pub id: String,
    /// What is done, where, and since when; for people.
    pub what: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)
    }
}

/// A lease that somebody has. A process that dies just stops having it.
#[async_trait]
pub trait Lease: Send + Sync {
    /// Gives it back; fails with [`LeaseBroken`] where it was broken before.
    async fn end(self: Box<Self>) -> Result<(), StepError>;
}

/// Something that is taken for granted of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assumption {
    /// What its row is called in the documentation.
    pub name: &'static str,
    /// What is taken for granted.
    pub taken: &'static str,
    /// Whether a model shows it that was just asked.
    pub of_model: bool,
}

/// What became of trying something out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Whether it is so; none where that was not to be seen.
    pub held: Option<bool>,
    /// What was seen.
    pub detail: String,
}

/// What is taken for granted of a target, and only trying it there can show.
#[async_trait]
pub trait Trials: Send + Sync {
    /// All of it, in the order in which it is to be tried.
    fn assumptions(&self) -> &'static [Assumption];

    /// Tries one out, with nothing that is served; what a model shows is read of this one.
    async fn try_out(
        &self,
        assumption: &Assumption,
        model: &Model,
        reporter: &Reporter,
    ) -> Result<Shown, StepError>;

    /// Removes all that trying has left there.
    async fn tidy(&self, reporter: &Reporter) -> Result<(), StepError>;
}

/// A lease was broken while whoever had it was at work.
#[derive(Debug, Error, Diagnostic)]
#[error("the lease was broken while this was at work: {now}")]
#[diagnostic(
    code(goatbuild::lease::broken),
    help(
        "nothing was changed since that was noticed. Another goatbuild may have changed the same things: `goatbuild plan` shows what stands, and `goatbuild apply` finishes what is not done"
    )
)]
pub struct LeaseBroken {
    /// Who has it now.
    pub now: String,
}

/// What a step is about to have done at its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Weights are fetched there.
    Fetch {
        /// Who may have them; none where nobody knows.
        access: Option<Access>,
    },
    /// An engine is started, and ended.
    Start,
    /// A model is served.
    Serve,
}

/// What a step needs at its target and is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What is missing.
    pub what: String,
    /// What makes it.
    pub help: String,
}

/// A locked image that a target is to build.
#[derive(Debug, Clone)]
pub struct ImageToBuild {
    /// What its file says.
    pub image: Image,
    /// What the lock says of its base.
    pub locked: Option<LockedImage>,
    /// Its Python.
    pub python: MajorMinor,
    /// Its wheels.
    pub wheels: Vec<LockedWheel>,
}

/// Images that a target builds, or takes from a registry.
#[async_trait]
pub trait Images: Send + Sync {
    /// What people should know of an image that is built there.
    fn note(&self) -> &'static str;

    /// How long a function builds one that is billed, at most.
    fn time_to_build(&self) -> Duration {
        Duration::ZERO
    }

    /// Describes an image that is built there.
    fn describe(&self, image: &ImageToBuild) -> Fingerprint;

    /// Adds where an image of goatbuild's comes from, and what takes it from there.
    fn describe_pushed(&self, image: &str, fingerprint: &mut Fingerprint);

    /// What is known of an image that is built there.
    fn observe(&self, key: Option<&Key>) -> Observation;

    /// Builds an image; `image-id` among its facts identifies it.
    async fn build(&self, image: &ImageToBuild, task: &Task) -> Result<Outcome, StepError>;
}

/// Programs that people can read, and run themselves.
pub trait Programs: Send + Sync {
    /// The programs of a model as they would be run, with their paths among them. `image` is built
    /// by them, where it isn't one that the target has.
    fn render(
        &self,
        deployment: &Deployment,
        image: Option<&ImageToBuild>,
    ) -> Vec<(PathBuf, String)>;

    /// What to tell people to do with a model's programs below a directory.
    fn advice(&self, model: &Model, directory: &Path) -> String;
}

/// What a model has in volumes, and what others of its project have.
#[derive(Debug, Default)]
pub struct Belongings {
    /// Its repositories.
    pub repositories: BTreeSet<String>,
    /// Those of the others.
    pub others: BTreeSet<String>,
    /// The keys of its compile caches, beside those that say so themselves.
    pub caches: BTreeSet<Key>,
    /// Those that others want; none when that isn't known.
    pub others_caches: Option<BTreeSet<Key>>,
}

/// What was removed, and what was not, for people.
#[derive(Debug, Default)]
pub struct Discarded {
    /// What is gone.
    pub gone: Vec<String>,
    /// What is kept, each with its reason.
    pub kept: Vec<String>,
}

/// Volumes in which models of a project share room with those of others.
#[async_trait]
pub trait Volumes: Send + Sync {
    /// What a model has there that is deployed.
    fn belongings(&self, model: &str) -> Belongings;

    /// Removes what only this model has there.
    async fn discard(&self, model: &str, belongings: &Belongings) -> Result<Discarded, StepError>;
}

/// Logs that are kept at the target.
#[async_trait(?Send)]
pub trait Logs: Send + Sync {
    /// Whether it is certain that a model has none there.
    fn has_none(&self, model: &str) -> bool;

    /// Prints the last lines that a model's servers printed, or as many as the target shows by
    /// itself; with `follow` what comes, until `stop`.
    async fn print(
        &self,
        model: &str,
        lines: Option<usize>,
        follow: bool,
        print: &Print<'_>,
        stop: Stop<'_>,
    ) -> Result<(), StepError>;
}

/// How a volume gets to where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By another name: whoever has it mounted has it still.
    Renamed,
    /// To another file system, or beside what another environment goes on using.
    Copied,
}

/// A volume that is not yet where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The directory's name.
    pub name: String,
    /// Where it is.
    pub from: PathBuf,
    /// Where it belongs.
    pub to: PathBuf,
    /// What it takes on disk.
    pub bytes: u64,
    /// How it gets there.
    pub way: Way,
}

impl Move {
    /// Which volumes move, from where to where below `root` and how, for people; no line for none.
    pub fn told(moves: &[Self], root: &Path) -> Vec<String> {
        let mut lines = Vec::new();
        for (way, how) in [(Way::Renamed, "renamed"), (Way::Copied, "copied")] {
            let moves: Vec<&Self> = moves.iter().filter(|it| it.way == way).collect();
            let Some(first) = moves.first() else { continue };
            let [from, to] = [&first.from, &first.to].map(|path| path.parent().unwrap_or(path));
            let from = from.strip_prefix(root).unwrap_or(from).display();
            let size = bytes(moves.iter().map(|it| it.bytes).sum());
            let (volumes, to) = (count(moves.len(), "volume"), to.display());
            lines.push(format!("{volumes}, {size}, from {from} to {to}: {how}"));
        }
        lines
    }
}

/// Volumes that are not yet where this version has them.
#[async_trait]
pub trait Moves: Send + Sync {
    /// What is going to be moved.
    fn planned(&self) -> Vec<Move>;

    /// What is in the place of others, and so stays.
    fn left_over(&self) -> Vec<PathBuf>;

    /// Moves the volumes to where they belong. The caller holds the locks and has looked.
    ///
    /// `known` goes on knowing which files of weights were verified.
    async fn carry_out(
        &self,
        known: &dyn HashCache,
        reporter: &Reporter,
    ) -> Result<Vec<Move>, StepError>;

    /// Removes what was copied, once no server has it any more. What can't be removed is for `gc`.
    fn remove_originals(&self);
}
