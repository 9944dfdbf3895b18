//! The kinds of steps, as their ids name them.

use super::StepId;

/// What kind of step it is.
///
/// Whoever decides by kind matches on all of them, so that a new one is decided on everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepKind {
    /// What an image is built on.
    Base,
    /// A Python in a layer of its own.
    Python,
    /// Wheels in a layer.
    Wheels,
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

impl StepKind {
    /// All of them, from the base to the gateway.
    pub const ALL: [Self; 10] = [
        Self::Base,
        Self::Python,
        Self::Wheels,
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
            Self::Image => "image",
            Self::Push => "push",
            Self::Weights => "weights",
            Self::Warmup => "warmup",
            Self::Deploy => "deploy",
            Self::Smoke => "smoke",
            Self::Gateway => "gateway",
        }
    }
}

impl StepId {
    /// Which kind of step has this id; none where it is no step's.
    pub fn known_kind(&self) -> Option<StepKind> {
        StepKind::ALL.into_iter().find(|kind| kind.word() == self.kind())
    }

    /// Whether it is a step of this kind.
    pub fn is(&self, kind: StepKind) -> bool {
        self.kind() == kind.word()
    }
}
