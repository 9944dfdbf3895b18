//! What the lock keeps of a base that is made of Debian packages.

use std::collections::BTreeSet;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::{self, Digest};
use crate::platform::{Architecture, MajorMinor};

/// What the lock keeps of a Debian base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedDebian {
    /// The suite's code name.
    pub suite: String,
    /// The image's processor.
    pub architecture: Architecture,
    /// A time at which a snapshot archive has these packages, such as `20261123T000000Z`.
    pub snapshot: String,
    /// The C library's version, which decides what wheels fit.
    pub glibc: MajorMinor,
    /// The version of the package python3, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<MajorMinor>,
    /// All packages, by name, each once.
    #[serde(deserialize_with = "packages")]
    pub packages: Vec<LockedPackage>,
}

/// Packages, none of which is there twice, as after a merge: which of the two is meant is not known.
fn packages<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<LockedPackage>, D::Error> {
    let packages = Vec::<LockedPackage>::deserialize(deserializer)?;
    let mut names = BTreeSet::new();
    match packages.iter().find(|package| !names.insert(&package.name)) {
        Some(twice) => Err(D::Error::custom(format!("package `{}` is there twice", twice.name))),
        None => Ok(packages),
    }
}

/// One Debian package, down to its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its path on any mirror, such as `pool/main/d/dash/dash_0.5.12-2_amd64.deb`.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Of its bytes.
    #[serde(with = "digest::bare")]
    pub sha256: Digest,
}
