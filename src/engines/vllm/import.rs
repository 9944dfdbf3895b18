//! A command line of vLLM's that somebody else wrote → what a spec says.

use super::check::is_ours;
use super::command::PROGRAM;
use super::hub;
use crate::engine::{Written, WrittenKey, WrittenWord};
use crate::spec::hub_reference;

/// Switches that end in no way that tells them from flags with a value.
const SWITCHES: [&str; 12] = [
    "async-scheduling",
    "calculate-kv-scales",
    "enforce-eager",
    "headless",
    "language-model-only",
    "return-tokens-as-token-ids",
    "skip-mm-profiling",
    "skip-tokenizer-init",
    "trust-remote-code",
    "trust-request-chat-template",
    "use-tqdm-on-load",
    "use-v2-block-manager",
];

/// Short forms of flags.
const SHORT: [(&str, &str); 6] = [
    ("tp", "tensor-parallel-size"),
    ("pp", "pipeline-parallel-size"),
    ("dp", "data-parallel-size"),
    ("sc", "speculative-config"),
    ("q", "quantization"),
    ("cc", "compilation-config"),
];

/// Flags that goatbuild sets in its own way, whatever they were.
const LEFT_OUT: [(&str, &str); 7] = [
    ("host", "the target decides where it listens"),
    ("port", "the target decides where it listens"),
    ("uds", "the target decides where it listens"),
    ("download-dir", "weights are read from the volume `model-cache`"),
    ("hf-token", "weights are fetched beforehand, and the server needs no token"),
    ("config", "what is in that file has to be written into [engine]: a plan sees it there"),
    ("headless", "a server without an API can't be tried out"),
];

/// Reads the line; nothing when it doesn't start vLLM.
pub(super) fn line(words: &[WrittenWord]) -> Option<Written> {
    let text = |at: usize| words.get(at).and_then(|word| word.text.as_deref());
    let is_program = |word: &str, name: &str| word == name || word.ends_with(&format!("/{name}"));
    let at = (0..words.len().min(12)).find_map(|at| match (text(at)?, text(at + 1)) {
        (program, Some("serve")) if is_program(program, "vllm") => Some(at + 2),
        ("-m", Some(module)) if module == PROGRAM || module.starts_with("vllm.entrypoints.") => {
            Some(at + 2)
        }
        _ => None,
    })?;
    let mut written = Written::default();
    if words[..at].iter().any(|word| word.text.as_deref() == Some("vllm.entrypoints.api_server")) {
        let why = "that server speaks no OpenAI API; goatbuild starts the one that does";
        written.lost.push((words[0].line, why.to_owned()));
    }
    let rest = &words[at..];
    let mut at = 0;
    let mut values: Vec<&WrittenWord> = Vec::new();
    while at < rest.len() {
        let word = &rest[at];
        at += 1;
        let Some((name, inline)) = word.text.as_deref().and_then(flag) else {
            values.push(word);
            continue;
        };
        let from = at;
        if inline.is_none() && !is_switch(&name) {
            at += rest[at..].iter().take_while(|it| !is_flag(it)).count();
        }
        let mut own: Vec<WrittenWord> = rest[from..at].to_vec();
        own.extend(inline.map(|text| WrittenWord { text: Some(text), ..word.clone() }));
        // The model may stand behind a flag with one value.
        let takes_one = !["served-model-name", "lora-modules", "middleware"].contains(&&*name);
        if own.len() > 1
            && takes_one
            && values.is_empty()
            && own.last().and_then(|it| it.text.as_deref()).is_some_and(|it| it.contains('/'))
        {
            values.extend(rest[..at].last());
            own.pop();
        }
        set(&mut written, &name, &own, word.line);
    }
    match values.first() {
        Some(WrittenWord { text: Some(text), line, .. }) => {
            written.model = Some((text.clone(), *line));
        }
        Some(word) => {
            let why = "only a run would tell which model that is".to_owned();
            written.lost.push((word.line, why));
        }
        None => {}
    }
    for more in values.iter().skip(1) {
        let why = match more.text {
            Some(_) => "no flag takes that word",
            None => "only a run would tell that word",
        };
        written.lost.push((more.line, why.to_owned()));
    }
    lose_revision(&mut written, words[0].line);
    Some(written)
}

