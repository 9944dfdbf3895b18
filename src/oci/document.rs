//! A layout's documents: JSON, whose bytes have a digest.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::OciError;

/// JSON with sorted keys and no spaces, whatever order the value had.
pub(super) fn canonical(value: &impl Serialize) -> Vec<u8> {
    let value = serde_json::to_value(value)
        .unwrap_or_else(|error| panic!("BUG: a document is no JSON: {error}"));
    sorted(value).to_string().into_bytes()
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
            fields.sort_by(|left, right| left.0.cmp(&right.0));
            fields.into_iter().map(|(key, value)| (key, sorted(value))).collect()
        }
        other => other,
    }
}

/// Reads a document, which `what` names in the error.
pub(super) fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, OciError> {
    serde_json::from_slice(bytes)
        .map_err(|error| OciError::Document { what: what.to_owned(), reason: error.to_string() })
}
