//! A base layer from locked Debian packages: no root, no Docker, no dpkg, no script ever run.
//!
//! [`resolve`] asks a mirror for a suite's signed index and chooses packages; [`fetch_packages`]
//! fetches exactly those; [`write_layer`] merges them into one tar whose bytes depend on nothing
//! but the lock and the epoch. What the packages' maintainer scripts would do is done as data, from
//! a table that a person reviewed (`reviewed.toml`); a script outside of it is an error.

mod archive;
mod certificates;
mod configure;
mod database;
mod deb;
mod elf;
mod error;
mod index;
mod layer;
mod loader_cache;
mod packages;
mod release;
mod scripts;
mod solve;
#[cfg(test)]
mod tests;
mod tree;
mod version;

use serde::{Deserialize, Serialize};

pub use self::error::DebianError;
pub use self::layer::write_layer;
pub use self::packages::{fetch_packages, resolve};
use crate::platform::{Architecture, MajorMinor};

/// What an image asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebianRequest {
    /// The suite's code name, such as `bookworm`: `main` alone, without updates and security.
    pub suite: String,
    /// Package names; what they depend on, and the parts of a usable system, come by themselves.
    pub packages: Vec<String>,
    /// The image's processor.
    pub architecture: Architecture,
}

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
    /// Its lower-case hexadecimal SHA-256.
    pub sha256: String,
}

/// Where packages come from; every source serves the same bytes, which the lock knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    /// A current mirror, which drops superseded versions.
    pub pool: String,
    /// A snapshot archive, to which a time and a path are appended.
    pub snapshot: Option<String>,
    /// A mirror of one's own, asked last.
    pub mirror: Option<String>,
}

impl Default for Mirrors {
    fn default() -> Self {
        Self {
            pool: "http://deb.debian.org/debian".to_owned(),
            snapshot: Some("https://snapshot.debian.org/archive/debian".to_owned()),
            mirror: None,
        }
    }
}
