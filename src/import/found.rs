//! A deployment as a script describes it, in a project's own words.

use std::collections::BTreeMap;

use super::reading::Reading;
use super::secrets::Secrets;
use super::texts;
use super::value::{Value, What};
use crate::engine::{Written, WrittenWord};

/// What a spec and an image would say of something that a script deploys.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The script.
    pub script: String,
    /// The row of its dictionary of models.
    pub row: Option<String>,
    /// The app that it is part of.
    pub app: Option<String>,
    /// The function of the app that serves.
    pub function: String,
    /// The target, as specs name it.
    pub target: &'static str,
    /// `[target.NAME]`: what of it the script says.
    pub settings: toml::Table,
    /// The image.
    pub image: FoundImage,
    /// `[hardware]`.
    pub hardware: toml::Table,
    /// `[serve]`.
    pub serve: toml::Table,
    /// Volumes: where they are mounted, and what the target calls them.
    pub volumes: Vec<(String, String)>,
    /// The engine that serves, as specs name it.
    pub engine: &'static str,
    /// The variable in which that engine finds a key.
    pub key_variable: Option<&'static str>,
    /// What it is started with.
    pub written: Written,
    /// What the model is, where the command line doesn't say.
    pub weights: Option<String>,
    /// How the labels begin under which it may answer.
    pub labels: Vec<String>,
    /// The line that each field comes from, by its path: `serve.region`, say.
    pub lines: BTreeMap<String, usize>,
    /// What is to be said of the script's lines.
    pub remarks: Remarks,
}

impl Found {
    /// Notes the line that a field comes from.
    pub fn comes_from(&mut self, line: usize, field: impl Into<String>) {
        self.lines.insert(field.into(), line);
    }
}

/// What an image's file would say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FoundImage {
    /// The name that the script has for it.
    pub name: Option<String>,
    /// `base`.
    pub base: Option<toml::Value>,
    /// `python`.
    pub python: Option<String>,
    /// `requirements`.
    pub requirements: Vec<String>,
    /// `env`.
    pub environment: toml::Table,
}

/// What is to be said of a line of a script.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// The script.
    pub script: String,
    /// The line, counted from 1; 0 where it is about no line.
    pub line: usize,
    /// The line's text, without keys and tokens.
    pub text: String,
    /// What isn't carried over and why; or what would be better.
    pub why: String,
}

/// What is to be said of a script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Lines that aren't carried over, as they are or at all.
    pub lost: Vec<(usize, String)>,
    /// What would be better otherwise.
    pub better: Vec<(usize, String)>,
}

impl Remarks {
    /// Says of a line that it isn't carried over.
    pub fn lose(&mut self, line: usize, why: impl Into<String>) {
        self.lost.push((line, why.into()));
    }

    /// Says of a line what would be better.
    pub fn suggest(&mut self, line: usize, what: impl Into<String>) {
        self.better.push((line, what.into()));
    }
}

/// A word of a command line, as an engine reads it.
pub type Word = WrittenWord;

/// The words of a command line: of a list, or of a text that a shell splits.
pub fn words(value: &Value, secrets: &Secrets) -> Vec<Word> {
    match &value.what {
        What::List(items) => {
            items.iter().flat_map(|item| told(item, item.written(), secrets)).collect()
        }
        What::Joined(items) => {
            // A shell splits what was joined.
            let text: Vec<String> = items.iter().map(Value::written).collect();
            let split = texts::words(&text.join(" "));
            // Each comes from the first item that holds it.
            let mut from = 0;
            let of = |text: String| {
                let holds = |item: &Value| texts::words(&item.written()).contains(&text);
                let at = items[from..].iter().position(holds).map_or(from, |at| from + at);
                from = at;
                let item = items.get(at).unwrap_or(value);
                told(item, text, secrets)
            };
            split.into_iter().flat_map(of).collect()
        }
        What::Text(text) => {
            let of = |text| told(value, text, secrets);
            let mut words: Vec<Word> = texts::words(text).into_iter().flat_map(of).collect();
            // `sh -c 'vllm serve …'`
            let shell = words.iter().position(|it| it.text.as_deref() == Some("-c"));
            if let Some(at) = shell
                && let Some(inner) = words.get(at + 1).and_then(|it| it.text.clone())
            {
                words = texts::words(&inner).into_iter().flat_map(of).collect();
            }
            words
        }
        _ => Vec::new(),
    }
}

/// One word, or a flag and its value where only a run would tell that.
fn told(from: &Value, text: String, secrets: &Secrets) -> Vec<Word> {
    match text.split_once('=') {
        Some((flag, rest))
            if flag.starts_with('-') && !texts::has_gap(flag) && texts::has_gap(rest) =>
        {
            vec![word(from, flag.to_owned(), secrets), word(from, rest.to_owned(), secrets)]
        }
        _ => vec![word(from, text, secrets)],
    }
}

/// One word; a shell's variable is one, too.
fn word(from: &Value, text: String, secrets: &Secrets) -> Word {
    let shell = texts::shell_variable(&text).map(str::to_owned);
    let is_known = !texts::has_gap(&text) && shell.is_none();
    let variable = shell.or_else(|| from.variable.clone());
    Word {
        is_secret: is_known && secrets.has(&text),
        text: is_known.then_some(text),
        variable,
        line: from.line,
    }
}

impl Reading {
    /// The word that a value is by itself.
    pub fn word(&self, value: &Value) -> Word {
        match &value.what {
            What::None | What::Boolean(_) | What::Integer(_) | What::Float(_) | What::Text(_) => {
                word(value, value.written(), &self.secrets)
            }
            _ => match super::json(value) {
                Some(json) => word(value, json.to_string(), &self.secrets),
                None => Word { text: None, ..word(value, String::new(), &self.secrets) },
            },
        }
    }
}
