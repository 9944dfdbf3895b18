//! Reads one table of a TOML tree field by field, with its mistakes, through layers of overrides.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::context::{Context, Layer, Rank, Spot, Text};
use super::effective::{Effective, Origin};
use super::problem::{Problem, nearest};
use super::secret::shown;
use super::value;

/// A value as it was found, in the strongest layer that has it.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    key: &'a Spanned<std::borrow::Cow<'a, str>>,
    pub(super) value: &'a Spanned<DeValue<'a>>,
    pub(super) layer: Layer<'a>,
}

impl<'a> Found<'a> {
    pub(super) fn spot(&self) -> Spot<'a> {
        Spot { file: self.layer.file, span: self.value.span() }
    }

    fn key_spot(&self) -> Spot<'a> {
        Spot { file: self.layer.file, span: self.key.span() }
    }
}

/// A table that is being read.
pub(super) struct Table<'a, 'c> {
    pub(super) context: &'c Context,
    /// The table's path with a dot behind it, or nothing for a whole file.
    pub(super) path: String,
    /// Strongest first; none when the table isn't there.
    layers: Vec<Layer<'a>>,
    asked: Vec<&'a str>,
    /// Where a missing field is reported.
    pub(super) spot: Spot<'a>,
}

impl<'a, 'c> Table<'a, 'c> {
    pub(super) fn new(
        context: &'c Context,
        path: impl Into<String>,
        layers: Vec<Layer<'a>>,
        spot: Spot<'a>,
    ) -> Self {
        Self { context, path: path.into(), layers, asked: Vec::with_capacity(12), spot }
    }

    /// Says whether the table is written anywhere.
    pub(super) fn is_present(&self) -> bool {
        !self.layers.is_empty()
    }

    /// The whole path of `key`.
    pub(super) fn field(&self, key: &str) -> String {
        let key = value::key_text(key);
        let mut field = String::with_capacity(self.path.len() + key.len() + 1);
        field.push_str(&self.path);
        field.push_str(&key);
        field
    }

    fn is_unset(&self, key: &str, layer: &Layer<'_>) -> bool {
        layer.rank == Rank::Defaults && self.context.is_unset(|| self.field(key))
    }

