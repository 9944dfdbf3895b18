//! Docker and Podman, through their own command lines.
//!
//! The command lines rather than the sockets: they know contexts, credentials and machines, and
//! both speak nearly the same language. What a container gets is what the embedded runtime gives:
//! a read-only root, volumes bound in, the host's network, no rights. Nothing is restarted behind
//! our back, after a reboot neither.
//!
//! A container is created before it is started, and carries labels that say whose it is: whatever
//! kills this process, the next one finds it.

mod create;
mod error;
mod image;
mod lives;
mod probe;
mod program;
#[cfg(test)]
mod tests;

pub use self::create::{Network, Recipe, create};
pub use self::error::ContainerError;
pub use self::image::{Loaded, hand_over, image_name, loaded, unload};
pub use self::lives::{
    Condition, Guard, Tail, condition, conditions, find, follow, guard, remove, start, stop,
};
pub use self::probe::{Engine, probe};

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerEngine {
    /// Docker, which has a daemon.
    Docker,
    /// Podman, which has none.
    Podman,
}

impl ContainerEngine {
    /// The program's name.
    pub fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

impl fmt::Display for ContainerEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
        })
    }
}

/// Identifies one start of one container: a name can be given to another, an id can be restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Container {
    /// Who runs it.
    pub engine: ContainerEngine,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// When it was started, as the engine says it; none before it is.
    pub started_at: Option<String>,
}

/// The labels that say whose a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// The project's id.
    pub project: String,
    /// The directory that keeps the state of the project and environment; two of them never touch
    /// each other's containers.
    pub state: String,
    /// The model.
    pub model: String,
    /// The key of the step that made it.
    pub key: String,
    /// The instance's id, chosen before there is a container.
    pub instance: String,
}

const PROJECT: &str = "goatbuild.project";
const STATE: &str = "goatbuild.state";
const MODEL: &str = "goatbuild.model";
const KEY: &str = "goatbuild.key";
const INSTANCE: &str = "goatbuild.instance";
