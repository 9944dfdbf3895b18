//! vLLM's flags that name repositories on a hub, which it would fetch as it starts.
//!
//! Read from `vllm/engine/arg_utils.py`, `vllm/entrypoints/openai/cli_args.py` and
//! `vllm/config` of 0.8.5.post1 and 0.13.0, and held against the flags of later versions
//! (`tests/data`). An adapter's path is handed to `snapshot_download` unless it is absolute or there
//! (`get_adapter_absolute_path` in `vllm/lora/utils.py`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::super::json;
use super::{is_on, problem};
use crate::engine::{Adapter, Fetched, FlagProblem, Named, Warning};
use crate::spec::{FlagValue, Model, Value, hub_reference};

/// Small weights that are added to those of the model, by a name for each.
pub(super) const ADAPTERS: &str = "lora-modules";

/// Flags whose value is a repository, with the flag that holds its revision; whether no weights are
/// read of it; and the words that mean something else.
const PLAIN: [(&str, Option<&str>, bool, &[&str]); 5] = [
    ("tokenizer", Some("tokenizer-revision"), true, &[]),
    ("hf-config-path", None, true, &[]),
    ("generation-config", None, true, &["auto", "vllm"]),
    ("spec-model", None, false, DRAFTLESS),
    ("qlora-adapter-name-or-path", None, false, &[]),
];

/// What a draft may be that is no model.
const DRAFTLESS: &[&str] = &["ngram", "[ngram]"];

/// What `extra-args` can't name a repository by: it would be fetched from a hub that the server can't
/// reach.
pub(super) const LOCKED: [&str; 9] = [
    "tokenizer",
    "hf-config-path",
    "generation-config",
    "spec-model",
    "qlora-adapter-name-or-path",
    "speculative-config",
    ADAPTERS,
    "prompt-adapters",
    "default-mm-loras",
];

/// A value that names a repository.
struct Found<'a> {
    flag: &'a str,
    text: &'a str,
    revision: Option<&'a str>,
    is_small: bool,
}

/// Says where a repository lies, if it was fetched.
type Lies<'l, 'f> = dyn FnMut(&Found<'_>) -> Option<&'f Fetched> + 'l;

/// What the flags name.
pub(super) fn named(flags: &BTreeMap<String, FlagValue>) -> Vec<Named> {
    let mut named = Vec::new();
    walk(&mut plain(flags), &mut |found| {
        named.push(Named {
            flag: found.flag.to_owned(),
            text: found.text.to_owned(),
            revision: found.revision.map(str::to_owned),
            is_small: found.is_small,
        });
        None
    });
    named
}

/// Whether a value that a flag has on a command line names a repository.
pub(super) fn names(flag: &str, value: &str) -> bool {
    !written(flag, value).is_empty()
}

/// What such a value names that is neither a repository nor a path in the image.
pub(super) fn unknown(flag: &str, value: &str) -> Option<String> {
    written(flag, value).into_iter().find(|text| hub_reference(text).is_none())
}

fn written(flag: &str, value: &str) -> Vec<String> {
    let mut flags = BTreeMap::from([(flag.to_owned(), Value::String(value.to_owned()))]);
    let mut texts = Vec::new();
    walk(&mut flags, &mut |found| {
        texts.push(found.text.to_owned());
        None
    });
    texts
}

/// The flags with paths in place of what they name.
pub(super) fn rewritten(
    flags: &BTreeMap<String, FlagValue>,
    fetched: &BTreeMap<String, Fetched>,
) -> BTreeMap<String, Value> {
    let mut values = plain(flags);
    walk(&mut values, &mut |found| fetched.get(found.flag));
    values
}

fn plain(flags: &BTreeMap<String, FlagValue>) -> BTreeMap<String, Value> {
    flags.iter().map(|(flag, value)| (flag.clone(), value.value.clone())).collect()
}

/// Goes to each value that names a repository, and puts the path of what was fetched there.
fn walk(flags: &mut BTreeMap<String, Value>, lies: &mut Lies<'_, '_>) {
    for (flag, revision_flag, is_small, words) in PLAIN {
        let Some(Value::String(text)) = flags.get(flag) else { continue };
        if !is_elsewhere(text) || words.contains(&text.as_str()) {
            continue;
        }
        let revision = match revision_flag.and_then(|flag| flags.get(flag)) {
            Some(Value::String(revision)) => Some(revision.as_str()),
            _ => None,
        };
        if let Some(Fetched { path, commit }) = lies(&Found { flag, text, revision, is_small }) {
            flags.insert(flag.to_owned(), Value::String(path.clone()));
            if let Some(flag) = revision_flag.filter(|flag| flags.contains_key(*flag)) {
                flags.insert(flag.to_owned(), Value::String(commit.clone()));
            }
        }
    }
    if let Some(config) = flags.get_mut("speculative-config") {
        in_object(config, "speculative-config.model", "model", DRAFTLESS, lies);
    }
    if let Some(adapters) = flags.get_mut(ADAPTERS) {
        each(adapters, &mut |adapter| adapter_path(adapter, ADAPTERS, lies));
    }
    if let Some(adapters) = flags.get_mut("prompt-adapters") {
        each(adapters, &mut |adapter| adapter_path(adapter, "prompt-adapters", lies));
    }
    if let Some(adapters) = flags.get_mut("default-mm-loras")
        && let Some(fields) = fields(adapters)
    {
        for kind in fields.keys() {
            in_object(adapters, &format!("default-mm-loras.{kind}"), kind, &[], lies);
        }
    }
}

/// One of several values, or the only one.
fn each(value: &mut Value, look: &mut dyn FnMut(&mut Value)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(look),
        one => look(one),
    }
}

