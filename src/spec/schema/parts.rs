//! The shapes that fields have.

use serde_json::{Value, json};

pub(in crate::spec) fn string(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

/// A string of this form.
pub(in crate::spec) fn pattern(pattern: &str, about: &str) -> Value {
    json!({ "type": "string", "pattern": pattern, "description": about })
}

/// A string that is not empty, with examples that editors offer.
pub(in crate::spec) fn matching(about: &str, examples: &[&str]) -> Value {
    json!({ "type": "string", "minLength": 1, "examples": examples, "description": about })
}

/// A string of this form, or a list of some, each once.
pub(in crate::spec) fn one_or_more(pattern: &str, about: &str) -> Value {
    let one = json!({ "type": "string", "pattern": pattern });
    let some = json!({ "type": "array", "items": one, "minItems": 1, "uniqueItems": true });
    json!({ "anyOf": [one, some], "description": about })
}

/// One of a few words.
pub(in crate::spec) fn choice(words: &[&str], about: &str) -> Value {
    json!({ "type": "string", "enum": words, "description": about })
}

pub(in crate::spec) fn boolean(about: &str) -> Value {
    json!({ "type": "boolean", "description": about })
}

/// A whole number between two, both included.
pub(in crate::spec) fn integer(least: i64, most: i64, about: &str) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most, "description": about })
}

/// A number of 0 or more.
pub(in crate::spec) fn number(about: &str) -> Value {
    json!({ "type": "number", "minimum": 0, "description": about })
}

/// A time span with its default. That it is more than nothing and at most a week is not said here.
pub(in crate::spec) fn duration(default: &str, about: &str) -> Value {
    let about =
        format!("{about} Hours, minutes, seconds, in this order: \"90s\", \"5m\", \"1h30m\".");
    json!({
        "type": "string",
        "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
        "minLength": 2,
        "default": default,
        "description": about,
    })
}

pub(in crate::spec) fn strings(about: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": about })
}

/// The same list, not empty.
pub(in crate::spec) fn filled(mut list: Value) -> Value {
    list["minItems"] = json!(1);
    list
}

pub(in crate::spec) fn with_default(default: impl Into<Value>, mut field: Value) -> Value {
    field["default"] = default.into();
    field
}

/// A table of these fields and no others.
pub(in crate::spec) fn closed<N: Into<String>>(
    about: &str,
    fields: impl IntoIterator<Item = (N, Value)>,
) -> Value {
    let fields: serde_json::Map<String, Value> =
        fields.into_iter().map(|(name, field)| (name.into(), field)).collect();
    json!({
        "type": "object",
        "description": about,
        "properties": fields,
        "additionalProperties": false,
    })
}

/// The same table, in which these fields have to be.
pub(in crate::spec) fn requiring(mut table: Value, required: &[&str]) -> Value {
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

/// A table of any number of things, by names of this form; any names without one.
pub(in crate::spec) fn map(about: &str, names: &str, each: &Value) -> Value {
    let mut map = json!({
        "type": "object",
        "description": about,
        "properties": {},
        "additionalProperties": each,
    });
    if !names.is_empty() {
        map["propertyNames"] = json!({ "pattern": names });
    }
    map
}

/// The value of an engine's flag: anything but a date, which TOML alone has.
pub(in crate::spec) fn flag() -> Value {
    json!({ "type": ["string", "number", "boolean", "array", "object"] })
}
