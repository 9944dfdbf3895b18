//! What an engine says went into its compile cache's key, as digests by name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// How many hexadecimal digits of a digest are kept: enough to compare two by.
const DIGITS: usize = 32;

/// What the names of environment variables have in them that tend to hold secrets.
const SECRET: [&str; 6] = ["KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL", "AUTH"];

/// Named factors of one compiled artifact.
///
/// vLLM 0.13.0 writes raw values, an API key among them: only digests leave the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Factors(BTreeMap<String, String>);

impl Factors {
    /// Reads a JSON object; tables in it give names with dots, everything else is a value.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let mut factors = BTreeMap::new();
        for (name, value) in value.as_object()? {
            flatten(name, value, &mut factors);
        }
        Some(Self(factors))
    }

    /// The names of what differs, and of what only one of both has.
    pub(super) fn differing<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a str> {
        let names = self.0.keys().chain(other.0.keys());
        names.filter(|name| self.0.get(*name) != other.0.get(*name)).map(String::as_str).collect()
    }

    /// What may be written down: the digest by name, and none of what may be a secret, since a short
    /// one could be guessed from it.
    pub(super) fn kept(&self) -> BTreeMap<String, Option<String>> {
        let secret = |name: &str| {
            let name = name.to_uppercase();
            SECRET.iter().any(|word| name.contains(word))
        };
        let kept = |(name, digest): (&String, &String)| {
            (name.clone(), (!secret(name)).then(|| digest.clone()))
        };
        self.0.iter().map(kept).collect()
    }
}

fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value.as_object() {
        Some(table) if !table.is_empty() => {
            for (inner, value) in table {
                flatten(&format!("{name}.{inner}"), value, into);
            }
        }
        _ => {
            let digest = blake3::hash(value.to_string().as_bytes()).to_hex();
            into.insert(name.to_owned(), digest[..DIGITS].to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Factors {
        Factors::read(text.as_bytes()).expect("an object")
    }

    #[test]
    fn factors_are_compared_by_name_down_into_tables() {
        let one =
            read(r#"{"env": {"HOME": "/root", "A": null}, "code_hash": "1", "code": [1, 2]}"#);
        let two = read(
            r#"{"code": [2, 1], "env": {"HOME": "/home", "A": null, "B": {}}, "code_hash": "1"}"#,
        );
        assert_eq!(one.differing(&two), BTreeSet::from(["code", "env.B", "env.HOME"]));
        assert_eq!(two.differing(&one), one.differing(&two));
        assert!(one.differing(&one.clone()).is_empty());
    }

    #[test]
    fn what_may_be_a_secret_is_kept_by_name_alone() {
        let factors = read(r#"{"env": {"VLLM_API_KEY": "hunter2", "HOME": "/root"}}"#);
        let other = read(r#"{"env": {"VLLM_API_KEY": "hunter3", "HOME": "/root"}}"#);
        assert_eq!(factors.differing(&other), BTreeSet::from(["env.VLLM_API_KEY"]));
        let kept = factors.kept();
        assert_eq!(kept["env.VLLM_API_KEY"], None);
        assert_eq!(kept["env.HOME"].as_ref().map(String::len), Some(DIGITS));
        assert_eq!(kept, other.kept());
    }

    #[test]
    fn what_is_no_object_has_no_factors() {
        assert_eq!(Factors::read(b"[1]"), None);
        assert_eq!(Factors::read(b"{\"env\": "), None);
    }
}
