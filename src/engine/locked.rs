//! What an engine keeps in the lock: its own data, which it alone reads.

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Spanned;

/// An engine as its locked wheel defines it, in the engine's own words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LockedEngine {
    /// In the order in which the engine writes them, so that the lock has them in that order.
    fields: Vec<(String, toml::Value)>,
}

impl LockedEngine {
    /// What an engine has to keep.
    pub fn of(data: &impl Serialize) -> Self {
        let text = toml::to_string(data).map_err(|error| error.to_string());
        let kept = text.and_then(|text| toml::from_str(&text).map_err(|error| error.to_string()));
        kept.unwrap_or_else(|error| panic!("BUG: an engine's data is no table: {error}"))
    }

    /// What an engine kept; the error says what in it is not as that engine writes it.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, toml::de::Error> {
        let fields = self.fields.iter().cloned();
        toml::Value::Table(fields.collect()).try_into()
    }
}

impl Serialize for LockedEngine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for LockedEngine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = LockedEngine;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an engine's data")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LockedEngine, A::Error> {
                let mut fields: Vec<(String, Spanned<toml::Value>)> = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                // They come in the order of the alphabet, whatever the file's.
                fields.sort_by_key(|(_, value)| value.span().start);
                let plain = |(name, value): (_, Spanned<toml::Value>)| (name, value.into_inner());
                Ok(LockedEngine { fields: fields.into_iter().map(plain).collect() })
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_in_the_same_order() {
        let text = "reading = 2\nb = [\"x\"]\na = [\"y\", \"z\"]\n\n[flags]\nlong = \"size\"\n\n[objects.A]\nb = \"text\"\n";
        let locked: LockedEngine = toml::from_str(text).unwrap();
        assert_eq!(toml::to_string(&locked).unwrap(), text);
        assert_eq!(LockedEngine::of(&locked), locked);
        assert_eq!(locked.read::<toml::Table>().unwrap()["reading"].as_integer(), Some(2));
        assert!(locked.read::<std::collections::BTreeMap<String, u32>>().is_err());
        let shipped = include_str!("../../goatbuild.lock");
        let lock = crate::lock::LockFile::parse("goatbuild.lock", shipped).unwrap();
        assert!(!lock.engines.is_empty());
        assert_eq!(lock.render(), shipped);
    }
}
