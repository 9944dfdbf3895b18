//! The fields of a table, described once: read from files, or told as a schema.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::model_file::{VARIABLE, is_variable};
use super::schema::{self, parts};
use super::table::Table;
use super::value::quoted;

/// The fields of a table. Whoever describes them gets what is written, or nothing while it is only
/// asked what there is.
pub struct Fields<'f, 'a, 'c> {
    table: Option<&'f mut Table<'a, 'c>>,
    told: Map<String, Value>,
}

impl<'f, 'a, 'c> Fields<'f, 'a, 'c> {
    pub(super) fn reading(table: &'f mut Table<'a, 'c>) -> Self {
        Self { table: Some(table), told: Map::new() }
    }

    /// The schemas of what `describe` describes, by name.
    pub(super) fn told<T>(
        describe: impl FnOnce(&mut Fields<'_, '_, '_>) -> T,
    ) -> Map<String, Value> {
        let mut fields = Fields { table: None, told: Map::new() };
        describe(&mut fields);
        fields.told
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

    /// The name of an environment variable.
    pub fn variable(&mut self, name: &'static str, default: &str, about: &str) -> String {
        let tell = || parts::with_default(default, parts::pattern(schema::VARIABLE, about));
        let read = |table: &mut Table<'a, 'c>| {
            let text = table.string(name)?;
            let is_variable = is_variable(text.value);
            if !is_variable {
                table.bad(name, &quoted(text.value), VARIABLE, &text.spot);
            }
            is_variable.then(|| text.value.to_owned())
        };
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

    /// A table within; nothing else is taken in it.
    pub fn table<T>(
        &mut self,
        name: &'static str,
        about: &str,
        describe: impl FnOnce(&mut Fields<'_, 'a, 'c>) -> T,
    ) -> T {
        let Some(table) = self.table.as_deref_mut() else {
            let mut inner = Fields { table: None, told: Map::new() };
            let described = describe(&mut inner);
            self.told.insert(name.to_owned(), parts::closed(about, inner.told));
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
