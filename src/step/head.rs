//! What a step says of itself before anything is known of its inputs.

use std::time::Duration;

use super::{Input, StepId, StepKind};

/// Whether an outcome is true forever, or only while the world stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Key → outcome, on any machine, on any day: it belongs into the lock.
    Pure,
    /// Owns a resource in the world that has one key at a time.
    Effect,
}

/// What a running step mostly uses; limits how many run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Waits for downloads.
    Network,
    /// Keeps a core busy.
    Cpu,
    /// Writes a lot.
    Disk,
    /// Occupies the accelerator, or the port, that models are served on.
    Accelerator,
}

/// Where the thing is that a step makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// In the project, whatever its models' target is.
    Here,
    /// At the target, or where the target takes it from.
    Target,
}

/// What a step does with a model's engine, and so with the model's own accelerators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineUse {
    /// It starts one.
    pub starts: bool,
    /// It asks one as clients will, and so with their keys.
    pub asks: bool,
    /// How long it keeps the accelerators busy itself, at most: nothing where only what it leaves
    /// behind does.
    pub busy: Duration,
}

/// What every step says of itself, whatever its kind.
#[derive(Debug, Clone)]
pub struct Head {
    /// The unique name.
    pub id: StepId,
    /// What kind of step it is.
    pub kind: StepKind,
    /// Whether its outcome depends on the world.
    pub class: Class,
    /// Where the thing is that it makes.
    pub at: At,
    /// What it does with an engine, if anything.
    pub engine: Option<EngineUse>,
    /// How long its target runs a function without accelerators for it, at most: nothing where that
    /// isn't billed.
    pub errand: Duration,
    /// What it mostly uses while it runs.
    pub resource: Resource,
    /// The models that need it.
    pub models: Vec<String>,
    /// What it takes from other steps.
    pub inputs: Vec<Input>,
    /// What people should know of it before it runs.
    pub note: Option<&'static str>,
}

impl Head {
    /// A step whose outcome is true forever.
    pub fn pure(id: StepId, resource: Resource, models: &[String]) -> Self {
        Self {
            kind: id.kind().unwrap_or_else(|| panic!("BUG: {id} is no step's")),
            class: Class::Pure,
            at: At::Here,
            engine: None,
            errand: Duration::ZERO,
            resource,
            models: models.to_vec(),
            inputs: Vec::new(),
            note: None,
            id,
        }
    }

    /// A step that owns a resource at its models' target.
    pub fn effect(id: StepId, resource: Resource, models: &[String]) -> Self {
        Self { class: Class::Effect, at: At::Target, ..Self::pure(id, resource, models) }
    }

    /// The same step, taking these inputs.
    #[must_use]
    pub fn taking(self, inputs: Vec<Input>) -> Self {
        Self { inputs, ..self }
    }
}
