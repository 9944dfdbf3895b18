//! Labelled fields, described once: hashed into a [`Key`] and kept to explain the next one.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::spec::shown;

/// Identifies what a step would do: `gb1-` and 40 hexadecimal digits.
///
/// 160 bits of BLAKE3. The whole text fits the 50 characters a deployment tag may hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 20]);

const PREFIX: &str = "gb1-";

impl Key {
    /// The shortest form that people can still compare: eight digits.
    pub fn short(&self) -> String {
        self.to_string()[PREFIX.len()..][..8].to_owned()
    }

    /// The raw 20 bytes.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 40];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        formatter.write_str(PREFIX)?;
        formatter.write_str(str::from_utf8(&digits).unwrap_or_else(|_| panic!("BUG: no digits")))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `gb1-` and 40 hexadecimal digits")]
pub struct NotAKey;

impl FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotAKey)?.as_bytes();
        if digits.len() != 40 {
            return Err(NotAKey);
        }
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| (pair[at] as char).to_digit(16).ok_or(NotAKey);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).map_err(|_| NotAKey)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The field of a [`Change`] that a step's own version makes: another goatbuild, and nothing else.
pub const STEP_VERSION: &str = "step version";

/// A field that differs between two fingerprints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The field's label.
    pub field: String,
    /// Its value before; none when it is new.
    pub old: Option<String>,
    /// Its value now; none when it went away.
    pub new: Option<String>,
}

/// A step's inputs as labelled fields.
///
/// Holds no absolute path, no mirror's URL and no secret's value. Labels are unique.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", from = "Written")]
pub struct Fingerprint {
    version: u32,
    /// The kind, then each label and value: one text, since every plan describes every step.
    text: String,
    /// Where the kind ends.
    kind: usize,
    /// Where each field's label ends, and its value.
    fields: Vec<(usize, usize)>,
}

/// A fingerprint as it is kept.
#[derive(Serialize, Deserialize)]
struct Written {
    kind: String,
    version: u32,
    fields: Vec<(String, String)>,
}

impl From<Fingerprint> for Written {
    fn from(fingerprint: Fingerprint) -> Self {
        let fields = fingerprint.pairs();
        let fields = fields.map(|(label, value)| (label.to_owned(), value.to_owned())).collect();
        Self { kind: fingerprint.kind().to_owned(), version: fingerprint.version, fields }
    }
}

impl From<Written> for Fingerprint {
    fn from(written: Written) -> Self {
        let mut fingerprint = Self::new(&written.kind, written.version);
        for (label, value) in &written.fields {
            fingerprint.field(label, value);
        }
        fingerprint
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} ", self.kind(), self.version)?;
        formatter.debug_map().entries(self.pairs()).finish()
    }
}

impl Fingerprint {
    /// Starts a description. Raise `version` when the same fields come to mean other bytes.
    pub fn new(kind: &str, version: u32) -> Self {
        let mut text = String::with_capacity(1024);
        text.push_str(kind);
        Self { version, text, kind: kind.len(), fields: Vec::with_capacity(24) }
    }

    fn kind(&self) -> &str {
        &self.text[..self.kind]
    }

    /// Adds one labelled field.
    pub fn field(&mut self, label: impl fmt::Display, value: impl fmt::Display) -> &mut Self {
        let label = self.write(label);
        let value = self.write(value);
        self.fields.push((label, value));
        self
    }

    /// Appends a text and says where it ends.
    fn write(&mut self, text: impl fmt::Display) -> usize {
        write!(self.text, "{text}").unwrap_or_else(|_| panic!("BUG: a field can't be written"));
        self.text.len()
    }

    /// Adds a field when there is a value.
    pub fn optional(
        &mut self,
        label: impl fmt::Display,
        value: Option<impl fmt::Display>,
    ) -> &mut Self {
        if let Some(value) = value {
            self.field(label, value);
        }
        self
    }

