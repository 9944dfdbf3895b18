//! What a step is called, in plans, events and rows: each kind's ids are made here.

mod kind;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use kind::{Removal, StepKind};

/// Names a step and so the thing it makes: `deploy:qwen3-4b`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId(Arc<str>);

/// What a step is one of, as far as its name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// An image.
    Image(&'a str),
    /// The repository or directory that weights come from.
    Weights(&'a str),
    /// A model; also what is no step's name.
    Model(&'a str),
}

impl StepId {
    fn of(kind: StepKind, name: impl fmt::Display) -> Self {
        Self(format!("{}:{name}", kind.word()).into())
    }

    /// What an image is built on.
    pub fn base(image: impl fmt::Display) -> Self {
        Self::of(StepKind::Base, image)
    }

    /// The Python that an image adds to its base.
    pub fn python(image: impl fmt::Display) -> Self {
        Self::of(StepKind::Python, image)
    }

    /// One of the layers that an image's wheels are in.
    pub fn wheels(image: impl fmt::Display, slot: impl fmt::Display) -> Self {
        Self::of(StepKind::Wheels, format_args!("{image}/{slot}"))
    }

    /// A package of the project's own, for an image.
    pub fn build(image: impl fmt::Display, package: impl fmt::Display) -> Self {
        Self::of(StepKind::Build, format_args!("{image}/{package}"))
    }

    /// An image.
    pub fn image(image: impl fmt::Display) -> Self {
        Self::of(StepKind::Image, image)
    }

    /// An image in a registry.
    pub fn push(image: impl fmt::Display) -> Self {
        Self::of(StepKind::Push, image)
    }

    /// Weights by the repository or directory that they come from.
    pub fn weights(source: impl fmt::Display) -> Self {
        Self::of(StepKind::Weights, source)
    }

    /// A model's compile caches.
    pub fn warmup(model: impl fmt::Display) -> Self {
        Self::of(StepKind::Warmup, model)
    }

    /// A model's server.
    pub fn deploy(model: impl fmt::Display) -> Self {
        Self::of(StepKind::Deploy, model)
    }

    /// What a model's server answered.
    pub fn smoke(model: impl fmt::Display) -> Self {
        Self::of(StepKind::Smoke, model)
    }

    /// A model's entry in the gateway.
    pub fn gateway(model: impl fmt::Display) -> Self {
        Self::of(StepKind::Gateway, model)
    }

    /// The entry of one of a model's adapters.
    pub fn gateway_of_adapter(model: impl fmt::Display, adapter: impl fmt::Display) -> Self {
        Self::of(StepKind::Gateway, format_args!("{model}/{adapter}"))
    }

    /// The steps that are meant most likely where a model, an image or a source of weights is named
    /// in place of one.
    pub fn likely(name: &str) -> [Self; 3] {
        [Self::deploy(name), Self::image(name), Self::weights(name)]
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which kind of step has this id; none where it is no step's.
    pub fn kind(&self) -> Option<StepKind> {
        let word = self.0.split_once(':').map_or(&*self.0, |(word, _)| word);
        StepKind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The part after the first colon.
    pub fn name(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, name)| name)
    }

    /// What it is a step of.
    pub fn subject(&self) -> Subject<'_> {
        // What tells steps of one name apart says where they take place, or which part it is.
        let name = self.name().split('@').next().unwrap_or_default();
        match self.kind() {
            Some(
                StepKind::Base
                | StepKind::Python
                | StepKind::Wheels
                | StepKind::Build
                | StepKind::Image
                | StepKind::Push,
            ) => Subject::Image(name.split('/').next().unwrap_or_default()),
            Some(StepKind::Weights) => Subject::Weights(name),
            Some(StepKind::Warmup | StepKind::Deploy | StepKind::Smoke | StepKind::Gateway)
            // Behind a model's name stands which of its adapters it is.
            | None => Subject::Model(name.split('/').next().unwrap_or_default()),
        }
    }

    /// Whether asking for this step can come to serving a model.
    pub fn may_serve(&self) -> bool {
        match self.subject() {
            Subject::Image(_) => self.kind().is_some_and(StepKind::pushes),
            Subject::Weights(_) => false,
            Subject::Model(_) => true,
        }
    }
}

impl From<&str> for StepId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