/// The path of an adapter: `name=path` unless there is a comma in it, which makes it JSON to vLLM.
fn adapter_path(adapter: &mut Value, flag: &str, lies: &mut Lies<'_, '_>) {
    let Some(name) = adapter_name(adapter) else { return };
    let flag = format!("{flag}.{name}");
    let Value::String(text) = adapter else {
        return in_object(adapter, &flag, "path", &[], lies);
    };
    let Some((name, path)) = short_form(text) else {
        return in_object(adapter, &flag, "path", &[], lies);
    };
    let found = Found { flag: &flag, text: path, revision: None, is_small: false };
    if let Some(fetched) = is_elsewhere(path).then(|| lies(&found)).flatten() {
        *text = format!("{name}={}", fetched.path);
    }
}

/// A field of an object that names a repository, with a revision beside it.
fn in_object(value: &mut Value, flag: &str, field: &str, words: &[&str], lies: &mut Lies<'_, '_>) {
    let Some(mut object) = fields(value) else { return };
    let Some(Json::String(text)) = object.get(field) else { return };
    if !is_elsewhere(text) || words.contains(&text.as_str()) {
        return;
    }
    let revision = object.get("revision").and_then(Json::as_str);
    if let Some(Fetched { path, commit }) = lies(&Found { flag, text, revision, is_small: false }) {
        object.insert(field.to_owned(), path.as_str().into());
        if object.contains_key("revision") {
            object.insert("revision".to_owned(), commit.as_str().into());
        }
        *value = Value::String(Json::Object(object).to_string());
    }
}

/// The fields of a table, or of JSON that is written as text.
fn fields(value: &Value) -> Option<serde_json::Map<String, Json>> {
    let object = match value {
        Value::Table(_) => json(value),
        Value::String(text) => serde_json::from_str(text).ok()?,
        _ => return None,
    };
    match object {
        Json::Object(fields) => Some(fields),
        _ => None,
    }
}

/// `name=path`, as vLLM tells it from JSON.
fn short_form(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').filter(|_| !text.contains(','))
}

