//! `goatbuild.lock`: what moving references resolved to, and what pure steps made of them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, NamedSource, SourceSpan};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;
use toml::de::{DeTable, ValueDeserializer};

use super::hub::Access;
use super::pylock::normalised;
use super::{LockedBase, LockedDebian, LockedPrices, LockedPython, LockedRepository};
use crate::digest::Digest;
use crate::engine::{Engines, LockedEngine};
use crate::fingerprint::Key;
use crate::platform::Runtime;
use crate::spec::ImageName;
use crate::step::{Fact, Facts, StepId};

/// The format that this version reads and writes.
const VERSION: u32 = 1;

const HEADER: &str = "\
# Made by `goatbuild lock`; commit it. What the specs leave open is settled here, and what every
# image was built to, so that a machine with an empty cache plans the same.
";

/// All that is locked besides the wheels, which have `images/<image>.pylock.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// The format; 1.
    pub version: u32,
    /// What each image's base resolved to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", rename = "image")]
    pub images: BTreeMap<String, LockedImage>,
    /// What the engines in the images take, by the file names of their wheels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", rename = "engine")]
    pub engines: BTreeMap<String, LockedEngine>,
    /// What each revision of a repository on a hub stood for, by `organisation/name@revision`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hub: BTreeMap<String, LockedRepository>,
    /// What is paid at each target, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: BTreeMap<String, LockedPrices>,
    /// What pure steps made, so that a rebuild that differs is noticed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub built: BTreeMap<StepId, Built>,
}

/// The lock's entry of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// Digest of what the image's file asks for; another digest means that this entry is missing.
    pub request: String,
    /// What wheels have to run on.
    pub runtime: Runtime,
    /// The base, when it is made of Debian packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debian: Option<LockedDebian>,
    /// The base, when it is pulled and its image was looked at; one that the image's file pins by
    /// digest needs no look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<LockedBase>,
    /// The Python that is added to a base that is pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<LockedPython>,
}

/// What a pure step made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Built {
    /// The step's key then.
    pub key: Key,
    /// What it made.
    #[serde(deserialize_with = "facts")]
    pub facts: Facts,
}

/// Facts, of which the digests are digests: they become names of files.
fn facts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Facts, D::Error> {
    struct Named;

    impl<'de> Visitor<'de> for Named {
        type Value = Facts;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("facts")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Facts, A::Error> {
            let mut facts = Facts::new();
            while let Some(name) = map.next_key::<String>()? {
                let value = if Fact::is_digest(&name) {
                    map.next_value::<Digest>()?.to_string()
                } else {
                    map.next_value()?
                };
                facts.insert(name, value);
            }
            Ok(facts)
        }
    }
    deserializer.deserialize_map(Named)
}

impl LockedImage {
    /// Whether the base has a package of this name.
    pub fn has(&self, package: &str) -> bool {
        let packages = self.debian.iter().flat_map(|debian| &debian.packages);
        packages.into_iter().any(|locked| locked.name == package)
    }
}

impl Default for LockFile {
    fn default() -> Self {
        Self {
            version: VERSION,
            images: BTreeMap::new(),
            engines: BTreeMap::new(),
            hub: BTreeMap::new(),
            prices: BTreeMap::new(),
            built: BTreeMap::new(),
        }
    }
}

/// Why a lock can't be used.
#[derive(Debug, Error, Diagnostic)]
pub enum LockFileError {
    /// It isn't what this version writes.
    #[error("{path} can't be read: {message}")]
    #[diagnostic(
        code(goatbuild::lock::syntax),
        help(
            "undo the edit or resolve the merge; or delete the file and run `goatbuild lock` to lock everything anew"
        )
    )]
    Syntax {
        /// The file.
        path: String,
        /// What is wrong.
        message: String,
        /// Its text.
        #[source_code]
        text: Arc<NamedSource<String>>,
        /// Where.
        #[label("here")]
        span: Option<SourceSpan>,
    },
    /// A newer goatbuild wrote it.
    #[error("{path} has format {found}; this goatbuild knows {VERSION}")]
    #[diagnostic(code(goatbuild::lock::newer), help("use a newer goatbuild"))]
    Newer {
        /// The file.
        path: String,
        /// Its format.
        found: i64,
    },
}

impl LockFile {
    /// Reads the bytes of a lock. `path` is for errors.
    pub fn read(path: &str, bytes: &[u8]) -> Result<Self, LockFileError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let (at, shown) = (error.valid_up_to(), String::from_utf8_lossy(bytes));
            wrong(path, &shown, "it is not UTF-8 text".to_owned(), Some(at..at + 1))
        })?;
        Self::parse(path, text)
    }

    /// Reads the text of a lock. `path` is for errors.
    pub fn parse(path: &str, text: &str) -> Result<Self, LockFileError> {
        let syntax = |error| syntax(path, text, &error);
        let table: toml::Table = toml::from_str(text).map_err(syntax)?;
        match table.get("version").and_then(toml::Value::as_integer) {
            Some(found) if found > i64::from(VERSION) => {
                Err(LockFileError::Newer { path: path.to_owned(), found })
            }
            _ => toml::from_str(text).map_err(syntax),
        }
    }

    /// The text to write: the same for the same content.
    pub fn render(&self) -> String {
        let body = toml::to_string(self)
            .unwrap_or_else(|error| panic!("BUG: the lock can't be written as TOML: {error}"));
        format!("{HEADER}\n{body}")
    }

    /// Fails where the text has something of an engine that the engine doesn't write, or of a wheel
    /// that is no engine's. What engines keep in the lock is theirs to judge.
    pub fn check_engines(path: &str, text: &str, engines: Engines) -> Result<(), LockFileError> {
        let table = DeTable::parse(text).map_err(|error| syntax(path, text, &error))?.into_inner();
        let kept = table.get("engine").and_then(|kept| kept.get_ref().as_table());
        for (wheel, data) in kept.into_iter().flatten() {
            let distribution =
                wheel.get_ref().split('-').next().map(normalised).unwrap_or_default();
            let Some(engine) = engines.iter().find(|engine| engine.is_in_wheel(&distribution))
            else {
                let message = format!("`{}` is no wheel of an engine", wheel.get_ref());
                return Err(wrong(path, text, message, Some(wheel.span())));
            };
            let checked = engine.check_kept(ValueDeserializer::from(data.clone()));
            checked.map_err(|error| syntax(path, text, &error))?;
        }
        Ok(())
    }

    /// Who may fetch a repository, as its hub said of any revision that is locked.
    pub fn access(&self, repository: &str) -> Option<Access> {
        let is_of = |name: &str| name.split('@').next() == Some(repository);
        let of = self.hub.iter().filter(|(name, _)| is_of(name));
        of.filter_map(|(_, locked)| locked.access).max()
    }

    /// The entry of an image, if it answers this request.
    pub fn image(&self, image: &ImageName, request: &str) -> Option<&LockedImage> {
        self.images.get(image.as_str()).filter(|locked| locked.request == request)
    }
}

fn syntax(path: &str, text: &str, error: &toml::de::Error) -> LockFileError {
    wrong(path, text, error.message().to_owned(), error.span())
}

fn wrong(path: &str, text: &str, message: String, at: Option<Range<usize>>) -> LockFileError {
    LockFileError::Syntax {
        path: path.to_owned(),
        message,
        text: Arc::new(NamedSource::new(path, text.to_owned())),
        span: at.map(SourceSpan::from),
    }
}

#[cfg(test)]
mod tests;
