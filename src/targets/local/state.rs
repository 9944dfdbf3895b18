//! What the local target knows of its deployments, outside any project's `cache/`.
//!
//! One JSON file per project and environment, replaced as a whole; the same machine's other
//! checkouts of the project see the same deployments.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::server::{Recipe, Running};
use crate::fingerprint::{Fingerprint, Key};
use crate::runtime;
use crate::step::Facts;

const VERSION: u32 = 2;

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
    /// What that key is made of; none where an earlier version wrote this.
    #[serde(default)]
    pub applied: Option<Fingerprint>,
    /// Whether it got healthy; until then it is a start that may have been killed.
    pub healthy: bool,
    /// The facts of the deploy step.
    pub facts: Facts,
    /// The port it listens on.
    pub port: u16,
    /// The process or container, unless there never was one.
    pub instance: Option<Running>,
    /// How to start it again.
    pub recipe: Recipe,
    /// The path that answers 200 once it is up.
    pub health: String,
    /// How long its start may take; none where an earlier version wrote this.
    #[serde(default)]
    pub startup_timeout: Option<Duration>,
    /// When it was started, RFC 3339.
    pub since: String,
    /// The key of the smoke step that this instance passed.
    pub smoke: Option<Key>,
    /// The instance that passed it, when that is another one by now.
    #[serde(default)]
    pub tested: Option<String>,
    /// What served before, kept until this one is healthy.
    pub previous: Option<Box<Served>>,
}

impl Served {
    /// Finds the process of a start that was cut short before its process was noted down.
    fn find(&mut self) {
        if self.instance.is_none() && matches!(self.recipe, Recipe::Embedded(_)) {
            let found = self.facts.get("instance").and_then(|id| runtime::find(id));
            self.instance = found.map(Running::Embedded);
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
        let mut value: serde_json::Value =
            serde_json::from_slice(&text).map_err(|error| format(error.to_string()))?;
        if value["version"] == 1 {
            upgrade(&mut value);
        }
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

/// Version 1 knew the embedded runtime alone.
fn upgrade(state: &mut serde_json::Value) {
    state["version"] = VERSION.into();
    let served = state["served"].as_object_mut();
    let mut todo: Vec<_> = served.into_iter().flat_map(|served| served.values_mut()).collect();
    while let Some(serde_json::Value::Object(served)) = todo.pop() {
        if let Some(sandbox) = served.remove("sandbox") {
            served.insert("recipe".to_owned(), sandbox);
        }
        for part in ["recipe", "instance"] {
            if let Some(serde_json::Value::Object(part)) = served.get_mut(part) {
                part.insert("runtime".to_owned(), "embedded".into());
            }
        }
        todo.extend(served.get_mut("previous"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = r#"{"version":1,"served":{"tiny":{"key":"KEY","healthy":true,"facts":{"url":"u"},
        "port":4000,"instance":{"boot-id":"b","pid":7,"start-time":9,"id":"i"},
        "sandbox":{"root":"/r","binds":[],"env":{},"command":["c"],"workdir":"/","log":"/l"},
        "health":"/health","since":"s","smoke":null,"previous":null}}}"#;

    #[test]
    fn what_the_first_version_wrote_is_still_known() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("deployments.json");
        let key = format!("gb1-{}", "0".repeat(40));
        std::fs::write(&path, FIRST.replace("KEY", &key)).expect("a file");
        let state = State::load(&path).expect("loads");
        let served = &state.served["tiny"];
        assert!(matches!(&served.instance, Some(Running::Embedded(process)) if process.pid == 7));
        assert!(matches!(&served.recipe, Recipe::Embedded(sandbox) if sandbox.workdir == "/"));
        state.save(&path).expect("saves");
        assert_eq!(State::load(&path).expect("loads again").served.len(), 1);
    }
}
