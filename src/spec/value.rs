//! Single TOML values: converted, described, written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::source::{Place, SourceFile};

/// A flag of an engine with where it is written. Equal to another when the values are.
#[derive(Debug, Clone)]
pub struct FlagValue {
    /// The key's place.
    pub key: Place,
    /// The value's place.
    pub place: Place,
    /// The value.
    pub value: Value,
}

impl PartialEq for FlagValue {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// A TOML value without dates, which no engine takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A string.
    String(String),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A list.
    Array(Vec<Value>),
    /// A table, merged leaf by leaf.
    Table(BTreeMap<String, FlagValue>),
}

/// The type of a value, in words.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The number, if it fits.
pub(super) fn integer(value: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(value.as_str(), value.radix()).ok()
}

/// A value outside of the merged tables, such as an element of a list.
///
/// Fails with what was expected.
pub(super) fn value(
    value: &Spanned<DeValue<'_>>,
    file: &Arc<SourceFile>,
) -> Result<Value, &'static str> {
    Ok(match value.get_ref() {
        DeValue::String(text) if text.contains('\0') => return Err("a text without NUL"),
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Integer(number) => Value::Integer(integer(number).ok_or("a 64-bit integer")?),
        DeValue::Float(number) => {
            let number: Option<f64> = number.as_str().parse().ok();
            Value::Float(number.filter(|number| number.is_finite()).ok_or("a finite number")?)
        }
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(_) => return Err("a string, number, boolean, list or table"),
        DeValue::Array(array) => Value::Array(
            array.iter().map(|element| self::value(element, file)).collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => {
            let mut fields = BTreeMap::new();
            for (key, value) in table {
                let flag = FlagValue {
                    key: Place::new(Arc::clone(file), key.span()),
                    place: Place::new(Arc::clone(file), value.span()),
                    value: self::value(value, file)?,
                };
                fields.insert(key.get_ref().clone().into_owned(), flag);
            }
            Value::Table(fields)
        }
    })
}

/// A value as one line of TOML.
pub(super) fn toml_text(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        DeValue::Array(array) => {
            let elements: Vec<_> = array.iter().map(|value| toml_text(value.get_ref())).collect();
            format!("[{}]", elements.join(", "))
        }
        DeValue::Table(table) if table.is_empty() => "{}".to_owned(),
        DeValue::Table(table) => {
            let fields: Vec<_> = table
                .iter()
                .map(|(key, value)| {
                    format!("{} = {}", key_text(key.get_ref()), toml_text(value.get_ref()))
                })
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
    }
}

/// A text as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A key as it is written in TOML.
pub(super) fn key_text(key: &str) -> std::borrow::Cow<'_, str> {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !key.is_empty() && key.bytes().all(is_bare) { key.into() } else { quoted(key).into() }
}

/// A duration like `90s`, `5m` or `1h30m`: hours, minutes, seconds, each at most once.
///
/// It is more than nothing and at most a week.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const WEEK: u64 = 7 * 24 * 3600;
    let mut total = 0u64;
    let mut rest = text;
    for (unit, seconds) in [('h', 3600), ('m', 60), ('s', 1)] {
        let Some((number, behind)) = rest.split_once(unit) else { continue };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(seconds)?)?;
        rest = behind;
    }
    (rest.is_empty() && total > 0 && total <= WEEK).then(|| Duration::from_secs(total))
}

/// The seconds of a text that is a duration.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    duration(text).map(|duration| duration.as_secs())
}

/// A duration as a TOML string that [`duration`] reads.
pub(crate) fn duration_text(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    let mut text = String::new();
    for (unit, size) in [("h", 3600), ("m", 60), ("s", 1)] {
        if seconds >= size {
            text.push_str(&(seconds / size).to_string());
            text.push_str(unit);
            seconds %= size;
        }
    }
    quoted(&text)
}

impl FlagValue {
    /// The value as JSON.
    pub fn to_json(&self) -> Json {
        self.value.to_json()
    }
}

impl Value {
    /// The value as JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Self::String(text) => Json::from(text.as_str()),
            Self::Integer(number) => Json::from(*number),
            Self::Float(number) => Json::from(*number),
            Self::Boolean(boolean) => Json::from(*boolean),
            Self::Array(values) => values.iter().map(Self::to_json).collect(),
            Self::Table(table) => {
                table.iter().map(|(key, flag)| (key.clone(), flag.to_json())).collect()
            }
        }
    }
}

/// What an environment variable's name looks like.
pub(super) const VARIABLE: &str = "letters, digits and `_`, not starting with a digit";

/// Says whether `name` is one for an environment variable.
pub(super) fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_name_their_units_in_order() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1h1s", 3601)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "5", "m", "5m1h", "5 m", "-5m", "5min", "1.5h", "0s", "999999999999h"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(duration_text(Duration::from_secs(5400)), "\"1h30m\"");
    }
}
