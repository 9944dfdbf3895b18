//! What a step is: the contract between the parts that do work and the core that plans it.

mod fact;
mod head;

use std::collections::BTreeMap;

use async_trait::async_trait;
use miette::Diagnostic;
use thiserror::Error;

use crate::digest::{Digest, NotADigest};
use crate::event::Reporter;
use crate::fingerprint::{Change, Fingerprint, Key};

pub use crate::step_id::{Removal, StepId, StepKind, Subject};
pub use fact::Fact;
pub use head::{At, Class, EngineUse, Head, Resource};

/// What identifies the thing that was made: digests, a URL, an instance. May be hashed.
pub type Facts = BTreeMap<String, String>;

/// What is worth knowing about how it was made: times, sizes, versions. Never hashed.
pub type Evidence = BTreeMap<String, String>;

/// Both halves of what a step that ran has to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was made.
    pub facts: Facts,
    /// How it was made.
    pub evidence: Evidence,
}

/// What one step takes from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// These facts enter the key.
    Consumes(&'static [Fact]),
    /// Only the order matters.
    Order,
    /// Only the order matters, and the input must hold for the instance that stands now.
    Gate,
}

/// One input of a step.
#[derive(Debug, Clone)]
pub struct Input {
    /// The step that makes it.
    pub step: StepId,
    /// What is taken from it.
    pub edge: Edge,
    /// Whether running needs what the input stored in the cache, not only its facts.
    pub blobs: bool,
}

impl Input {
    /// An input whose facts, and only these, enter the key.
    pub fn facts(step: StepId, facts: &'static [Fact]) -> Self {
        Self { step, edge: Edge::Consumes(facts), blobs: false }
    }

    /// Like [`Input::facts`], and the files behind those facts are needed to run.
    pub fn blobs(step: StepId, facts: &'static [Fact]) -> Self {
        Self { step, edge: Edge::Consumes(facts), blobs: true }
    }
}

/// The facts of a step's inputs, limited to those it declared.
#[derive(Debug, Clone, Default)]
pub struct Inputs(Vec<(StepId, Fact, String)>);

impl Inputs {
    /// Adds one fact of what an input made.
    pub fn insert(&mut self, step: &StepId, fact: Fact, value: &str) {
        self.0.push((step.clone(), fact, value.to_owned()));
    }

    /// One declared fact of one input.
    pub fn fact(&self, step: &StepId, fact: Fact) -> &str {
        let found = self.0.iter().find(|(by, it, _)| *it == fact && by == step);
        match found {
            Some((_, _, value)) => value,
            None => panic!("BUG: fact `{fact}` of {step} was not declared or not made"),
        }
    }

    /// The same of one that is a digest; a record or the lock may have something else.
    pub fn digest(&self, step: &StepId, fact: Fact) -> Result<Digest, NotADigest> {
        self.fact(step, fact).parse()
    }
}

/// What the world holds of the resource that an effect step owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// It was not looked at; the row from the last run decides. The reason is for people.
    Unobserved(Option<String>),
    /// There is no such thing.
    Absent,
    /// It is ours, and as the step with this key left it.
    Present {
        /// The key it is marked with.
        key: Key,
        /// The facts, complete.
        facts: Facts,
    },
    /// It is ours, but not as we left it.
    Drifted {
        /// What differs from how it was left.
        changes: Vec<Change>,
    },
    /// It is ours, and somebody asked that it be left as it is, whatever its spec wants.
    Held {
        /// Its facts, complete.
        facts: Facts,
        /// What is held, by whom, since when, and how that ends.
        note: String,
    },
    /// Somebody else's thing is in its place.
    Foreign {
        /// Who made it and where it is.
        owner: String,
        /// Whether it can be taken over.
        adoptable: Adoptable,
        /// Whether it is this project's after all, of another environment.
        ours: bool,
        /// What would change if it were taken over, as far as that can be seen.
        differs: Vec<Difference>,
    },
}

/// Whether a thing of somebody else can be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adoptable {
    /// It can, once somebody asks for that.
    Yes,
    /// Not before this is done.
    Once(String),
    /// It can't.
    No,
}

/// What would be another once a thing is taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whom it matters to.
    pub concerns: Concerns,
    /// What it is; without values, the field is all that there is to say.
    pub change: Change,
}

