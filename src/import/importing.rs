//! What a project is made of, and what comes of it: values.

use std::collections::BTreeMap;

use super::found::{Found, Remark};
use crate::engine::Cache;

/// What the files are made of.
#[derive(Debug)]
pub struct Importing<'a> {
    /// The project's id.
    pub id: &'a str,
    /// What scripts deploy.
    pub found: Vec<Found>,
    /// The gateway's file, and how a project's file names it.
    pub gateway: Option<Led<'a>>,
    /// GPUs, with their memory in GiB.
    pub gpus: Vec<(&'static str, f64)>,
    /// The volumes of engines, and where they are mounted.
    pub caches: Vec<Cache>,
    /// The engine of a spec that names none.
    pub default_engine: &'static str,
}

/// The entries of a gateway's file.
#[derive(Debug, Clone)]
pub struct Led<'a> {
    /// The file.
    pub path: &'a str,
    /// What a project's file says of it; nothing where it isn't in the project.
    pub setting: Option<String>,
    /// The entries.
    pub entries: Vec<LedEntry>,
}

/// An entry of a gateway's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedEntry {
    /// The line it begins in, counted from 1.
    pub line: usize,
    /// What clients ask for.
    pub alias: String,
    /// What the server is asked for.
    pub model: String,
    /// Where the server is, unless a variable says it.
    pub url: Option<String>,
    /// The variable that holds the key; nothing where it is written out, or there is none.
    pub key: Option<String>,
}

/// Files to write, and what is to be said.
#[derive(Debug, Default)]
pub struct Files {
    /// Paths below the project's directory, with their texts; the project's own file is the last.
    pub files: Vec<(String, String)>,
    /// Where the fields of each file come from.
    pub origins: BTreeMap<String, BTreeMap<String, (String, usize)>>,
    /// What isn't carried over.
    pub lost: Vec<Remark>,
    /// What would be better otherwise.
    pub better: Vec<Remark>,
}

/// The script and the line that each field of a file comes from, by its path; what has none is the
/// file's, whose path is empty.
pub(super) type Origins = BTreeMap<String, (String, usize)>;

impl Files {
    /// Where a field comes from, or what it is part of.
    pub fn origin(&self, file: &str, field: &[&str]) -> (String, usize) {
        let origins = self.origins.get(file);
        let mut longest = (0..=field.len()).rev().map(|length| field[..length].join("."));
        let found = longest.find_map(|path| origins?.get(&path));
        found.cloned().unwrap_or_else(|| (file.to_owned(), 0))
    }
}

/// Says something of a line.
pub(super) fn say(remarks: &mut Vec<Remark>, script: &str, line: usize, why: String) {
    remarks.push(Remark { script: script.to_owned(), line, text: String::new(), why });
}
