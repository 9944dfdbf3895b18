//! The engines: what serves a model, and how it is started.
//!
//! Adding one is one file and one line in [`built_in`].

pub mod command;
pub mod extra_args;
mod import;
mod mlx_lm;
pub mod vllm;

use std::collections::BTreeMap;

use crate::engine::{Cache, Engines};
use crate::spec::Value;

/// Where vLLM keeps what it compiles, and `FlashInfer`'s kernels. Every engine has both: a server
/// with a command line of its own may be vLLM, and what is mounted into servers is part of keys.
const CACHES: [Cache; 2] = [
    Cache { volume: "vllm-cache", mount: "/root/.cache/vllm" },
    Cache { volume: "flashinfer-cache", mount: "/root/.cache/flashinfer" },
];

/// All of them, the default one first.
pub fn built_in() -> Engines {
    Engines::new(&[&vllm::Vllm, &mlx_lm::MlxLm, &command::Command])
}

/// What every engine gets: nothing is fetched or reported behind the user's back.
fn offline() -> BTreeMap<String, String> {
    [("HF_HUB_OFFLINE", "1"), ("HF_HUB_DISABLE_TELEMETRY", "1"), ("PYTHONUNBUFFERED", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// What of that is a habit of goatbuild's, and no more.
const HABITS: [&str; 2] = ["HF_HUB_DISABLE_TELEMETRY", "PYTHONUNBUFFERED"];

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
