//! What the lock keeps of a base that is pulled, and of a Python that is added to it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::{self, Digest};

/// A base in a registry or in a layout on disk, down to its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedBase {
    /// What was asked for, in full: `docker.io/library/debian:bookworm`.
    pub reference: String,
    /// Of the manifest for the image's platform.
    pub digest: Digest,
    /// Of the index that names it, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Digest>,
    /// Where its own Python is, when that is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// From the bottom up.
    pub layers: Vec<LockedLayer>,
    /// What its configuration sets; none in locks of before images kept any of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<BaseSettings>,
}

/// What a base's configuration sets for those that run it, besides its environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BaseSettings {
    /// Whom it runs as, when that isn't root. No image keeps it: what goatbuild mounts is root's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where it starts, when that isn't `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// What it is asked to stop by: `SIGQUIT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// The ports that it says it listens on: `8000/tcp`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl BaseSettings {
    /// What an image keeps of it, each with the name that keys know it by.
    pub fn kept(&self) -> Vec<(String, String)> {
        let one = |name: &str, value: &Option<String>| {
            value.as_ref().map(|value| (name.to_owned(), value.clone()))
        };
        let ports = self.exposed_ports.iter().cloned().collect::<Vec<_>>().join(" ");
        let ports = Some(ports).filter(|ports| !ports.is_empty());
        let labels = self.labels.iter();
        let labels = labels.map(|(name, value)| (format!("label.{name}"), value.clone()));
        let all = [
            one("working-dir", &self.working_dir),
            one("stop-signal", &self.stop_signal),
            one("exposed-ports", &ports),
        ];
        all.into_iter().flatten().chain(labels).collect()
    }
}

/// One layer of a base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedLayer {
    /// Of the blob.
    pub digest: Digest,
    /// Of the blob, in bytes.
    pub size: u64,
    /// Of the uncompressed tar.
    pub diff_id: Digest,
}

/// One build of a standalone Python.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPython {
    /// The full version: `3.12.14`.
    pub version: String,
    /// The build's date: `20260814`.
    pub build: String,
    /// Of the archive.
    #[serde(with = "digest::bare")]
    pub sha256: Digest,
}
