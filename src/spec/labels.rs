//! Labels and annotations of an image: what its file says about it, for registries and scanners.

use std::collections::BTreeMap;

use super::problem::Problem;
use super::table::Table;

/// What a key looks like. OCI asks for a name that is not empty, and recommends reversed domains.
const KEY: &str = "a name like `org.opencontainers.image.source`";

/// Reads the texts of a table by their keys.
///
/// Dots that aren't quoted make tables of tables in TOML: those mean the key that was written.
pub(super) fn labels<'a>(root: &mut Table<'a, '_>, key: &'a str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    collect(root.table(key), "", &mut labels);
    labels
}

fn collect(mut table: Table<'_, '_>, above: &str, labels: &mut BTreeMap<String, String>) {
    for key in table.other_keys() {
        let name = match above {
            "" => key.value.to_owned(),
            _ => format!("{above}.{}", key.value),
        };
        if table.holds_table(key.value) {
            collect(table.table(key.value), &name, labels);
        } else if !is_key(&name) {
            let kind = "a label";
            table.report(Problem::BadName { kind, name, expected: KEY }, &key.spot);
            table.find(key.value);
        } else if let Some(text) = table.string(key.value)
            && labels.insert(name, text.value.to_owned()).is_some()
        {
            table.bad(key.value, "a second one", "each name once", &key.spot);
        }
    }
    table.finish();
}

/// Printable signs that no format gives a meaning to.
fn is_key(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:+@".contains(&byte);
    !name.is_empty() && name.bytes().all(is_plain)
}
