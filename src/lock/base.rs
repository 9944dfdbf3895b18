//! What the lock keeps of a base that is pulled, and of a Python that is added to it.

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
