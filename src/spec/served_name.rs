//! `serve.served-name`: what requests call a model.

use std::fmt;

use super::model_file::{WORD, in_word};
use super::table::Table;
use super::value::quoted;
use crate::engine::Engine;

/// What requests may call a model: one name or more, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedNames {
    first: String,
    others: Vec<String>,
}

/// What stands between names where they are written as one text; no name holds it.
const BETWEEN: &str = ", ";

impl ServedNames {
    fn new(names: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut names = names.into_iter();
        let first = names.next()?;
        Some(Self { first, others: names.collect() })
    }

    /// The name that goatbuild itself asks by, and hands on to gateways.
    pub fn first(&self) -> &str {
        &self.first
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.first).chain(&self.others).map(String::as_str)
    }

    /// The first of the names in a text that [`Self`] was written as.
    pub fn first_of(written: &str) -> &str {
        written.split(BETWEEN).next().unwrap_or(written)
    }
}

impl fmt::Display for ServedNames {
    /// As keys have it: one name is that name.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().collect();
        formatter.write_str(&names.join(BETWEEN))
    }
}

/// Reads `served-name`, a text or a list.
///
/// Without it a model has its own name, and the hub's id before that where the engine answers to
/// several: that is what clients call a model which nobody gave another name.
pub(super) fn served_names(
    table: &mut Table<'_, '_>,
    model: &str,
    engine: Option<&dyn Engine>,
    repository: Option<&str>,
) -> Option<ServedNames> {
    const KEY: &str = "served-name";
    let takes_several = engine.is_none_or(Engine::takes_several_names);
    let written = table.string_or_strings(KEY);
    if !table.has(KEY) {
        let repository = repository.filter(|_| takes_several);
        let names: Vec<&str> = repository.into_iter().chain([model]).collect();
        table.built_in(KEY, || match &names[..] {
            [name] => quoted(name),
            names => {
                format!("[{}]", names.iter().copied().map(quoted).collect::<Vec<_>>().join(BETWEEN))
            }
        });
        return ServedNames::new(names.into_iter().map(str::to_owned));
    }
    let (names, spot) = written?;
    if names.is_empty() {
        table.bad(KEY, "empty", "a name, or a list of names", &spot);
    }
    let mut is_right = true;
    for (at, name) in names.iter().enumerate() {
        let is_word = !name.value.is_empty() && name.value.bytes().all(in_word);
        let expected = if !is_word {
            WORD
        } else if name.value.starts_with('-') {
            "no `-` at its beginning: command lines would take it for a flag"
        } else if names[..at].iter().any(|before| before.value == name.value) {
            "each name once"
        } else if at > 0 && !takes_several {
            "one name: the engine answers to no other"
        } else {
            continue;
        };
        is_right = false;
        table.bad(KEY, &quoted(name.value), expected, &name.spot);
    }
    let names = names.into_iter().map(|name| name.value.to_owned());
    ServedNames::new(names).filter(|_| is_right)
}