/// Whom a difference matters to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concerns {
    /// Those who ask: by which name, where, with what.
    Clients,
    /// What serves.
    Engine,
    /// Who pays.
    Money,
    /// Who would have it back as it was.
    WayBack,
}

/// What an effect step would stand for if it ran now.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The key.
    pub key: &'a Key,
    /// The declared facts of the inputs.
    pub inputs: &'a Inputs,
}

/// What a step gets to do its work.
#[derive(Debug)]
pub struct Task {
    /// The key that the outcome will stand under.
    pub key: Key,
    /// What that key is made of, for a resource that can keep it.
    pub fingerprint: Fingerprint,
    /// The declared facts of the inputs.
    pub inputs: Inputs,
    /// Progress, log lines, and whether to stop.
    pub reporter: Reporter,
    /// The user agreed to take over a resource of somebody else.
    pub adopt: bool,
    /// The user asked for it by name, however fresh it is.
    pub replaced: bool,
}

/// It was left open whether a step did what it had to: it neither did nor failed, and what needs it waits.
#[derive(Debug, Error, Diagnostic)]
#[error("not proven: {why}")]
#[diagnostic(code(goatbuild::unproven))]
pub struct Unproven {
    /// What could not be told.
    pub why: String,
    /// What becomes of it.
    #[help]
    pub help: String,
}

/// The error of a step: any diagnostic.
pub type StepError = miette::Report;

/// A node of the DAG.
///
/// Running must be idempotent: a run that was killed is repeated from the start.
#[async_trait]
pub trait Step: Send + Sync {
    /// What it is, before anything is known of its inputs.
    fn head(&self) -> &Head;

    /// The unique name.
    fn id(&self) -> &StepId {
        &self.head().id
    }

    /// Whether its outcome depends on the world.
    fn class(&self) -> Class {
        self.head().class
    }

    /// What it mostly uses while it runs.
    fn resource(&self) -> Resource {
        self.head().resource
    }

    /// The models that need it.
    fn models(&self) -> &[String] {
        &self.head().models
    }

    /// What it takes from other steps.
    fn inputs(&self) -> &[Input] {
        &self.head().inputs
    }

    /// Describes everything its outcome depends on. Called with all declared facts known.
    fn describe(&self, inputs: &Inputs) -> Fingerprint;

    /// The facts that are known before it runs. A wrong prediction is a bug.
    fn predict(&self) -> Facts {
        Facts::new()
    }

    /// What has to be locked before anything can be said of its inputs; none once all is.
    fn unlocked(&self) -> Option<String> {
        None
    }

    /// Names the thing that only one step at a time may write.
    fn exclusive(&self) -> Option<String> {
        None
    }

    /// Tells of the resource what the last look at the world showed. Effect steps only.
    ///
    /// `wanted` is there once all declared facts are known.
    fn observe(&self, wanted: Option<Wanted<'_>>) -> Observation {
        let _ = wanted;
        Observation::Unobserved(None)
    }

    /// What the resource that was seen says itself of what its key is made of, where it can hold
    /// that: so an edit is told by its field on a machine that never applied anything.
    fn applied(&self, inputs: &Inputs) -> Option<Fingerprint> {
        let _ = inputs;
        None
    }

    /// What an earlier version wrote down of what was applied, as this version describes it: without what
    /// turned out to be nothing that the outcome depends on.
    fn as_described_now(&self, applied: &Fingerprint) -> Fingerprint {
        applied.clone()
    }

    /// The key that the resource itself is known to have failed with, where its place keeps that.
    fn failed(&self) -> Option<Key> {
        None
    }

    /// The key for which the resource itself is known to have left it open whether that is what it stands
    /// for.
    fn left_open(&self) -> Option<Key> {
        None
    }

    /// Whether what it does is up to others, so that it may come out otherwise another time: then
    /// whoever asks for the step by name may have what comes of it. Pure steps only.
    fn may_differ(&self) -> bool {
        false
    }

    /// Whether the files behind `facts` are in the cache. Pure steps only.
    fn has_blobs(&self, facts: &Facts) -> bool {
        let _ = facts;
        true
    }

    /// Does the work.
    async fn run(&self, task: &Task) -> Result<Outcome, StepError>;
}