/// Reads `AsyncEngineArgs(…)` and `EngineArgs(…)`, whose names are those of flags.
pub(super) fn call(name: &str, arguments: &[(String, WrittenWord)]) -> Option<Written> {
    if !["AsyncEngineArgs", "EngineArgs"].contains(&name) {
        return None;
    }
    let mut written = Written::default();
    for (name, word) in arguments {
        let name = name.replace('_', "-");
        match (&name[..], word.text.as_deref()) {
            ("model", Some(model)) => written.model = Some((model.to_owned(), word.line)),
            (_, Some("True")) => set(&mut written, &name, &[], word.line),
            (_, Some("False")) => {
                written.flags.insert(name, false.into());
            }
            (_, Some("None")) => {}
            _ => set(&mut written, &name, std::slice::from_ref(word), word.line),
        }
    }
    lose_revision(&mut written, arguments.first().map_or(0, |(_, word)| word.line));
    Some(written)
}

/// Leaves the revision of a tokenizer out that isn't there.
fn lose_revision(written: &mut Written, line: usize) {
    if !written.flags.contains_key("tokenizer")
        && written.flags.remove("tokenizer-revision").is_some()
    {
        let why = "`tokenizer-revision` says nothing without `tokenizer`";
        written.lost.push((line, why.to_owned()));
    }
}

/// The name of a flag, and what stands behind `=`.
fn flag(word: &str) -> Option<(String, Option<String>)> {
    let is_number = word.parse::<f64>().is_ok();
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    let long = name.strip_prefix("--").map(|name| name.replace('_', "-"));
    let short = || {
        let name = name.strip_prefix('-').filter(|_| !is_number)?;
        let long = SHORT.iter().find(|(short, _)| *short == name).map(|(_, long)| *long);
        Some(long.map_or_else(|| format!("-{name}"), str::to_owned))
    };
    let name = long.or_else(short)?;
    (!name.is_empty()).then_some((name, value))
}

fn is_flag(word: &WrittenWord) -> bool {
    word.text.as_deref().is_some_and(|text| flag(text).is_some())
}

fn is_switch(name: &str) -> bool {
    let starts = ["enable-", "disable-", "no-", "allow-credentials", "exclude-", "-O"];
    let valued = ["disable-log-prefix", "enable-lora-bias", "no-such"];
    SWITCHES.contains(&name)
        || (starts.iter().any(|start| name.starts_with(start)) && !valued.contains(&name))
}

