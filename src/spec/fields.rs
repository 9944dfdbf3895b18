//! The fields of a table, described once: read from files, or told as a schema.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::context::Text;
use super::path::inside;
use super::schema::{self, parts};
use super::source::Place;
use super::table::Table;
use super::value::{VARIABLE, is_variable, quoted};

/// The fields of a table. Whoever describes them gets what is written, or nothing while it is only
/// asked what there is.
pub struct Fields<'f, 'a, 'c> {
    table: Option<&'f mut Table<'a, 'c>>,
    told: Map<String, Value>,
    required: Vec<&'static str>,
}

impl<'f, 'a, 'c> Fields<'f, 'a, 'c> {
    pub(super) fn reading(table: &'f mut Table<'a, 'c>) -> Self {
        Self { table: Some(table), told: Map::new(), required: Vec::new() }
    }

    /// The schemas of what `describe` describes, by name; and which of it has to be there.
    pub(super) fn told<T>(
        describe: impl FnOnce(&mut Fields<'_, '_, '_>) -> T,
    ) -> (Map<String, Value>, Vec<&'static str>) {
        let mut fields = Fields { table: None, told: Map::new(), required: Vec::new() };
        describe(&mut fields);
        (fields.told, fields.required)
    }

    /// Reads a field, or tells of it.
    fn field<T>(
        &mut self,
        name: &'static str,
        tell: impl FnOnce() -> Value,
        read: impl FnOnce(&mut Table<'a, 'c>) -> Option<T>,
    ) -> Option<T> {
        if let Some(table) = self.table.as_deref_mut() {
            return read(table);
        }
        self.told.insert(name.to_owned(), tell());
        None
    }

    /// Any text.
    pub fn text(&mut self, name: &'static str, about: &str) -> Option<String> {
        let read = |table: &mut Table<'a, 'c>| Some(table.string(name)?.value.to_owned());
        self.field(name, || parts::string(about), read)
    }

    /// Any text, this one where nothing is said.
    pub fn text_or(&mut self, name: &'static str, default: &str, about: &str) -> String {
        let tell = || parts::with_default(default, parts::string(about));
        let read = |table: &mut Table<'a, 'c>| {
            let text = table.string(name);
            if text.is_none() {
                table.built_in(name, || quoted(default));
            }
            Some(text?.value.to_owned())
        };
        self.field(name, tell, read).unwrap_or_else(|| default.to_owned())
    }

    /// A text of which `checked` makes what is kept; `expected` is said of one of which it doesn't.
    pub fn checked_text(
        &mut self,
        name: &'static str,
        about: &str,
        expected: &str,
        checked: fn(&str) -> Option<String>,
    ) -> Option<String> {
        let read = |table: &mut Table<'a, 'c>| {
            let text = table.string(name)?;
            let kept = checked(text.value);
            if kept.is_none() {
                table.bad(name, &quoted(text.value), expected, &text.spot);
            }
            kept
        };
        self.field(name, || parts::string(about), read)
    }

    /// A path relative to the project that doesn't leave it.
    pub fn path(&mut self, name: &'static str, about: &str) -> Option<PathBuf> {
        let read = |table: &mut Table<'a, 'c>| {
            let text = table.string(name)?;
            path_of(table, name, &text)
        };
        self.field(name, || parts::string(about), read)
    }

    /// The same, of a file that has to be named; `example` is one.
    pub fn required_path(
        &mut self,
        name: &'static str,
        example: &'static str,
        about: &str,
    ) -> Option<PathBuf> {
        let read = |table: &mut Table<'a, 'c>| {
            let text = table.required(name, &format!("{name} = {}", quoted(example)))?;
            path_of(table, name, &text)
        };
        self.required.push(name);
        self.field(name, || parts::matching(about, &[example]), read)
    }

    /// A program and its arguments.
    pub fn command(&mut self, name: &'static str, about: &str) -> Option<Vec<String>> {
        let read = |table: &mut Table<'a, 'c>| {
            let (texts, spot) = table.strings(name)?;
            if texts.is_empty() {
                table.bad(name, "empty", "a program and its arguments", &spot);
                return None;
            }
            Some(texts.into_iter().map(|text| text.value.to_owned()).collect())
        };
        self.field(name, || parts::filled(parts::strings(about)), read)
    }

    /// Letters, digits and `-`.
    pub fn label(&mut self, name: &'static str, about: &str) -> Option<String> {
        let read = |table: &mut Table<'a, 'c>| {
            let text = table.string(name)?;
            let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if text.value.is_empty() || !text.value.bytes().all(inner) {
                table.bad(name, &quoted(text.value), "letters, digits and -", &text.spot);
                return None;
            }
            Some(text.value.to_owned())
        };
        self.field(name, || parts::pattern("^[A-Za-z0-9-]+$", about), read)
    }

    /// The name of an environment variable, if one is named.
    pub fn named_variable(&mut self, name: &'static str, about: &str) -> Option<String> {
        let tell = || parts::pattern(schema::VARIABLE, about);
        self.field(name, tell, |table| variable(table, name))
    }

    /// The name of an environment variable.
    pub fn variable(&mut self, name: &'static str, default: &str, about: &str) -> String {
        let tell = || parts::with_default(default, parts::pattern(schema::VARIABLE, about));
        let read = |table: &mut Table<'a, 'c>| variable(table, name);
        self.field(name, tell, read).unwrap_or_else(|| default.to_owned())
    }

    /// One of a few words; the first is the default.
    pub fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&'static str, T)],
        about: &str,
    ) -> T {
        let tell = || {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            parts::with_default(words[0], parts::choice(&words, about))
        };
        let read = |table: &mut Table<'a, 'c>| Some(table.choice(name, choices));
        self.field(name, tell, read).unwrap_or(choices[0].1)
    }

