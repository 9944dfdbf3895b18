//! A base layer from locked Debian packages: no root, no Docker, no dpkg, no script ever run.
//!
//! [`resolve`] asks a mirror for a suite's signed index and chooses packages; [`fetch_packages`]
//! fetches exactly those, after [`foresee`] looked whether their scripts can be followed; [`write_layer`] merges them into one tar whose bytes depend on nothing
//! but the lock and the epoch. What the packages' maintainer scripts would do is done as data: a script is
//! followed, and the commands that are known change the tree (`shell`, `system`); those of a few packages
//! have words of their own, which a person reviewed (`reviewed.toml`). What is neither is an error.

mod alternatives;
mod archive;
mod certificates;
mod chosen;
mod configure;
mod database;
mod deb;
mod edit;
mod elf;
mod error;
#[cfg(test)]
mod fixture;
mod foreseen;
#[cfg(test)]
mod foreseen_tests;
mod heads;
mod index;
mod layer;
mod loader_cache;
mod needed;
mod packages;
mod release;
mod scripts;
mod shell;
mod solve;
mod system;
#[cfg(test)]
mod tests;
mod tree;
mod version;

pub use self::error::DebianError;
pub use self::foreseen::foresee;
pub use self::layer::write_layer;
pub use self::packages::{fetch_packages, resolve};
pub use crate::lock::{BaseLayout, LockedDebian, LockedPackage};
use crate::platform::Architecture;

/// What an image asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebianRequest {
    /// The suite's code name, such as `bookworm`: `main` alone, without updates and security.
    pub suite: String,
    /// Package names; what they depend on, and the parts of a usable system, come by themselves.
    pub packages: Vec<String>,
    /// The image's processor.
    pub architecture: Architecture,
    /// What else the base has.
    pub layout: BaseLayout,
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
