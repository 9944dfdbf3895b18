//! What serves a model: `[engine]`.

use std::collections::BTreeMap;

use super::context::Text;
use super::problem::Problem;
use super::source::Place;
use super::table::Table;
use super::value::{FlagValue, quoted};
use crate::engine::Engines;

/// `[engine]`: what serves the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Engine {
    /// Which engine.
    pub kind: &'static dyn crate::engine::Engine,
    /// The engine's own flags, as written; not checked yet. Empty for one that is written out.
    pub flags: BTreeMap<String, FlagValue>,
    /// What is put at the end of its command line as it is. Empty for one that is written out.
    pub extra_args: Vec<ExtraArg>,
    /// There exactly when the engine is written out.
    pub command: Option<CommandEngine>,
}

/// An argument that only the engine itself checks. Equal to another when the texts are.
#[derive(Debug, Clone)]
pub struct ExtraArg {
    /// The argument.
    pub text: String,
    /// Where it is written.
    pub place: Place,
}

impl PartialEq for ExtraArg {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// What `[engine]` says when the engine is written out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandEngine {
    /// The program and its arguments; `{host}`, `{port}` and `{model}` stand for what they say.
    pub command: Vec<String>,
    /// The path that answers 200 once the server is up.
    pub health: String,
    /// Whether it compiles at start, so that a warm-up pays.
    pub compiles: bool,
}

/// Reads `[engine]`.
pub(super) fn engine(mut table: Table<'_, '_>, engines: Engines) -> Option<Engine> {
    let names: Vec<_> = engines.iter().map(|engine| (engine.name(), engine)).collect();
    let kind = table.choice("name", &names);
    if !kind.is_written_out() {
        let texts = table.strings("extra-args").map(|(texts, _)| texts).unwrap_or_default();
        let extra_arg =
            |text: Text<'_>| ExtraArg { text: text.value.to_owned(), place: text.spot.place() };
        let extra_args = texts.into_iter().map(extra_arg).collect();
        let flags = table.flags();
        return Some(Engine { kind, flags, extra_args, command: None });
    }
    if table.has("extra-args") {
        table.strings("extra-args");
        let message = format!("the engine `{}` has no `extra-args`", kind.name());
        let help = "write them into `command`: it is the whole command line".to_owned();
        let spot = table.spot_of("extra-args");
        table.report(Problem::Flag { message, help }, &spot);
    }
    let command = table.strings("command");
    let example = "command = [\"python\", \"serve.py\", \"--port\", \"{port}\"]";
    if !table.has("command") {
        table.missing("command", example);
    }
    let command = command.and_then(|(texts, spot)| {
        if texts.is_empty() {
            table.bad("command", "empty", &format!("something like {example}"), &spot);
            return None;
        }
        Some(texts.into_iter().map(|text| text.value.to_owned()).collect())
    });
    let health = table.string("health");
    let health = health.filter(|text| {
        text.value.starts_with('/') || {
            table.bad("health", &quoted(text.value), "a path like \"/health\"", &text.spot);
            false
        }
    });
    if !table.has("health") {
        table.built_in("health", || quoted("/health"));
    }
    let health = health.map_or("/health", |text| text.value).to_owned();
    let compiles = table.boolean("compiles", false);
    table.finish();
    let command = Some(CommandEngine { command: command?, health, compiles });
    Some(Engine { kind, flags: BTreeMap::new(), extra_args: Vec::new(), command })
}
