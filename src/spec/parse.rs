//! From the text of one file to its TOML, and the name that the file itself gives.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::context::Context;
use super::name::NotAName;
use super::problem::{Problem, SpecError};
use super::source::{Place, SourceFile};
use super::value;

pub(super) fn stem(file: &SourceFile) -> Option<&str> {
    file.path.file_stem()?.to_str()
}

/// The name that a file's own name gives.
pub(super) fn file_name<N>(
    file: &Arc<SourceFile>,
    kind: &'static str,
    name: fn(&str) -> Result<N, NotAName>,
    context: &Context,
) -> Option<N> {
    match name(stem(file).unwrap_or_default()) {
        Ok(name) => Some(name),
        Err(error) => {
            let text = file.path.file_stem().map_or(file.path.as_path(), Path::new);
            let name = text.display().to_string();
            let problem = Problem::BadName { kind, name, expected: error.expected };
            context.push(SpecError::new(problem, Place::new(Arc::clone(file), 0..0)));
            None
        }
    }
}

pub(super) fn parse<'a>(
    source: &'a SourceFile,
    file: &Arc<SourceFile>,
    context: &Context,
) -> Option<Spanned<DeTable<'a>>> {
    match DeTable::parse(&source.text) {
        Ok(tree) => Some(tree),
        Err(error) => {
            let message = error.message().to_owned();
            let place = Place::new(Arc::clone(file), error.span().unwrap_or(0..0));
            context.push(SpecError::new(Problem::Syntax { message }, place));
            None
        }
    }
}

/// Reads around what is no TOML.
#[expect(clippy::unnecessary_wraps, reason = "it stands in for `parse`")]
pub(super) fn parse_what_can_be<'a>(
    source: &'a SourceFile,
    file: &Arc<SourceFile>,
    context: &Context,
) -> Option<Spanned<DeTable<'a>>> {
    let (tree, errors) = DeTable::parse_recoverable(&source.text);
    for error in errors {
        let message = error.message().to_owned();
        let place = Place::new(Arc::clone(file), error.span().unwrap_or(0..0));
        context.push(SpecError::new(Problem::Syntax { message }, place));
    }
    Some(tree)
}

pub(super) fn collect_paths(table: &DeTable<'_>, above: &str, paths: &mut BTreeSet<String>) {
    for (key, found) in table {
        let path = format!("{above}{}", value::key_text(key.get_ref()));
        if let DeValue::Table(table) = found.get_ref() {
            collect_paths(table, &format!("{path}."), paths);
        }
        paths.insert(path);
    }
}
