//! What the lock keeps of a base that is made of Debian packages.

use serde::{Deserialize, Serialize};

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
    /// All packages, by name.
    pub packages: Vec<LockedPackage>,
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
