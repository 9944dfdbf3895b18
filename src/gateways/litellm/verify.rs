//! The second opinion: what an independent parser must find after an edit.

use std::collections::BTreeSet;

use serde_yaml_ng::{Mapping, Value};

use super::Entry;
use super::error::{GatewayError, NamedText};
use super::is_ours;

/// What an edit was meant to do to the list, by index before the edit.
#[derive(Debug, Default)]
pub(super) struct Intent<'a> {
    pub(super) set: Vec<(usize, &'a Entry)>,
    pub(super) removed: BTreeSet<usize>,
    pub(super) appended: Vec<&'a Entry>,
}

/// Reads a text with the second parser, a port of the C library that `PyYAML` descends from.
pub(super) fn values(place: NamedText<'_>) -> Result<Value, GatewayError> {
    let text = place.text.strip_prefix('\u{feff}').unwrap_or(place.text);
    let skipped = place.text.len() - text.len();
    let read = serde_yaml_ng::from_str::<Value>(text).and_then(|mut value| {
        value.apply_merge()?;
        Ok(value)
    });
    match read {
        Ok(value) => Ok(value),
        Err(error) => {
            let at = error.location().map_or(0, |location| location.index() + skipped);
            Err(place.syntax(floor(place.text, at), error.to_string()))
        }
    }
}

/// Refuses brackets in brackets in brackets, before either parser works on them for minutes: with each
/// token, both look at all that are open (acatton/serde-yaml-ng#16).
///
/// Brackets in texts are counted, too, so that a few that nobody closes have to be allowed.
pub(super) fn nesting(place: NamedText<'_>) -> Result<(), GatewayError> {
    const MOST: usize = 500;
    let mut open: usize = 0;
    for (at, byte) in place.text.bytes().enumerate() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => continue,
        }
        if open > MOST {
            let reason = format!("more than {MOST} brackets are open");
            return Err(place.syntax(at, reason));
        }
    }
    Ok(())
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Refuses an edit unless it did exactly what was intended and changed no other value.
pub(super) fn compare(
    before: NamedText<'_>,
    after: NamedText<'_>,
    intent: &Intent<'_>,
) -> Result<(), GatewayError> {
    let mut expected = values(before)?;
    apply(&mut expected, intent)
        .ok_or_else(|| before.damage(&"an entry is not a plain mapping"))?;
    let found = values(after).map_err(|error| before.damage(&error))?;
    if found == expected { Ok(()) } else { Err(before.damage(&difference(&expected, &found))) }
}

fn apply(document: &mut Value, intent: &Intent<'_>) -> Option<()> {
    if intent.set.is_empty() && intent.removed.is_empty() && intent.appended.is_empty() {
        return Some(());
    }
    let list = mapping(document)?.entry("model_list".into()).or_insert(Value::Null);
    if list.is_null() {
        *list = Value::Sequence(Vec::new());
    }
    let list = list.as_sequence_mut()?;
    for (index, entry) in &intent.set {
        set(list.get_mut(*index)?, entry)?;
    }
    let mut index = 0;
    list.retain(|_| {
        index += 1;
        !intent.removed.contains(&(index - 1))
    });
    for entry in &intent.appended {
        let mut value = Value::Null;
        set(&mut value, entry)?;
        list.push(value);
    }
    Some(())
}

fn set(value: &mut Value, entry: &Entry) -> Option<()> {
    for (path, text) in entry.fields() {
        let (last, parents) = path.split_last()?;
        let parent = parents.iter().try_fold(&mut *value, |value, key| {
            Some(mapping(value)?.entry((*key).into()).or_insert(Value::Null))
        })?;
        mapping(parent)?.insert((*last).into(), text.into());
    }
    for path in entry.unwanted().concat() {
        unset(value, path);
    }
    Some(())
}

/// Takes a key away, and the mapping around it when that is empty then.
fn unset(value: &mut Value, path: &[&str]) {
    let [parents @ .., outer, last] = path else { return };
    let above = parents.iter().try_fold(value, |value, key| value.get_mut(*key));
    let Some(above) = above.and_then(Value::as_mapping_mut) else { return };
    let Some(inner) = above.get_mut(*outer).and_then(Value::as_mapping_mut) else { return };
    if inner.get(*last).and_then(Value::as_str).is_some_and(|value| is_ours(path, value)) {
        inner.remove(*last);
        if inner.is_empty() {
            above.remove(*outer);
        }
    }
}

fn mapping(value: &mut Value) -> Option<&mut Mapping> {
    if value.is_null() {
        *value = Value::Mapping(Mapping::new());
    }
    value.as_mapping_mut()
}

/// Names the first top-level key that differs; values could be secrets.
fn difference(expected: &Value, found: &Value) -> String {
    let (Some(expected), Some(found)) = (expected.as_mapping(), found.as_mapping()) else {
        return "the document is no mapping any more".to_owned();
    };
    let differs = |key: &&Value| expected.get(*key) != found.get(*key);
    let key = expected.keys().chain(found.keys()).find(differs);
    let key = key.and_then(Value::as_str).unwrap_or("(a key that is no string)");
    format!("`{key}` would not read as intended")
}
