//! Reads tables whose keys aren't goatbuild's own: an engine's flags.

use std::collections::BTreeMap;

use super::context::Layer;
use super::table::{Found, Table};
use super::value::{self, FlagValue, Value};

impl<'a> Table<'a, '_> {
    /// All keys that weren't asked for, with values of any type, merged leaf by leaf.
    pub(super) fn flags(&mut self) -> BTreeMap<String, FlagValue> {
        let mut flags = BTreeMap::new();
        for key in self.other_keys() {
            let Some(found) = self.every(key.value).next() else { continue };
            let Some(value) = self.flag(key.value, &found) else { continue };
            let flag = FlagValue { key: key.spot.place(), place: found.spot().place(), value };
            flags.insert(key.value.to_owned(), flag);
        }
        flags
    }

    fn flag(&self, key: &'a str, found: &Found<'a>) -> Option<Value> {
        if found.value.get_ref().is_table() {
            let fields = self.flag_table(key).flags();
            if fields.is_empty() {
                self.trace(key, found);
            }
            return Some(Value::Table(fields));
        }
        self.trace(key, found);
        match value::value(found.value, found.layer.file) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.bad(key, value::type_name(found.value.get_ref()), expected, &found.spot());
                None
            }
        }
    }

    /// The table `key` through the layers above the first that has something else there.
    fn flag_table(&self, key: &str) -> Self {
        let table = |found: Found<'a>| {
            Some(Layer { table: found.value.get_ref().as_table()?, ..found.layer })
        };
        let layers = self.every(key).map_while(table).collect();
        let path = self.field(key) + ".";
        Self::new(self.context, path, layers, self.spot.clone())
    }
}