    /// A whole number.
    pub fn count(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
        about: &str,
    ) -> Option<u32> {
        let (least, most) = (i64::from(*range.start()), i64::from(*range.end()));
        let read = |table: &mut Table<'a, 'c>| {
            let (count, _) = table.integer(name, least..most + 1)?;
            u32::try_from(count).ok()
        };
        self.field(name, || parts::integer(least, most, about), read)
    }

    /// A number of 0 or more, this one where nothing is said.
    pub fn number_or(&mut self, name: &'static str, default: f64, about: &str) -> f64 {
        let tell = || parts::with_default(default, parts::number(about));
        let read = |table: &mut Table<'a, 'c>| {
            let number = table.number(name);
            if !table.has(name) {
                table.built_in(name, || default.to_string());
            }
            number
        };
        self.field(name, tell, read).unwrap_or(default)
    }

    /// Where files say a field, if they do.
    pub fn place(&self, name: &str) -> Option<Place> {
        Some(self.table.as_ref()?.every(name).next()?.spot().place())
    }

    /// Whether files say anything of a field.
    pub fn says(&self, name: &str) -> bool {
        self.table.as_ref().is_some_and(|table| table.has(name))
    }

    /// A table within; nothing else is taken in it.
    pub fn table<T>(
        &mut self,
        name: &'static str,
        about: &str,
        describe: impl FnOnce(&mut Fields<'_, 'a, 'c>) -> T,
    ) -> T {
        let Some(table) = self.table.as_deref_mut() else {
            let mut inner = Fields { table: None, told: Map::new(), required: Vec::new() };
            let described = describe(&mut inner);
            let told = parts::requiring(parts::closed(about, inner.told), &inner.required);
            self.told.insert(name.to_owned(), told);
            return described;
        };
        let mut inner = table.table(name);
        let described = describe(&mut Fields::reading(&mut inner));
        inner.finish();
        described
    }

    /// Reports that a field can't have this value beside what others have.
    pub fn bad(&self, name: &str, found: &str, expected: &str) {
        if let Some(table) = &self.table {
            table.bad(name, found, expected, &table.spot.clone());
        }
    }
}

/// The name of an environment variable, or a report.
fn variable(table: &mut Table<'_, '_>, key: &'static str) -> Option<String> {
    let text = table.string(key)?;
    let is_variable = is_variable(text.value);
    if !is_variable {
        table.bad(key, &quoted(text.value), VARIABLE, &text.spot);
    }
    is_variable.then(|| text.value.to_owned())
}

/// A path relative to the project that doesn't leave it, or a report.
fn path_of(table: &Table<'_, '_>, key: &str, text: &Text<'_>) -> Option<PathBuf> {
    let path = inside(text.value);
    if path.is_none() {
        let expected = "a path relative to the project that doesn't leave it";
        table.bad(key, &quoted(text.value), expected, &text.spot);
    }
    path.map(PathBuf::from)
}
