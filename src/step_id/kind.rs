//! The kinds of steps, and what is true of every step of a kind.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of step it is.
///
/// Where something has to be decided for every kind, it is decided here, by a match on all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// What an image is built on.
    Base,
    /// A Python in a layer of its own.
    Python,
    /// Wheels in a layer.
    Wheels,
    /// A package of the project's own, built and in a layer.
    Build,
    /// An image, built here or by a target.
    Image,
    /// An image in a registry.
    Push,
    /// Weights in a volume.
    Weights,
    /// Compile caches.
    Warmup,
    /// A server.
    Deploy,
    /// What a server answered.
    Smoke,
    /// An entry of a gateway.
    Gateway,
}

/// How an apply takes away what a step made once no spec wants it. What goes first comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Removal {
    /// From the gateway, always.
    Entry,
    /// From its target, when a spec or the command line asks for that.
    Deployment,
    /// Not at all: it is garbage, which `gc` collects, or belongs to what is removed.
    Never,
}

impl StepKind {
    /// All of them, from the base to the gateway.
    pub const ALL: [Self; 11] = [
        Self::Base,
        Self::Python,
        Self::Wheels,
        Self::Build,
        Self::Image,
        Self::Push,
        Self::Weights,
        Self::Warmup,
        Self::Deploy,
        Self::Smoke,
        Self::Gateway,
    ];

    /// What the ids of such steps begin with.
    pub fn word(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Python => "python",
            Self::Wheels => "wheels",
            Self::Build => "build",
            Self::Image => "image",
            Self::Push => "push",
            Self::Weights => "weights",
            Self::Warmup => "warmup",
            Self::Deploy => "deploy",
            Self::Smoke => "smoke",
            Self::Gateway => "gateway",
        }
    }

    /// How what such a step made is taken away.
    pub fn removal(self) -> Removal {
        match self {
            Self::Gateway => Removal::Entry,
            Self::Deploy => Removal::Deployment,
            Self::Base
            | Self::Python
            | Self::Wheels
            | Self::Build
            | Self::Image
            | Self::Push
            | Self::Weights
            | Self::Warmup
            | Self::Smoke => Removal::Never,
        }
    }

    /// Whether such a step makes what serves a model.
    pub fn serves(self) -> bool {
        self.removal() == Removal::Deployment
    }

    /// Whether such a step makes an image.
    pub fn makes_image(self) -> bool {
        self == Self::Image
    }

    /// Whether such a step sends an image to a registry.
    pub fn pushes(self) -> bool {
        self == Self::Push
    }

    /// Whether an image has many such steps, which are told together.
    pub fn has_slots(self) -> bool {
        self == Self::Wheels
    }
}

impl fmt::Display for StepKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}
