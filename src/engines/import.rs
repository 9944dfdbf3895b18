//! Command lines of servers that no engine here is for, as the engine `command` has them.

use crate::engine::{Written, WrittenKey, WrittenWord};

/// What such servers are started by, a program or a module of Python's, and whether they listen where
/// `--host` and `--port` say.
const SERVERS: [(&str, bool); 7] = [
    ("sglang.launch_server", true),
    ("sglang", true),
    ("llama-server", true),
    ("trtllm-serve", true),
    ("aphrodite", true),
    ("text-generation-launcher", false),
    ("lmdeploy", false),
];

/// The flags that say what is served.
const MODEL: [&str; 5] = ["--model-path", "--model", "--model-id", "-m", "--hf-repo"];

/// The flags that say where a server listens.
const HOST: [&str; 3] = ["--host", "--hostname", "--server-name"];
const PORT: [&str; 3] = ["--port", "-p", "--server-port"];

/// Words that servers have before the one that says what is served.
const VERBS: [&str; 4] = ["serve", "run", "api_server", "launch"];

/// Takes a whole command line over; nothing when it starts none of [`SERVERS`].
pub(super) fn written_out(words: &[WrittenWord]) -> Option<Written> {
    let starts = |word: &WrittenWord| {
        let word = word.text.as_deref().unwrap_or_default();
        let word = word.rsplit('/').next().unwrap_or(word);
        SERVERS.iter().find(|(name, _)| *name == word).map(|(_, listens)| *listens)
    };
    let (at, listens) =
        words.iter().take(8).enumerate().find_map(|(at, it)| Some((at, starts(it)?)))?;
    let mut written = Written::default();
    let mut flag: Option<&str> = None;
    for (place, word) in words.iter().enumerate() {
        let inline = word.text.as_deref().and_then(|text| text.split_once('='));
        let (name, value) = match (inline, flag) {
            (Some((name, value)), _) if name.starts_with('-') => (Some(name), Some(value)),
            (_, name) => (name, word.text.as_deref()),
        };
        let is_flag = word.text.as_deref().is_some_and(|text| text.starts_with('-'));
        flag = if is_flag && inline.is_none() { word.text.as_deref() } else { None };
        let stands_for = match (name, value) {
            _ if place <= at || (is_flag && inline.is_none()) => None,
            (Some(name), _) if HOST.contains(&name) => Some("{host}"),
            (Some(name), _) if PORT.contains(&name) => Some("{port}"),
            (Some(name), Some(value)) if MODEL.contains(&name) => {
                written.model = Some((value.to_owned(), word.line));
                Some("{model}")
            }
            // `sglang serve MODEL` and the like.
            (None, Some(value)) if written.model.is_none() && !VERBS.contains(&value) => {
                written.model = Some((value.to_owned(), word.line));
                Some("{model}")
            }
            (Some("--served-model-name"), Some(value)) => {
                written.served_names = vec![value.to_owned()];
                None
            }
            (
                Some("--tp" | "--tp-size" | "--tensor-parallel-size" | "--num-shard"),
                Some(value),
            ) => {
                written.spread = value.parse().ok().map(|number| (number, word.line));
                None
            }
            (Some("--api-key"), _) => {
                let key = match &word.variable {
                    Some(variable) if word.text.is_none() => WrittenKey::Variable(variable.clone()),
                    _ => WrittenKey::Literal,
                };
                written.key = Some((key, word.line));
                if inline.is_none() {
                    written.command.pop();
                }
                continue;
            }
            _ => None,
        };
        match (stands_for, &word.text) {
            (Some(stands_for), _) if inline.is_some() => {
                written.command.push(format!("{}={stands_for}", name.unwrap_or_default()));
            }
            (Some(stands_for), _) => written.command.push(stands_for.to_owned()),
            (None, Some(text)) if !word.is_secret => written.command.push(text.clone()),
            (None, _) => {
                let why = "a word of the command line is missing: only a run would tell it, or it is \
                           a key";
                written.lost.push((word.line, why.to_owned()));
            }
        }
    }
    for (flag, value) in [("--host", "{host}"), ("--port", "{port}")] {
        if listens && !written.command.iter().any(|word| word.contains(value)) {
            written.command.extend([flag, value].map(str::to_owned));
        }
    }
    Some(written)
}
