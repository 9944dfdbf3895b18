//! The engines: what serves a model, and how it is started.
//!
//! Adding one is one file and one line in [`engine`].

mod command;
pub mod extra_args;
mod mlx_lm;
pub mod vllm;

use std::collections::BTreeMap;

use crate::lock::LockedEngine;
use crate::spec::{EngineName, Model, Value};

/// Where and what an engine is to serve, as seen from inside the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving<'a> {
    /// The address to listen on.
    pub host: &'a str,
    /// The port to listen on.
    pub port: u16,
    /// What names the model both on the command line and in requests: a path relative to the
    /// working directory.
    pub model: &'a str,
    /// The absolute path of the weights.
    pub weights: &'a str,
    /// Their commit.
    pub revision: &'a str,
    /// The absolute path of the draft model's weights, when the model has a draft.
    pub draft: Option<&'a str>,
    /// Their commit.
    pub draft_revision: Option<&'a str>,
    /// The engine in the image.
    pub locked: &'a Locked,
}

/// Where an image sees the directories that outlive a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caches<'a> {
    /// The one of the model's warm-up, for what the engine compiles.
    pub compile: &'a str,
    /// The one for `FlashInfer`'s kernels.
    pub flashinfer: &'a str,
}

/// What the lock says of the engine in a model's image, and of the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locked {
    /// The distribution that is the engine; empty when the image has none that is known.
    pub distribution: String,
    /// Whether the image is known to have no engine: its base brings none, and no wheel is one.
    pub is_missing: bool,
    /// Whether the image has one only if its base, which nobody looked into, brings it.
    pub is_up_to_base: bool,
    /// Its version.
    pub version: String,
    /// What it takes, when its wheel could be read.
    pub taken: Option<LockedEngine>,
    /// Names of the image's environment variables.
    pub image_environment: Vec<String>,
    /// What the model's configuration calls its architecture.
    pub architectures: Vec<String>,
    /// The model's family, such as `gpt_oss`.
    pub model_type: Option<String>,
}

/// Something that will run, and perhaps not as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What is odd.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// What checking against the lock found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// What the engine would refuse, or silently leave out.
    pub problems: Vec<FlagProblem>,
    /// What it would take.
    pub warnings: Vec<Warning>,
}

/// A flag that the engine would not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagProblem {
    /// The flag, dots leading into it, or none when the model as a whole is the matter.
    pub flag: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// A program that serves models through the `OpenAI` API.
pub trait Engine: Send + Sync {
    /// What in the spec it would not take, known before anything runs.
    fn check(&self, model: &Model) -> Vec<FlagProblem>;

    /// What the locked version would not take, or take and not mean.
    fn check_locked(&self, model: &Model, locked: &Locked) -> Checked {
        let _ = (model, locked);
        Checked::default()
    }

    /// Whether starting compiles something worth keeping.
    fn compiles(&self, model: &Model) -> bool;

    /// Whether a flag can change what is compiled. Unknown flags can.
    fn reaches_compile_key(&self, flag: &str) -> bool {
        let _ = flag;
        true
    }

    /// The program and its arguments.
    fn command(&self, model: &Model, serving: &Serving<'_>) -> Vec<String>;

    /// Environment variables that it needs, under the image's and the spec's own.
    fn environment(&self, caches: &Caches<'_>) -> BTreeMap<String, String>;

    /// The path, from the server's root, that answers 200 once it is up.
    fn health(&self, model: &Model) -> String;

    /// The name of the files in the compile cache that tell what went into its key, each a JSON
    /// object: read after a warm-up, wherever below the cache's directory they are.
    fn cache_factors(&self) -> Option<&'static str> {
        None
    }

    /// Variables without which a snapshot of it can't be taken.
    fn snapshot_environment(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Whether `GET /v1/models` lists the name that requests use.
    fn lists_served_name(&self) -> bool;
}

/// The engine of this name.
pub fn engine(name: EngineName) -> &'static dyn Engine {
    match name {
        EngineName::Vllm => &vllm::Vllm,
        EngineName::MlxLm => &mlx_lm::MlxLm,
        EngineName::Command => &command::Command,
    }
}

/// What every engine gets: nothing is fetched or reported behind the user's back.
fn offline() -> BTreeMap<String, String> {
    [("HF_HUB_OFFLINE", "1"), ("HF_HUB_DISABLE_TELEMETRY", "1"), ("PYTHONUNBUFFERED", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// A flag's value on a command line: plain when it is a scalar, otherwise JSON.
fn argument(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => json(value).to_string(),
    }
}

/// A flag's value as JSON, keys in order.
pub fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::String(text) => text.clone().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Boolean(truth) => (*truth).into(),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Table(table) => {
            table.iter().map(|(name, flag)| (name.clone(), json(&flag.value))).collect()
        }
    }
}
