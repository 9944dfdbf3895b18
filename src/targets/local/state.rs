//! What the local target knows of its deployments, outside any project's `cache/`.
//!
//! One JSON file per project and environment, replaced as a whole; the same machine's other
//! checkouts of the project see the same deployments.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::address::{LOOPBACK, url};
use super::mounts::Mounted;
use super::secrets::{KEY, Taken};
use super::server::{Recipe, Running};
use super::spec::IGNORED;
use crate::clock::elapsed_since;
use crate::durable;
use crate::fingerprint::{Fingerprint, Key};
use crate::runtime;
use crate::step::{Fact, Facts};

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
    /// The address it listens on; none on the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<IpAddr>,
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
    /// Whether it has yet to pass one: until then, what it replaced is kept.
    #[serde(default, skip_serializing_if = "is_false")]
    pub trial: bool,
    /// Whether it failed the one that was run last.
    #[serde(default, skip_serializing_if = "is_false")]
    pub failed: bool,
    /// The instance that passed it, when that is another one by now.
    #[serde(default)]
    pub tested: Option<String>,
    /// What it was started with; empty where an earlier version wrote this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounted: Vec<Mounted>,
    /// The secrets that it takes, by variable: none of their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Taken>,
    /// What served before, kept until this one is healthy, and while it is on trial.
    pub previous: Option<Box<Served>>,
}

impl Served {
    /// It, and all that is kept behind it.
    pub(super) fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |served| served.previous.as_deref())
    }

    /// The address it listens on.
    pub(super) fn listens(&self) -> IpAddr {
        self.host.unwrap_or(LOOPBACK)
    }

    /// Where it is asked.
    pub(super) fn url(&self) -> String {
        url(self.listens(), self.port)
    }

    /// Whether it asks for a key.
    pub(super) fn has_key(&self) -> bool {
        self.secrets.contains_key(KEY)
    }

    /// How much of its time a start still has that was begun by whoever is gone; none where it has none
    /// left, or where nobody can tell.
    pub(super) fn left_of_start(&self) -> Option<Duration> {
        let left = self.startup_timeout?.checked_sub(elapsed_since(&self.since)?)?;
        (!left.is_zero()).then_some(left)
    }

    /// Knows it, and what came before it, by what this version makes a key of: earlier ones put more into it
    /// that means nothing here.
    fn renew(&mut self) {
        if let Some(applied) = self.applied.take_if(|applied| applied.key() == self.key) {
            let applied = applied.without(IGNORED);
            self.key = applied.key();
            self.applied = Some(applied);
        }
        if let Some(previous) = &mut self.previous {
            previous.renew();
        }
    }

    /// Finds the process of a start that was cut short before its process was noted down.
    fn find(&mut self) {
        if self.instance.is_none() && matches!(self.recipe, Recipe::Embedded(_)) {
            let found = Fact::INSTANCE.of(&self.facts).and_then(|id| runtime::find(id));
            self.instance = found.map(Running::Embedded);
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The whole file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    pub(super) served: BTreeMap<String, Served>,
    /// The key of the last deployment of a model that failed its smoke test, until one passes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) failed: BTreeMap<String, Key>,
}

impl State {
    /// Where the state of an environment is, in its state directory.
    pub(super) fn file(environment: &Path) -> PathBuf {
        environment.join("deployments.json")
    }

    /// Notes that what serves a model failed its smoke test.
    pub(super) fn fails(&mut self, model: &str) {
        if let Some(served) = self.served.get_mut(model) {
            served.failed = true;
            self.failed.insert(model.to_owned(), served.key);
        }
    }

    /// Notes that this instance, if it still serves a model, passed its smoke test of this key.
    pub(super) fn passes(&mut self, model: &str, instance: &str, key: Key) {
        if let Some(served) = self.served.get_mut(model)
            && served.instance_id() == instance
        {
            (served.smoke, served.tested) = (Some(key), None);
            (served.trial, served.failed, served.previous) = (false, false, None);
            self.failed.remove(model);
        }
    }

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
        state.served.values_mut().for_each(Served::renew);
        Ok(state)
    }

    pub(super) fn save(&self, path: &Path) -> Result<(), StateError> {
        let unusable = |source| StateError::Unusable { path: path.to_owned(), source };
        let bytes = serde_json::to_vec(self).map_err(|error| unusable(error.into()))?;
        durable::write(path, &bytes, 0o600).map_err(unusable)
    }
}

