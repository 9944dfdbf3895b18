//! A command line that somebody else wrote, and what an engine makes of it.

use std::collections::BTreeMap;

/// A word of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenWord {
    /// What it says; nothing where only a run would tell.
    pub text: Option<String>,
    /// The variable that it comes from, if it comes from one.
    pub variable: Option<String>,
    /// Whether it is a key or a token, which nobody may print.
    pub is_secret: bool,
    /// The line it is written in, counted from 1.
    pub line: usize,
}

/// Where the key of a server comes from that wants one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrittenKey {
    /// A variable.
    Variable(String),
    /// It is written out.
    Literal,
}

/// What a spec would say in place of a command line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Written {
    /// What is served, with the line that says so.
    pub model: Option<(String, usize)>,
    /// Its revision.
    pub revision: Option<String>,
    /// What requests call it.
    pub served_names: Vec<String>,
    /// Over how many GPUs it is spread.
    pub spread: Option<(i64, usize)>,
    /// The key that requests have to have.
    pub key: Option<(WrittenKey, usize)>,
    /// `[draft]`: its fields.
    pub draft: toml::Table,
    /// Flags with their values.
    pub flags: BTreeMap<String, toml::Value>,
    /// `extra-args`: what is handed on unread.
    pub extra: Vec<String>,
    /// `command`, for an engine that is written out.
    pub command: Vec<String>,
    /// The line that each flag is written in.
    pub lines: BTreeMap<String, usize>,
    /// Lines of which something isn't carried over, and why.
    pub lost: Vec<(usize, String)>,
}
