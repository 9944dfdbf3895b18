//! What the lock keeps of vLLM: which flags the locked version takes, and what they take.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// vLLM as its locked wheel defines it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Taken {
    /// How the wheel was read; another version of goatbuild may read more out of it.
    pub reading: u32,
    /// The wheel's distribution and version.
    pub distribution: String,
    /// The version.
    pub version: String,
    /// Environment variables that it knows.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub environment: BTreeSet<String>,
    /// Parsers of tool calls.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tool_parsers: BTreeSet<String>,
    /// Parsers of reasoning.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reasoning_parsers: BTreeSet<String>,
    /// Model architectures that it implements itself.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub architectures: BTreeSet<String>,
    /// Parts of the model types that EAGLE3 can draft for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub eagle3_targets: BTreeSet<String>,
    /// Its flags, without the dashes in front.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flags: BTreeMap<String, Flag>,
    /// Where the reading of its flags ended: there may be more than these.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unread: BTreeSet<String>,
    /// The fields of the objects that flags take.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub objects: BTreeMap<String, BTreeMap<String, Flag>>,
}

/// What a flag takes. Written as one text: `integer`, `one-of a|b`, `text ...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// One value.
    pub kind: ValueKind,
    /// How many values.
    pub many: Many,
}

/// What one value of a flag is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueKind {
    /// Nothing: the flag alone says yes.
    Switch,
    /// Nothing: the flag says yes, and with `no-` in front no.
    Toggle,
    /// A whole number.
    Integer,
    /// A whole number, perhaps with a unit: `16k`.
    Size,
    /// The same, or `auto`, which is -1.
    SizeOrAuto,
    /// A number.
    Number,
    /// Any text.
    Text,
    /// One of a few words or numbers.
    OneOf(Vec<String>),
    /// Any JSON.
    Json,
    /// JSON, or a text that isn't.
    JsonOrText,
    /// Something that the wheel doesn't tell in a way that goatbuild reads.
    Unread,
    /// A JSON object with the fields of this name in [`Taken::objects`].
    Object(String),
    /// The same, written as a Python literal: `True` for `true`.
    Python(String),
}

/// How many values a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Many {
    /// One.
    One,
    /// None or one.
    Optional,
    /// Several, one after the other behind the flag.
    Several,
    /// Several, each with the flag in front.
    Repeated,
}

impl Flag {
    /// A flag that takes one value of this kind.
    pub fn one(kind: ValueKind) -> Self {
        Self { kind, many: Many::One }
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ValueKind::Switch => formatter.write_str("switch"),
            ValueKind::Toggle => formatter.write_str("toggle"),
            ValueKind::Integer => formatter.write_str("integer"),
            ValueKind::Size => formatter.write_str("size"),
            ValueKind::SizeOrAuto => formatter.write_str("size-or-auto"),
            ValueKind::Unread => formatter.write_str("unread"),
            ValueKind::Number => formatter.write_str("number"),
            ValueKind::Text => formatter.write_str("text"),
            ValueKind::OneOf(words) => write!(formatter, "one-of {}", words.join("|")),
            ValueKind::Json => formatter.write_str("json"),
            ValueKind::JsonOrText => formatter.write_str("json-or-text"),
            ValueKind::Object(name) => write!(formatter, "object {name}"),
            ValueKind::Python(name) => write!(formatter, "python {name}"),
        }?;
        formatter.write_str(match self.many {
            Many::One => "",
            Many::Optional => " ?",
            Many::Several => " ...",
            Many::Repeated => " *",
        })
    }
}

impl FromStr for Flag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, many) =
            [(" ?", Many::Optional), (" ...", Many::Several), (" *", Many::Repeated)]
                .into_iter()
                .find_map(|(end, many)| Some((text.strip_suffix(end)?, many)))
                .unwrap_or((text, Many::One));
        let (word, of) = rest.split_once(' ').unwrap_or((rest, ""));
        let kind = match word {
            "switch" => ValueKind::Switch,
            "toggle" => ValueKind::Toggle,
            "integer" => ValueKind::Integer,
            "size" => ValueKind::Size,
            "size-or-auto" => ValueKind::SizeOrAuto,
            "unread" => ValueKind::Unread,
            "number" => ValueKind::Number,
            "text" => ValueKind::Text,
            "one-of" => ValueKind::OneOf(of.split('|').map(str::to_owned).collect()),
            "json" => ValueKind::Json,
            "json-or-text" => ValueKind::JsonOrText,
            "object" => ValueKind::Object(of.to_owned()),
            "python" => ValueKind::Python(of.to_owned()),
            _ => return Err(format!("`{text}` is no kind of flag")),
        };
        Ok(Self { kind, many })
    }
}

impl Serialize for Flag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
