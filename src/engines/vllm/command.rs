//! vLLM's command line.

use std::str::FromStr as _;

use pep440_rs::Version;

use super::super::{argument, extra_args, json};
use super::{hub, is_on, snapshot, taken};
use crate::engine::{Locked, Serving};
use crate::engines::vllm::taken::{Flag, Many, ValueKind};
use crate::spec::{Model, Value};

/// From this version on it is `vllm serve`, before it `python -m vllm.entrypoints.openai.api_server`.
///
/// All versions that were looked into, from 0.8.5.post1 to 0.33.0, have both, and 0.33.0 calls the
/// module deprecated; this is the first release after the oldest one.
const SERVE_SINCE: [u64; 2] = [0, 9];

/// The module that older versions are started by.
pub(super) const PROGRAM: &str = "vllm.entrypoints.openai.api_server";

/// Whether a version is started by its script `vllm`.
pub(super) fn starts_script(version: &str) -> bool {
    since(version, SERVE_SINCE)
}

/// Whether a version is at least this one; what can't be read is new.
pub(super) fn since(version: &str, first: [u64; 2]) -> bool {
    Version::from_str(version).map_or(true, |version| version.release() >= &first[..])
}

pub(super) fn line(model: &Model, serving: &Serving<'_>) -> Vec<String> {
    let locked = serving.locked;
    let mut line: Vec<String> = if starts_script(&locked.version) {
        ["vllm", "serve", serving.weights].map(str::to_owned).into()
    } else {
        ["python", "-m", PROGRAM, "--model", serving.weights].map(str::to_owned).into()
    };
    line.extend(["--host", serving.host, "--port", &serving.port.to_string()].map(str::to_owned));
    line.push("--served-model-name".to_owned());
    line.extend(model.serve.served_names.iter().chain(serving.mark).map(str::to_owned));
    // The path says it already; this way the log says it too.
    line.extend(["--revision", serving.revision].map(str::to_owned));
    if let Some(hardware) = &model.hardware {
        line.extend(["--tensor-parallel-size".to_owned(), hardware.count.to_string()]);
    }
    if model.serve.fast_boot && !is_on(model, "enforce-eager") {
        line.push("--enforce-eager".to_owned());
    }
    if model.serve.snapshot {
        line.push(format!("--{}", snapshot::FLAG));
    }
    if let (Some(draft), Some(path)) = (&model.draft, serving.draft) {
        let config = serde_json::json!({
            "method": draft.method,
            "model": path,
            "num_speculative_tokens": draft.num_speculative_tokens,
            "revision": serving.draft_revision,
        });
        line.extend(["--speculative-config".to_owned(), config.to_string()]);
    }
    let taken = taken(locked);
    for (flag, value) in hub::rewritten(&model.engine.flags, serving.fetched) {
        let taken = taken.as_ref().and_then(|taken| taken.flags.get(&flag));
        add(&mut line, &flag, &value, taken, locked);
    }
    line.extend(extra_args::of(model));
    line
}

/// Adds a flag; `taken` is what the locked version takes for it, if its wheel could be read.
fn add(line: &mut Vec<String>, flag: &str, value: &Value, taken: Option<&Flag>, locked: &Locked) {
    let kind = taken.map(|taken| &taken.kind).filter(|kind| **kind != ValueKind::Unread);
    let name = format!("--{flag}");
    match value {
        Value::Boolean(true) if kind.is_none_or(|kind| !takes_json(kind)) => line.push(name),
        Value::Boolean(false) if kind.is_none_or(|kind| !takes_json(kind)) => {
            let has_no = match kind {
                Some(kind) => *kind == ValueKind::Toggle,
                // As far as tried: most of the old ones' are switches, all of the new ones' toggles.
                None => since(&locked.version, SERVE_SINCE),
            };
            if has_no {
                line.push(format!("--no-{flag}"));
            }
        }
        Value::Array(items) if kind.is_none_or(|kind| !takes_json(kind)) => {
            let items = items.iter().map(argument);
            if taken.is_some_and(|taken| taken.many == Many::Repeated) {
                items.for_each(|item| push(line, &name, item));
            } else {
                line.push(name);
                line.extend(items);
            }
        }
        value => push(line, &name, text(flag, value, kind, locked)),
    }
}

/// A value that begins with a dash would be taken for a flag.
fn push(line: &mut Vec<String>, name: &str, value: String) {
    if value.starts_with('-') {
        line.push(format!("{name}={value}"));
    } else {
        line.extend([name.to_owned(), value]);
    }
}

pub(super) fn takes_json(kind: &ValueKind) -> bool {
    matches!(
        kind,
        ValueKind::Json | ValueKind::JsonOrText | ValueKind::Object(_) | ValueKind::Python(_)
    )
}

fn text(flag: &str, value: &Value, kind: Option<&ValueKind>, locked: &Locked) -> String {
    let python = match kind {
        Some(kind) => matches!(kind, ValueKind::Python(_)),
        // As read in 0.8.5.post1.
        None => flag == "compilation-config" && !since(&locked.version, SERVE_SINCE),
    };
    match value {
        Value::Table(_) | Value::Array(_) if python => literal(&json(value)),
        value => argument(value),
    }
}

/// JSON as a Python literal, which `ast.literal_eval` reads.
fn literal(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "None".to_owned(),
        serde_json::Value::Bool(true) => "True".to_owned(),
        serde_json::Value::Bool(false) => "False".to_owned(),
        serde_json::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(literal).collect();
            format!("[{}]", items.join(", "))
        }
        serde_json::Value::Object(fields) => {
            let field = |(name, value): (&String, _)| {
                format!("{}: {}", serde_json::Value::from(name.as_str()), literal(value))
            };
            let fields: Vec<String> = fields.iter().map(field).collect();
            format!("{{{}}}", fields.join(", "))
        }
        // JSON's escapes are Python's, but for half of a surrogate pair, which TOML has not.
        other => other.to_string(),
    }
}
