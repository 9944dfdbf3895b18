//! What the local target knows of its deployments, outside any project's `cache/`.
//!
//! One JSON file per project and environment, replaced as a whole; the same machine's other
//! checkouts of the project see the same deployments.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::fingerprint::Key;
use crate::runtime::{self, Instance, Sandbox};
use crate::step::Facts;

const VERSION: u32 = 1;

/// Why the state can't be used.
#[derive(Debug, Error, Diagnostic)]
pub(super) enum StateError {
    /// It can't be read or written.
    #[error("{} can't be used: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::local::state),
        help("check the permissions; GOATBUILD_STATE_DIR names another directory")
    )]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It isn't what this version writes.
    #[error("{} is not the state of a local target: {reason}", path.display())]
    #[diagnostic(
        code(goatbuild::local::state_format),
        help(
            "a newer goatbuild may have written it: use that one. Otherwise move the file away and stop the servers by hand"
        )
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// What serves one model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Served {
    /// The key of the deploy step that made it.
    pub key: Key,
    /// Whether it got healthy; until then it is a start that may have been killed.
    pub healthy: bool,
    /// The facts of the deploy step.
    pub facts: Facts,
    /// The port it listens on.
    pub port: u16,
    /// The process, unless it was never started.
    pub instance: Option<Instance>,
    /// How to start it again.
    pub sandbox: Sandbox,
    /// The path that answers 200 once it is up.
    pub health: String,
    /// When it was started, RFC 3339.
    pub since: String,
    /// The key of the smoke step that this instance passed.
    pub smoke: Option<Key>,
    /// What served before, kept until this one is healthy.
    pub previous: Option<Box<Served>>,
}

impl Served {
    /// Finds the process of a start that was cut short before its process was noted down.
    fn find(&mut self) {
        if self.instance.is_none() {
            self.instance = self.facts.get("instance").and_then(|id| runtime::find(id));
        }
    }
}

/// The whole file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    pub(super) served: BTreeMap<String, Served>,
}

impl State {
    pub(super) fn load(path: &Path) -> Result<Self, StateError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { version: VERSION, ..Self::default() });
            }
            Err(source) => return Err(StateError::Unusable { path: path.to_owned(), source }),
        };
        let format = |reason| StateError::Format { path: path.to_owned(), reason };
        let value: serde_json::Value =
            serde_json::from_slice(&text).map_err(|error| format(error.to_string()))?;
        if value["version"] != VERSION {
            return Err(format(format!("its version is {}", value["version"])));
        }
        let mut state: Self =
            serde_json::from_value(value).map_err(|error| format(error.to_string()))?;
        state.served.values_mut().for_each(Served::find);
        Ok(state)
    }

    pub(super) fn save(&self, path: &Path) -> Result<(), StateError> {
        let unusable = |source| StateError::Unusable { path: path.to_owned(), source };
        let parent = path.parent().unwrap_or(path);
        std::fs::create_dir_all(parent).map_err(unusable)?;
        let mut file = tempfile::NamedTempFile::new_in(parent).map_err(unusable)?;
        serde_json::to_writer(&mut file, self).map_err(|error| unusable(error.into()))?;
        file.flush().map_err(unusable)?;
        file.as_file().sync_data().map_err(unusable)?;
        file.persist(path).map(drop).map_err(|error| unusable(error.error))
    }
}
