//! What a step is called: in plans, events and rows, whatever it does.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Names a step and so the thing it makes: `deploy:qwen3-4b`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId(Arc<str>);

impl StepId {
    /// The id of the thing called `name`, made by a step of this kind.
    pub fn new(kind: &str, name: impl fmt::Display) -> Self {
        Self(format!("{kind}:{name}").into())
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first colon.
    pub fn kind(&self) -> &str {
        self.0.split_once(':').map_or(&*self.0, |(kind, _)| kind)
    }

    /// The part after the first colon.
    pub fn name(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, name)| name)
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
