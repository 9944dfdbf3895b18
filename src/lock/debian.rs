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
    /// What a base has beside what was asked for, and how its packages make a layer.
    #[serde(default, skip_serializing_if = "BaseLayout::is_first")]
    pub layout: BaseLayout,
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

/// How bases are made of packages, by a number in the lock: one that is locked stays as it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum BaseLayout {
    /// Of locks that don't say any: a shell and a C library come with what was asked for, and `/var/run`
    /// and `/var/lock` are directories, as packages ship them.
    #[default]
    First = 1,
    /// All packages come with it that Debian calls essential, and those two are links, as base-files'
    /// script leaves them.
    Essential = 2,
}

impl BaseLayout {
    /// The layout of what is locked now.
    pub const NEWEST: Self = Self::Essential;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks it this way")]
    fn is_first(&self) -> bool {
        *self == Self::First
    }
}

impl From<BaseLayout> for u32 {
    fn from(layout: BaseLayout) -> Self {
        layout as Self
    }
}

impl TryFrom<u32> for BaseLayout {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        let newest = u32::from(Self::NEWEST);
        let mut known = [Self::First, Self::Essential].into_iter();
        known.find(|layout| u32::from(*layout) == number).ok_or_else(|| {
            format!(
                "this goatbuild knows layouts of Debian bases up to {newest}, and not {number}: \
                 use a newer goatbuild"
            )
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_a_number_that_older_locks_lack_and_newer_ones_may_have_more_of() {
        let base = |layout: &str| {
            let text = format!(
                "suite = \"bookworm\"\n{layout}architecture = \"amd64\"\nsnapshot = \"20261123T000000Z\"\n\
                 glibc = \"2.36\"\npackages = []\n"
            );
            toml::from_str::<LockedDebian>(&text).map(|base| (base, text))
        };
        for (written, layout) in [("", BaseLayout::First), ("layout = 2\n", BaseLayout::Essential)]
        {
            let (base, text) = base(written).unwrap();
            assert_eq!(base.layout, layout);
            assert_eq!(toml::to_string(&base).unwrap(), text);
        }
        let error = base("layout = 3\n").unwrap_err();
        assert_eq!(
            error.message(),
            "this goatbuild knows layouts of Debian bases up to 2, and not 3: use a newer goatbuild"
        );
    }
}
