//! Replacing byte ranges of a text, and the few forms in which we write YAML.

use std::fmt::Write as _;
use std::ops::Range;

use super::Entry;
use super::tree::plain_is_text;

/// Replacements in one text, applied together so that positions never shift.
#[derive(Debug, Default)]
pub(super) struct Splices(Vec<(Range<usize>, String)>);

impl Splices {
    pub(super) fn replace(&mut self, range: Range<usize>, new: impl Into<String>) {
        self.0.push((range, new.into()));
    }

    pub(super) fn insert(&mut self, at: usize, new: impl Into<String>) {
        self.replace(at..at, new);
    }

    pub(super) fn delete(&mut self, range: Range<usize>) {
        self.replace(range, "");
    }

    /// Insertions at one place keep the order in which they were asked for.
    pub(super) fn apply(mut self, text: &str) -> String {
        self.0.sort_by_key(|(range, _)| (range.start, range.end));
        let mut out = String::with_capacity(text.len() + 256);
        let mut copied = 0;
        for (range, new) in self.0 {
            if range.start > copied {
                out.push_str(&text[copied..range.start]);
            }
            out.push_str(&new);
            copied = copied.max(range.end);
        }
        out.push_str(&text[copied..]);
        out
    }
}

/// The first byte of the line that holds `at`.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The first byte of the line behind the one that holds `at`, which may be within a character.
pub(super) fn next_line(text: &str, at: usize) -> usize {
    let newline = text.as_bytes()[at..].iter().position(|byte| *byte == b'\n');
    newline.map_or(text.len(), |newline| at + newline + 1)
}

/// Writes a string in block context: plain where that is safe, otherwise double-quoted.
pub(super) fn scalar(text: &str) -> String {
    let plain = plain_is_text(text)
        && !text.ends_with(':')
        && text.chars().all(|it| it.is_ascii_alphanumeric() || "_./:@+-".contains(it));
    if plain { text.to_owned() } else { quoted(text) }
}

/// Writes a string in double quotes, as JSON and every YAML version read it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ if character.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}

/// Writes a string in the quotes that stood there before.
pub(super) fn scalar_like(text: &str, old: &str) -> String {
    if old.starts_with('"') {
        quoted(text)
    } else if old.starts_with('\'') && !text.chars().any(|it| it.is_control() || it > '~') {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        scalar(text)
    }
}

/// A key of ours and what belongs under it.
#[derive(Debug)]
pub(super) enum Want {
    Text(&'static str, String),
    Mapping(&'static str, Vec<Want>),
}

impl Want {
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Text(key, _) | Self::Mapping(key, _) => key,
        }
    }
}

/// Writes keys as block lines, each with its line break.
pub(super) fn block(wanted: &[&Want], indent: &str, line_break: &str) -> String {
    let mut out = String::new();
    for want in wanted {
        match want {
            Want::Text(key, value) => {
                let _ = write!(out, "{indent}{key}: {}{line_break}", scalar(value));
            }
            Want::Mapping(key, inner) => {
                let inner: Vec<_> = inner.iter().collect();
                let _ = write!(out, "{indent}{key}:{line_break}");
                out.push_str(&block(&inner, &format!("{indent}  "), line_break));
            }
        }
    }
    out
}

/// Writes a list item as block lines, its dash behind `indent`.
pub(super) fn block_item(wanted: &[Want], indent: &str, line_break: &str) -> String {
    let wanted: Vec<_> = wanted.iter().collect();
    let mut lines = block(&wanted, &format!("{indent}  "), line_break);
    lines.replace_range(indent.len()..=indent.len(), "-");
    lines
}

/// Writes keys on one line, without the braces, so that JSON readers accept them too.
pub(super) fn flow(wanted: &[&Want]) -> String {
    let pairs = wanted.iter().map(|want| match want {
        Want::Text(key, value) => format!("{}: {}", quoted(key), quoted(value)),
        Want::Mapping(key, inner) => {
            let inner: Vec<_> = inner.iter().collect();
            format!("{}: {{{}}}", quoted(key), flow(&inner))
        }
    });
    pairs.collect::<Vec<_>>().join(", ")
}

/// Our keys as they nest.
pub(super) fn wanted(entry: &Entry) -> Vec<Want> {
    let mut wanted = Vec::new();
    for (path, value) in entry.fields() {
        let mut level = &mut wanted;
        let [parents @ .., last] = path else { panic!("BUG: a field without a path") };
        for parent in parents {
            if level.last().is_none_or(|want: &Want| want.key() != *parent) {
                level.push(Want::Mapping(parent, Vec::new()));
            }
            let Some(Want::Mapping(_, inner)) = level.last_mut() else {
                panic!("BUG: {parent} is both a text and a mapping");
            };
            level = inner;
        }
        level.push(Want::Text(last, value));
    }
    wanted
}