/// Version 1 knew the embedded runtime alone.
fn upgrade(state: &mut serde_json::Value) {
    state["version"] = VERSION.into();
    let served = state["served"].as_object_mut();
    let mut todo: Vec<_> = served.into_iter().flat_map(|served| served.values_mut()).collect();
    while let Some(value) = todo.pop() {
        // What nothing came before says `null` there.
        let serde_json::Value::Object(served) = value else { continue };
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
    use serde_json::{Value, json};

    use super::*;

    /// What the first version wrote of one deployment, whose process has this id; taken from there.
    fn first(pid: u64, previous: impl IntoIterator<Item = Value>) -> Value {
        let mut served = json!({
            "key": format!("gb1-{}", "0".repeat(40)), "healthy": true, "facts": {"url": "u"},
            "port": 4000, "instance": {"boot-id": "b", "pid": pid, "start-time": 9, "id": "i"},
            "sandbox": {"root": "/r", "binds": [], "env": {}, "command": ["c"], "workdir": "/",
                "log": "/l"},
            "health": "/health", "since": "s", "smoke": null,
        });
        if let Some(previous) = previous.into_iter().next() {
            served["previous"] = previous;
        }
        served
    }

    /// The ids of the processes of one deployment and of those before it.
    fn pids(served: &Served) -> Vec<i32> {
        let (Recipe::Embedded(sandbox), Some(Running::Embedded(instance))) =
            (&served.recipe, &served.instance)
        else {
            panic!("{served:?} is not of the embedded runtime");
        };
        assert_eq!(sandbox.workdir, "/");
        let before = served.previous.iter().flat_map(|previous| pids(previous));
        std::iter::once(instance.pid).chain(before).collect()
    }

    #[test]
    fn what_the_first_version_wrote_is_still_known_however_many_there_are() {
        let two_before = || first(1, [first(2, [first(3, [Value::Null])])]);
        let all = [
            vec![],
            vec![(first(1, [Value::Null]), vec![1])],
            vec![(first(1, [Value::Null]), vec![1]), (first(2, [Value::Null]), vec![2])],
            vec![(first(1, []), vec![1]), (first(2, [first(3, [])]), vec![2, 3])],
            vec![
                (first(4, [Value::Null]), vec![4]),
                (two_before(), vec![1, 2, 3]),
                (first(5, []), vec![5]),
                (two_before(), vec![1, 2, 3]),
            ],
        ];
        for written in all {
            let served: serde_json::Map<String, Value> = written
                .iter()
                .enumerate()
                .map(|(at, (served, _))| (format!("model-{at}"), served.clone()))
                .collect();
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("deployments.json");
            let text = json!({"version": 1, "served": served}).to_string();
            std::fs::write(&path, text).expect("a file");
            let expected: Vec<_> = written.into_iter().map(|(_, pids)| pids).collect();
            let found = |state: &State| state.served.values().map(pids).collect::<Vec<_>>();
            let state = State::load(&path).expect("loads");
            assert_eq!(found(&state), expected);
            state.save(&path).expect("saves");
            assert_eq!(found(&State::load(&path).expect("loads again")), expected);
        }
    }

    #[test]
    fn what_is_no_state_of_the_first_version_is_refused_and_not_mended() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("deployments.json");
        let mut wrong = first(1, [Value::Null]);
        wrong["previous"] = json!("what is this?");
        for served in [json!({"a": wrong}), json!({"a": null, "b": first(1, [])}), json!([])] {
            let text = json!({"version": 1, "served": served}).to_string();
            std::fs::write(&path, text).expect("a file");
            assert!(matches!(State::load(&path), Err(StateError::Format { .. })), "{served}");
        }
    }
}