    /// The key over kind, version and all fields, whatever order they were added in.
    ///
    /// The form hashed is: domain, kind, version, number of fields, then each label and value in
    /// label order; every text after its length as eight little-endian bytes.
    pub fn key(&self) -> Key {
        let mut order: Vec<(&str, &str)> = self.pairs().collect();
        order.sort_unstable();
        if let Some(pair) = order.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            panic!("BUG: field `{}` is described twice in step kind `{}`", pair[0].0, self.kind());
        }
        let mut bytes = Vec::with_capacity(self.text.len() + order.len() * 16 + 64);
        text(&mut bytes, "goatbuild key 1");
        text(&mut bytes, self.kind());
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&(order.len() as u64).to_le_bytes());
        for (label, value) in order {
            text(&mut bytes, label);
            text(&mut bytes, value);
        }
        let mut key = [0; 20];
        key.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..20]);
        Key(key)
    }

    /// What changed from `old` to `self`, in label order.
    pub fn changes_since(&self, old: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        if old.version != self.version {
            changes.push(Change {
                field: STEP_VERSION.to_owned(),
                old: Some(old.version.to_string()),
                new: Some(self.version.to_string()),
            });
        }
        let before: std::collections::BTreeMap<_, _> = old.pairs().collect();
        let now: std::collections::BTreeMap<_, _> = self.pairs().collect();
        let labels: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
        for label in labels {
            let (was, is) = (before.get(*label), now.get(*label));
            if was != is {
                changes.push(Change {
                    field: (*label).to_owned(),
                    old: was.map(|value| shown(label, value).to_owned()),
                    new: is.map(|value| shown(label, value).to_owned()),
                });
            }
        }
        changes
    }

    /// The same without the fields of these labels.
    #[must_use]
    pub fn without(&self, labels: &[&str]) -> Self {
        let mut fewer = Self::new(self.kind(), self.version);
        for (label, value) in self.pairs().filter(|(label, _)| !labels.contains(label)) {
            fewer.field(label, value);
        }
        fewer
    }

    /// The value of a field.
    pub fn get(&self, label: &str) -> Option<&str> {
        self.pairs().find(|(known, _)| *known == label).map(|(_, value)| value)
    }

    /// The same for other eyes than the owner's: without what variables with telling names hold. It has
    /// another key.
    #[must_use]
    pub fn shown(&self) -> Self {
        let mut shown = Self::new(self.kind(), self.version);
        for (label, value) in self.pairs() {
            shown.field(label, self::shown(label, value));
        }
        shown
    }

    /// Labels and values, in the order they were described.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let starts = std::iter::once(self.kind).chain(self.fields.iter().map(|(_, value)| *value));
        let ends = self.fields.iter();
        starts
            .zip(ends)
            .map(|(start, &(label, value))| (&self.text[start..label], &self.text[label..value]))
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Fingerprint {
        let mut fingerprint = Fingerprint::new("deploy", 1);
        fingerprint.field("image", "sha256:1").field("env.A", "1");
        fingerprint
    }

    #[test]
    fn the_key_of_known_fields_never_changes() {
        assert_eq!(sample().key().to_string(), "gb1-4b837b0f625cd40d3822efdb2d9fcf5cb039544d");
    }

    #[test]
    fn order_does_not_matter_but_borders_do() {
        let mut turned = Fingerprint::new("deploy", 1);
        turned.field("env.A", "1").field("image", "sha256:1");
        assert_eq!(turned.key(), sample().key());
        let mut shifted = Fingerprint::new("deploy", 1);
        shifted.field("env.A", "1image").field("", "sha256:1");
        assert_ne!(shifted.key(), sample().key());
        assert_ne!(Fingerprint::new("deploy", 2).key(), Fingerprint::new("deploy", 1).key());
    }

    #[test]
    fn keys_are_read_back_from_their_text() {
        let key = sample().key();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert!(key.to_string().len() <= 50);
        assert_eq!("gb1-12".parse::<Key>(), Err(NotAKey));
        assert_eq!("gb1-é".parse::<Key>(), Err(NotAKey));
    }

    #[test]
    fn changes_name_the_field_and_both_values() {
        let mut new = Fingerprint::new("deploy", 1);
        new.field("image", "sha256:2").field("env.B", "1");
        let fields: Vec<_> = new
            .changes_since(&sample())
            .into_iter()
            .map(|change| (change.field, change.old, change.new))
            .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            fields,
            [
                ("env.A".to_owned(), some("1"), None),
                ("env.B".to_owned(), None, some("1")),
                ("image".to_owned(), some("sha256:1"), some("sha256:2")),
            ]
        );
    }
}
