//! Whether a flag's value is one that the locked version takes.

use std::collections::BTreeMap;

use super::super::{argument, json};
use super::check::Check;
use super::command::takes_json;
use super::history::instead;
use super::problem;
use crate::engine::{Checked, FlagProblem, Warning};
use crate::engines::vllm::taken::{Flag, Many, ValueKind};
use crate::spec::{FlagValue, Value, nearest};

impl Check<'_> {
    pub(super) fn value(&self, path: &str, value: &Value, takes: &Flag, found: &mut Checked) {
        if let Value::Array(items) = value
            && !takes_json(&takes.kind)
            && takes.kind != ValueKind::Unread
        {
            if !matches!(takes.many, Many::Several | Many::Repeated) {
                let message = format!("`{path}` takes one value, not a list");
                found.problems.push(problem(path, message, "write a single value"));
                return;
            }
            for item in items {
                self.one(path, item, &takes.kind, found);
            }
            return;
        }
        if takes.many == Many::Optional && *value == Value::Boolean(true) {
            return;
        }
        self.one(path, value, &takes.kind, found);
    }

    fn one(&self, path: &str, value: &Value, kind: &ValueKind, found: &mut Checked) {
        let fits = match (kind, value) {
            (ValueKind::Switch | ValueKind::Toggle, value) => matches!(value, Value::Boolean(_)),
            (ValueKind::Unread, _) => {
                found.warnings.push(self.unread(path));
                true
            }
            (ValueKind::Size, Value::String(text)) => is_size(text),
            (ValueKind::SizeOrAuto, Value::String(text)) => {
                is_size(text) || text.eq_ignore_ascii_case("auto")
            }
            (ValueKind::OneOf(words), Value::String(_) | Value::Integer(_)) => {
                let word = argument(value);
                if !words.contains(&word) {
                    found.problems.push(self.choice(path, &word, words));
                }
                true
            }
            (ValueKind::Object(object) | ValueKind::Python(object), Value::Table(fields)) => {
                self.fields(path, fields, object, found);
                true
            }
            // Whoever writes JSON as text is left alone; compilation levels are plain numbers.
            (ValueKind::Json | ValueKind::JsonOrText, _)
            | (ValueKind::Object(_) | ValueKind::Python(_), Value::String(_))
            | (
                ValueKind::Python(_)
                | ValueKind::Integer
                | ValueKind::Size
                | ValueKind::SizeOrAuto
                | ValueKind::Number,
                Value::Integer(_),
            )
            | (ValueKind::Number, Value::Float(_))
            | (ValueKind::Text, Value::String(_) | Value::Integer(_) | Value::Float(_)) => true,
            // In an object, types are only known roughly.
            (ValueKind::Text, _) => path.contains('.'),
            _ => false,
        };
        if !fits {
            let message = format!("`{path}` takes {}, not {}", words_of(kind), shown(value));
            found.problems.push(problem(path, message, format!("so says {}", self.name())));
        }
    }

    pub(super) fn choice(&self, path: &str, word: &str, words: &[String]) -> FlagProblem {
        let list: Vec<&str> =
            words.iter().map(String::as_str).filter(|word| *word != "None").collect();
        let mut help = format!("{} takes {}", self.name(), list.join(", "));
        if let Some(near) = nearest(word, list) {
            help = format!("did you mean \"{near}\"? {help}");
        }
        problem(path, format!("`{path}` can't be \"{word}\""), help)
    }

    fn fields(
        &self,
        path: &str,
        fields: &BTreeMap<String, FlagValue>,
        object: &str,
        found: &mut Checked,
    ) {
        let Some(known) = self.engine.objects.get(object).filter(|known| !known.is_empty()) else {
            return;
        };
        for (name, value) in fields {
            let inner = format!("{path}.{name}");
            if let Some(takes) = known.get(name) {
                self.value(&inner, &value.value, takes, found);
                continue;
            }
            let message = format!("{} has no field `{inner}`", self.name());
            let help = match (instead(&inner), nearest(name, known.keys())) {
                (Some(instead), _) => instead.to_owned(),
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => {
                    format!("it has: {}", known.keys().cloned().collect::<Vec<_>>().join(", "))
                }
            };
            found.problems.push(problem(&inner, message, help));
        }
    }

    fn unread(&self, path: &str) -> Warning {
        Warning {
            message: format!("what `{path}` takes could not be read out of {}", self.name()),
            help: "it is passed on as written, and checked by the engine alone".to_owned(),
        }
    }
}

/// A number with a unit: decimal ones in lower case, which may have a fraction, and binary ones.
fn is_size(text: &str) -> bool {
    let unit = text.chars().last().filter(char::is_ascii_alphabetic);
    let number = unit.map_or(text, |unit| &text[..text.len() - unit.len_utf8()]);
    let whole = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let parts = number.split_once('.').map(|(whole, part)| [whole, part]);
    let fraction = parts.is_some_and(|parts| {
        parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    });
    match unit {
        Some('k' | 'm' | 'g' | 't') => whole || fraction,
        None | Some('K' | 'M' | 'G' | 'T') => whole,
        Some(_) => false,
    }
}

fn words_of(kind: &ValueKind) -> String {
    match kind {
        ValueKind::Switch | ValueKind::Toggle => "true or false".to_owned(),
        ValueKind::Integer => "a whole number".to_owned(),
        ValueKind::Size => "a whole number, or one with a unit like \"16k\"".to_owned(),
        ValueKind::SizeOrAuto => {
            "a whole number, one with a unit like \"16k\", or \"auto\"".to_owned()
        }
        ValueKind::Number => "a number".to_owned(),
        ValueKind::Text | ValueKind::Unread => "a text".to_owned(),
        ValueKind::OneOf(words) => format!("one of {}", words.join(", ")),
        ValueKind::Json | ValueKind::Object(_) | ValueKind::Python(_) => "a table".to_owned(),
        ValueKind::JsonOrText => "a table or a text".to_owned(),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Table(_) => "a table".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => json(other).to_string(),
    }
}
