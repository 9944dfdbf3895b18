//! What happens to a step, and why, in words that people and programs read.

use serde::{Deserialize, Serialize};

use crate::fingerprint::{Change, STEP_VERSION};
use crate::step::Concerns;

/// What happens to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It runs, for certain.
    Run,
    /// It runs unless what its inputs make turns out to be the same, or it turns out to stand at a
    /// place that could not be looked at.
    Pending,
    /// Nothing is to be done.
    Fresh,
    /// Its thing is ours and no spec wants it any more.
    Remove,
    /// Somebody else's thing is in its place.
    Conflict,
}

impl Action {
    /// The word for people and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Pending => "pending",
            Self::Fresh => "fresh",
            Self::Remove => "remove",
            Self::Conflict => "conflict",
        }
    }
}

/// The kind of a [`Reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonKind {
    /// It never ran.
    First,
    /// A field differs from when it was last applied.
    Changed,
    /// The world differs from how the last run left it.
    Drift,
    /// Its files left the cache, and something that runs needs them.
    Evicted,
    /// The user asked for it.
    Replaced,
    /// An input will run, so what it makes is not known yet.
    Input,
    /// The last attempt with these very inputs failed.
    FailedBefore,
    /// It was left open whether the last attempt with these very inputs succeeded.
    Unproven,
    /// The user takes over somebody else's thing.
    Adopted,
    /// No spec wants it.
    Unwanted,
    /// Its spec says that it is to go.
    Absent,
    /// It belongs to somebody else.
    Foreign,
    /// It belongs to another environment of this project.
    OtherEnvironment,
    /// What has to be done before it can be taken over.
    Before,
    /// What taking it over changes for those who ask it.
    ForClients,
    /// What taking it over changes in what serves.
    ForTheEngine,
    /// What taking it over changes in what it costs.
    ForMoney,
    /// Whether what stood before can be had back.
    WayBack,
    /// Its place could not be looked at, so nobody knows whether it stands.
    Unobserved,
    /// What it is about is not in the lock.
    Unlocked,
}

impl From<Concerns> for ReasonKind {
    fn from(concerns: Concerns) -> Self {
        match concerns {
            Concerns::Clients => Self::ForClients,
            Concerns::Engine => Self::ForTheEngine,
            Concerns::Money => Self::ForMoney,
            Concerns::WayBack => Self::WayBack,
        }
    }
}

/// Why a step has its action, down to the field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What kind of reason it is.
    pub kind: ReasonKind,
    /// The field, input or detail that it is about.
    pub field: Option<String>,
    /// The value before.
    pub old: Option<String>,
    /// The value now.
    pub new: Option<String>,
}

impl Reason {
    /// Whether goatbuild itself came to mean something else by the same fields.
    pub fn is_goatbuilds_own(&self) -> bool {
        self.kind == ReasonKind::Changed && self.field.as_deref() == Some(STEP_VERSION)
    }

    pub(super) fn plain(kind: ReasonKind) -> Self {
        Self { kind, field: None, old: None, new: None }
    }

    pub(super) fn about(kind: ReasonKind, field: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..Self::plain(kind) }
    }

    pub(super) fn change(kind: ReasonKind, change: Change) -> Self {
        Self { kind, field: Some(change.field), old: change.old, new: change.new }
    }
}