/// Takes a flag with its values over.
fn set(written: &mut Written, name: &str, values: &[WrittenWord], line: usize) {
    let mut lose = |why: &str| written.lost.push((line, why.to_owned()));
    if name == "api-key" {
        let key = match values.first() {
            Some(WrittenWord { text: None, variable: Some(variable), .. }) => {
                WrittenKey::Variable(variable.clone())
            }
            _ => WrittenKey::Literal,
        };
        written.key = Some((key, line));
        return;
    }
    if values.iter().any(|value| value.is_secret) {
        return lose("a key or token is written out: keep it in a secret, and name that");
    }
    if values.iter().any(|value| value.text.is_none()) {
        return lose("only a run would tell the value");
    }
    let texts: Vec<&str> = values.iter().filter_map(|value| value.text.as_deref()).collect();
    written.lines.insert(name.strip_prefix("no-").unwrap_or(name).to_owned(), line);
    if let Some((_, why)) = LEFT_OUT.iter().find(|(flag, _)| *flag == name) {
        // Where it listens is nobody's loss.
        if !["host", "port", "download-dir"].contains(&name) {
            lose(why);
        }
        return;
    }
    let (unknown, texts): (Vec<&str>, Vec<&str>) =
        texts.into_iter().partition(|text| hub::unknown(name, text).is_some());
    for named in unknown.iter().filter_map(|text| hub::unknown(name, text)) {
        lose(&format!(
            "`{named}` is neither `owner/name` on a hub nor an absolute path: `{name}` can name nothing \
             else"
        ));
    }
    if !unknown.is_empty() && texts.is_empty() {
        return;
    }
    match (name, &texts[..]) {
        ("model" | "model-tag", [model]) => written.model = Some(((*model).to_owned(), line)),
        ("revision", [revision]) => written.revision = Some((*revision).to_owned()),
        ("served-model-name", names) => {
            written.served_names = names.iter().map(|name| (*name).to_owned()).collect();
        }
        ("tensor-parallel-size", [number]) => match number.parse() {
            Ok(number) => written.spread = Some((number, line)),
            Err(_) => lose("that is no number"),
        },
        ("speculative-config", [config]) => draft(written, config),
        (name, _) if is_ours(name) => lose("goatbuild sets that itself"),
        // `-O.level=3`
        (name, [only]) if name.starts_with("-O.") => written.extra.push(format!("{name}={only}")),
        (name, texts) if name.starts_with('-') => {
            written.extra.push(name.to_owned());
            written.extra.extend(texts.iter().map(|text| (*text).to_owned()));
        }
        // `--compilation-config.level=3`
        (name, texts) if name.contains('.') => {
            let text = texts.first().copied().unwrap_or_default();
            let (flag, key) = name.split_once('.').unwrap_or((name, ""));
            if hub::names(flag, &serde_json::json!({ key: text }).to_string()) {
                return lose("what that names on a hub is locked where it is written as JSON");
            }
            let joined = if texts.is_empty() { String::new() } else { format!("={text}") };
            written.extra.push(format!("--{name}{joined}"));
        }
        (name, []) => {
            let (name, on) = match name.strip_prefix("no-") {
                Some(name) => (name, false),
                None => (name, true),
            };
            written.flags.insert(name.to_owned(), on.into());
        }
        (name, [only]) => {
            // A flag that is repeated holds all that it is given.
            let value = value(only);
            match written.flags.remove(name) {
                Some(toml::Value::Array(mut before)) => {
                    before.push(value);
                    written.flags.insert(name.to_owned(), before.into());
                }
                _ => _ = written.flags.insert(name.to_owned(), value),
            }
        }
        (name, texts) => {
            let texts: Vec<toml::Value> = texts.iter().map(|text| value(text)).collect();
            written.flags.insert(name.to_owned(), texts.into());
        }
    }
}

/// The value as a spec has it, which an engine reads as it reads the word.
fn value(text: &str) -> toml::Value {
    if let Ok(number) = text.parse::<i64>()
        && number.to_string() == text
    {
        return number.into();
    }
    // `inf` and `nan` are words.
    let is_number = text.starts_with(|first: char| first.is_ascii_digit() || "-.".contains(first));
    if let (Ok(number), true) = (text.parse::<f64>(), is_number && text.contains(['.', 'e'])) {
        return number.into();
    }
    if text.starts_with(['{', '['])
        && let Ok(json) = serde_json::from_str::<serde_json::Value>(text)
        && let Ok(value) = toml::Value::try_from(&json)
        && !has_null(&json)
    {
        return value;
    }
    text.into()
}

fn has_null(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::Null => true,
        serde_json::Value::Array(items) => items.iter().any(has_null),
        serde_json::Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

/// What is said in `[draft]`, where that says all of it.
fn draft(written: &mut Written, config: &str) {
    let json: Option<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(config).ok();
    let known = ["method", "model", "num_speculative_tokens", "revision"];
    let whole = json.filter(|json| json.keys().all(|key| known.contains(&key.as_str())));
    let read = whole.and_then(|json| {
        let mut draft = toml::Table::new();
        let is_repository = |text: &&str| matches!(hub_reference(text), Some((_, None)));
        let model = json.get("model")?.as_str().filter(is_repository)?;
        draft.insert("source".to_owned(), format!("hf:{model}").into());
        if let Some(revision) = json.get("revision") {
            draft.insert("revision".to_owned(), revision.as_str()?.into());
        }
        draft.insert("method".to_owned(), json.get("method")?.as_str()?.into());
        let tokens = json.get("num_speculative_tokens")?.as_i64()?;
        draft.insert("num-speculative-tokens".to_owned(), tokens.into());
        Some(draft)
    });
    match read {
        Some(draft) => written.draft = draft,
        None => _ = written.flags.insert("speculative-config".to_owned(), value(config)),
    }
}