    /// All layers that have `key`, strongest first.
    pub(super) fn every(&self, key: &str) -> impl Iterator<Item = Found<'a>> {
        self.layers.iter().filter_map(move |layer| {
            let (key, value) = layer.table.get_key_value(key)?;
            if self.is_unset(key.get_ref(), layer) {
                return None;
            }
            Some(Found { key, value, layer: *layer })
        })
    }

    pub(super) fn find(&mut self, key: &'a str) -> Option<Found<'a>> {
        self.asked.push(key);
        let found = self.every(key).next()?;
        self.trace(key, &found);
        Some(found)
    }

    pub(super) fn trace(&self, key: &str, found: &Found<'_>) {
        let Some(trace) = self.context.trace() else { return };
        let field = self.field(key);
        trace.borrow_mut().push(Effective {
            value: shown(&field, &value::toml_text(found.value.get_ref())).to_owned(),
            field,
            origin: Origin::of(found.layer.rank, &found.key_spot().place()),
        });
    }

    /// Notes that `key` has goatbuild's own default.
    pub(super) fn built_in(&self, key: &str, value: impl FnOnce() -> String) {
        if let Some(trace) = self.context.trace() {
            trace.borrow_mut().push(Effective {
                field: self.field(key),
                value: value(),
                origin: Origin::BuiltIn,
            });
        }
    }

    fn wrong_type(&self, key: &str, expected: &'static str, found: &Found<'_>) {
        let problem = Problem::WrongType {
            field: self.field(key),
            expected,
            found: value::type_name(found.value.get_ref()),
        };
        self.context.report(problem, &found.spot());
    }

    /// Reports that `key` can't have the value `found`.
    pub(super) fn bad(&self, key: &str, found: &str, expected: &str, spot: &Spot<'_>) {
        let problem = Problem::BadValue {
            field: self.field(key),
            found: found.to_owned(),
            expected: expected.to_owned(),
        };
        self.context.report(problem, spot);
    }

    /// Reports a problem of its own kind.
    pub(super) fn report(&self, problem: Problem, spot: &Spot<'_>) {
        self.context.report(problem, spot);
    }

    /// Reports that `key` isn't there.
    pub(super) fn missing(&self, key: &str, example: &str) {
        let problem = Problem::MissingField { field: self.field(key), example: example.to_owned() };
        self.context.report(problem, &self.spot);
    }

    pub(super) fn string(&mut self, key: &'a str) -> Option<Text<'a>> {
        let found = self.find(key)?;
        match found.value.get_ref() {
            DeValue::String(text) if text.contains('\0') => {
                self.bad(key, "a text with a NUL in it", "a text without NUL", &found.spot());
                None
            }
            DeValue::String(text) => Some(Text { value: text, spot: found.spot() }),
            _ => {
                self.wrong_type(key, "a string", &found);
                None
            }
        }
    }

    /// A string that has to be there, and not empty.
    pub(super) fn required(&mut self, key: &'a str, example: &str) -> Option<Text<'a>> {
        if self.every(key).next().is_none() {
            self.asked.push(key);
            self.missing(key, example);
            return None;
        }
        let text = self.string(key)?;
        if text.value.is_empty() {
            self.bad(key, "empty", &format!("something like {example}"), &text.spot);
            return None;
        }
        Some(text)
    }

    pub(super) fn boolean(&mut self, key: &'a str, default: bool) -> bool {
        let Some(found) = self.find(key) else {
            self.built_in(key, || default.to_string());
            return default;
        };
        found.value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong_type(key, "a boolean", &found);
            default
        })
    }

    /// A whole number in `range`.
    pub(super) fn integer(&mut self, key: &'a str, range: Range<i64>) -> Option<(i64, Spot<'a>)> {
        let found = self.find(key)?;
        let Some(integer) = found.value.get_ref().as_integer() else {
            self.wrong_type(key, "an integer", &found);
            return None;
        };
        match value::integer(integer) {
            Some(number) if range.contains(&number) => Some((number, found.spot())),
            _ => {
                let expected = format!("a number from {} to {}", range.start, range.end - 1);
                self.bad(key, &integer.to_string(), &expected, &found.spot());
                None
            }
        }
    }

    /// A number of 0 or more, whole or not.
    pub(super) fn number(&mut self, key: &'a str) -> Option<f64> {
        let found = self.find(key)?;
        let number = match found.value.get_ref() {
            DeValue::Integer(integer) => integer.as_str().parse::<f64>().ok(),
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            _ => {
                self.wrong_type(key, "a number", &found);
                return None;
            }
        };
        let number = number.filter(|number| number.is_finite() && *number >= 0.0);
        if number.is_none() {
            let text = value::toml_text(found.value.get_ref());
            self.bad(key, &text, "a number of 0 or more", &found.spot());
        }
        number
    }

    pub(super) fn duration(&mut self, key: &'a str) -> Option<std::time::Duration> {
        let found = self.find(key)?;
        let Some(text) = found.value.get_ref().as_str() else {
            self.wrong_type(key, "a duration", &found);
            return None;
        };
        let duration = value::duration(text);
        if duration.is_none() {
            let expected = "a duration like \"90s\", \"5m\" or \"1h30m\"";
            self.bad(key, &value::quoted(text), expected, &found.spot());
        }
        duration
    }

    /// A list of strings, each with its place.
    pub(super) fn strings(&mut self, key: &'a str) -> Option<(Vec<Text<'a>>, Spot<'a>)> {
        let found = self.find(key)?;
        let Some(array) = found.value.get_ref().as_array() else {
            self.wrong_type(key, "a list of strings", &found);
            return None;
        };
        let mut texts = Vec::with_capacity(array.len());
        for element in array {
            let spot = Spot { file: found.layer.file, span: element.span() };
            if let Some(text) = element.get_ref().as_str() {
                texts.push(Text { value: text, spot });
            } else {
                let field = self.field(key);
                let found = value::type_name(element.get_ref());
                let problem = Problem::WrongType { field, expected: "a list of strings", found };
                self.context.report(problem, &spot);
            }
        }
        Some((texts, found.spot()))
    }

    /// A string, or a list of strings, each with its place.
    pub(super) fn string_or_strings(&mut self, key: &'a str) -> Option<(Vec<Text<'a>>, Spot<'a>)> {
        let found = self.every(key).next();
        if found.is_some_and(|found| found.value.get_ref().is_array()) {
            return self.strings(key);
        }
        if found.is_none_or(|found| found.value.get_ref().is_str()) {
            let text = self.string(key)?;
            let spot = text.spot.clone();
            return Some((vec![text], spot));
        }
        let found = self.find(key)?;
        self.wrong_type(key, "a string or a list of strings", &found);
        None
    }

    /// One of a few words; the first is the default.
    pub(super) fn choice<T: Copy>(&mut self, key: &'a str, choices: &[(&str, T)]) -> T {
        let (word, default) = choices[0];
        if self.every(key).next().is_none() {
            self.built_in(key, || value::quoted(word));
        }
        self.optional_choice(key, choices).unwrap_or(default)
    }

    pub(super) fn optional_choice<T: Copy>(
        &mut self,
        key: &'a str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let text = self.string(key)?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Some(*choice);
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| value::quoted(word)).collect();
        let mut expected = format!("one of {}", words.join(", "));
        if let Some(near) = nearest(text.value, choices.iter().map(|(word, _)| *word)) {
            expected = format!("{expected}; did you mean \"{near}\"?");
        }
        self.bad(key, &value::quoted(text.value), &expected, &text.spot);
        None
    }

    /// The table `key` through all layers; without layers when none has it.
    pub(super) fn table(&mut self, key: &'a str) -> Table<'a, 'c> {
        self.asked.push(key);
        let mut layers = Vec::with_capacity(self.layers.len());
        let mut spot = None;
        for found in self.every(key) {
            if let Some(table) = found.value.get_ref().as_table() {
                spot.get_or_insert_with(|| found.spot());
                layers.push(Layer { table, ..found.layer });
            } else {
                self.wrong_type(key, "a table", &found);
            }
        }
        let path = self.field(key) + ".";
        Table::new(self.context, path, layers, spot.unwrap_or_else(|| self.spot.clone()))
    }

    /// The same table as its strongest layer alone has it: what is below says something else instead.
    pub(super) fn strongest(mut self) -> Self {
        self.layers.truncate(1);
        self
    }

    /// The same table with the layers of `below` under its own.
    pub(super) fn over(mut self, below: Self) -> Self {
        self.layers.extend(below.layers.iter().copied());
        Self { layers: self.layers, ..below }
    }

    /// Says whether `key` holds a table.
    pub(super) fn holds_table(&self, key: &str) -> bool {
        self.every(key).next().is_some_and(|found| found.value.get_ref().is_table())
    }

    /// Says whether `key` is written in any layer.
    pub(super) fn has(&self, key: &str) -> bool {
        self.every(key).next().is_some()
    }

    /// The place of `key`, or that of the table.
    pub(super) fn spot_of(&self, key: &str) -> Spot<'a> {
        self.every(key).next().map_or_else(|| self.spot.clone(), |found| found.spot())
    }

    /// The keys that weren't asked for, with their places, each once.
    pub(super) fn other_keys(&self) -> Vec<Text<'a>> {
        let mut keys: Vec<Text<'a>> = Vec::new();
        for (depth, layer) in self.layers.iter().enumerate() {
            for key in layer.table.keys() {
                let name: &'a str = key.get_ref();
                let seen = self.asked.contains(&name)
                    || self.layers[..depth].iter().any(|above| above.table.contains_key(name));
                if !seen && !self.is_unset(name, layer) {
                    keys.push(Text {
                        value: name,
                        spot: Spot { file: layer.file, span: key.span() },
                    });
                }
            }
        }
        keys
    }

    /// A string by each key: environment variables and the like.
    pub(super) fn string_map(
        &mut self,
        is_key: fn(&str) -> bool,
        expected: &'static str,
    ) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        for key in self.other_keys() {
            if !is_key(key.value) {
                let name = key.value.to_owned();
                let kind = "an environment variable";
                self.context.report(Problem::BadName { kind, name, expected }, &key.spot);
            }
            if let Some(text) = self.string(key.value) {
                map.insert(key.value.to_owned(), text.value.to_owned());
            }
        }
        map
    }

    /// Reports every key that nothing asked for.
    pub(super) fn finish(self) {
        for key in self.other_keys() {
            let near = nearest(key.value, self.asked.iter().copied());
            if let Some(near) = near {
                // It is there, under a name that was meant to be that.
                self.context.forget_missing(&self.field(near));
            }
            let problem = Problem::UnknownField {
                field: self.field(key.value),
                nearest: near.map(str::to_owned),
                known: self.asked.iter().map(|key| (*key).to_owned()).collect(),
            };
            self.context.report(problem, &key.spot);
        }
    }
}
