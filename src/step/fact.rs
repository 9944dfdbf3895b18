//! What facts are called: each name is spelled here, and nowhere else.

use std::fmt;

use super::Facts;
use crate::digest::Digest;

/// The name of a fact: one thing that identifies what a step made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact(&'static str);

impl Fact {
    /// The digest of a layer, or of an image's manifest.
    pub const DIGEST: Self = Self("digest");
    /// The digest of a layer that is not compressed.
    pub const DIFF_ID: Self = Self("diff-id");
    /// The size of a layer, in bytes.
    pub const SIZE: Self = Self("size");
    /// What a wheel that was built is called.
    pub const WHEEL: Self = Self("wheel");
    /// The digest of its content, as it is kept.
    pub const WHEEL_DIGEST: Self = Self("wheel-digest");
    /// An image in a registry, by digest.
    pub const REFERENCE: Self = Self("reference");
    /// What a target calls an image that it built.
    pub const IMAGE_ID: Self = Self("image-id");
    /// Where weights come from.
    pub const REPOSITORY: Self = Self("repository");
    /// The commit of weights.
    pub const COMMIT: Self = Self("commit");
    /// The model that a cache is for.
    pub const MODEL: Self = Self("model");
    /// The key of a cache.
    pub const CACHE: Self = Self("cache");
    /// One start of a server.
    pub const INSTANCE: Self = Self("instance");
    /// Where a server answers.
    pub const URL: Self = Self("url");
    /// What requests call a model.
    pub const SERVED_NAME: Self = Self("served-name");
    /// What a gateway calls a model.
    pub const ALIAS: Self = Self("alias");

    /// Whether the value of the fact of this name is a digest.
    pub fn is_digest(name: &str) -> bool {
        [Self::DIGEST, Self::DIFF_ID, Self::WHEEL_DIGEST].iter().any(|fact| fact.0 == name)
    }

    #[cfg(test)]
    pub(crate) const fn of_tests(name: &'static str) -> Self {
        Self(name)
    }

    /// The name, as records, rows and the lock have it.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// The fact with its value.
    pub fn is(self, value: impl Into<String>) -> (String, String) {
        (self.0.to_owned(), value.into())
    }

    /// Its value, if it is among these.
    pub fn of(self, facts: &Facts) -> Option<&String> {
        facts.get(self.0)
    }

    /// The digest that is its value, if one is.
    pub fn digest_of(self, facts: &Facts) -> Option<Digest> {
        self.of(facts)?.parse().ok()
    }

    /// Its value; nothing where it is not known.
    pub fn text_of(self, facts: &Facts) -> &str {
        self.of(facts).map_or("", String::as_str)
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}