fn adapter_name(adapter: &Value) -> Option<String> {
    if let Value::String(text) = adapter
        && let Some((name, _)) = short_form(text)
    {
        return Some(name.to_owned());
    }
    Some(fields(adapter)?.get("name")?.as_str()?.to_owned())
}

/// Whether a text is no path in the image and no address: vLLM looks for it on the hub.
fn is_elsewhere(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(['/', '~']) && !text.contains("://")
}

/// The adapters that a server with these flags answers to.
pub(super) fn adapters(flags: &BTreeMap<String, FlagValue>) -> Vec<Adapter> {
    let mut adapters = Vec::new();
    if let Some(mut value) = flags.get(ADAPTERS).map(|flag| flag.value.clone()) {
        each(&mut value, &mut |adapter| {
            let adapter = adapter_name(adapter).map(|name| Adapter { name, flag: ADAPTERS });
            adapters.extend(adapter);
        });
    }
    adapters
}

/// What in the flags names nothing that could be had.
pub(super) fn problems(model: &Model) -> Vec<FlagProblem> {
    let flags = &model.engine.flags;
    let mut problems = Vec::new();
    for named in named(flags) {
        let Named { flag, text, revision, .. } = named;
        match hub_reference(&text) {
            None => problems.push(problem(
                &flag,
                format!("`{text}` is neither a repository on the hub nor a path in the image"),
                "the hub wants `owner/name` (such as `openai-community/gpt2`), perhaps with \
                 `@revision`: that is locked and fetched beforehand; or write an absolute path",
            )),
            Some((_, Some(behind))) if revision.as_ref().is_some_and(|it| it != behind) => {
                problems.push(problem(
                    &flag,
                    format!("`{text}` names one revision, and the one beside it is another"),
                    "write one of them",
                ));
            }
            Some(_) => {}
        }
    }
    if flags.contains_key("tokenizer-revision") && !flags.contains_key("tokenizer") {
        problems.push(problem(
            "tokenizer-revision",
            "`tokenizer-revision` without `tokenizer` changes nothing: vLLM reads the weights' own \
             tokenizer, which has one commit"
                .to_owned(),
            "write the repository in `tokenizer`, too, or remove it",
        ));
    }
    problems.extend(adapter_problems(model));
    problems
}

fn adapter_problems(model: &Model) -> Vec<FlagProblem> {
    let Some(mut value) = model.engine.flags.get(ADAPTERS).map(|flag| flag.value.clone()) else {
        return Vec::new();
    };
    let (mut problems, mut names) = (Vec::new(), BTreeSet::new());
    each(&mut value, &mut |adapter| {
        let shown = json(adapter).to_string();
        let is_one = match adapter_name(adapter) {
            Some(name) => {
                let has_path =
                    fields(adapter).is_none_or(|it| it.get("path").is_some_and(Json::is_string));
                let is_word = !name.is_empty() && name.bytes().all(is_in_name);
                if is_word && has_path && !names.insert(name.clone()) {
                    problems.push(problem(
                        ADAPTERS,
                        format!("two adapters are called `{name}`"),
                        "requests choose one by its name",
                    ));
                }
                is_word && has_path
            }
            None => false,
        };
        if !is_one {
            problems.push(problem(
                ADAPTERS,
                format!("{shown} is no adapter"),
                "write \"name=organisation/repository\", or { name = \"…\", path = \"…\" }; names \
                 are of letters, digits and -_.:@+",
            ));
        }
    });
    problems
}

/// Names become those of gateway entries.
fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:@+".contains(&byte)
}

/// That adapters alone switch nothing on.
pub(super) fn warning(model: &Model) -> Option<Warning> {
    let is_off = model.engine.flags.contains_key(ADAPTERS) && !is_on(model, "enable-lora");
    is_off.then(|| Warning {
        message: format!("`{ADAPTERS}` without `enable-lora`: vLLM refuses to load adapters"),
        help: "set `enable-lora = true` in [engine]".to_owned(),
    })
}
