//! Pythons for bases that have none: pinned builds of python-build-standalone.
//!
//! Digests are those that uv itself installs by (`download-metadata.json` of uv, August 2026).

use std::path::{Path, PathBuf};

use super::PythonError;
use crate::digest::Digest;
use crate::event::Reporter;
use crate::fetch::{Expected, Fetcher};
use crate::lock::LockedPython;
use crate::platform::{Architecture, MajorMinor};

/// Where builds are published; a mirror has the same paths below it.
const PUBLISHED: &str = "https://github.com/astral-sh/python-build-standalone/releases/download";

/// The date of all builds below.
const BUILD: &str = "20260814";

/// Version, then the SHA-256 of its build for amd64 and for arm64.
const BUILDS: [(&str, Digest, Digest); 5] = [
    (
        "3.10.21",
        Digest::known("807bb6746dd8b7a347fe833ee1cc2543457e5c2c98059dc454600468ee7cae7b"),
        Digest::known("686077ed8d668e3446f03f202bc3c99955d350a0db0ace5f8ce45f1b451b54b7"),
    ),
    (
        "3.11.16",
        Digest::known("3b437f08720d3ddd9c1904532476ec9fb373e800d1598c72c907dd6d5f29b79b"),
        Digest::known("6a250f5c9326eebaa528d5d132cd66ebd1d7540cf45ac703f19e13f41d1be9b6"),
    ),
    (
        "3.12.14",
        Digest::known("5acfa3e9ba26b51ae161c83aff278da915b590d22373a424b2ba55b8afe91fcc"),
        Digest::known("2d8e17dfd732102cfeb18e0e1fa6769b24caa034e159981129590fe409c7157a"),
    ),
    (
        "3.13.15",
        Digest::known("aaca2af2ab4d7b68a712660d1334c0cfd5ec13c0312ccd30c29122d8d0342320"),
        Digest::known("985efd78c1c6521b379f7c64c2a25e6a1130f07441d1af8be441aa05260886aa"),
    ),
    (
        "3.14.7",
        Digest::known("cefba034445d2875408d1fd4d5700ae6731563aeb54dcb39fd8164ab5c457533"),
        Digest::known("86dfb106b303fa6a1991f7da42ced3e11576f777be299b3162e06617b6d22542"),
    ),
];

/// The known build of a Python.
pub fn standalone(
    version: MajorMinor,
    architecture: Architecture,
) -> Result<LockedPython, PythonError> {
    let prefix = format!("{version}.");
    let found = BUILDS.iter().find(|(full, ..)| full.starts_with(&prefix));
    let Some((full, amd64, arm64)) = found else {
        let there = BUILDS.map(|(full, ..)| full.rsplit_once('.').map_or(full, |(minor, _)| minor));
        return Err(PythonError::NoBuild { version: version.to_string(), there: there.join(", ") });
    };
    let sha256 = match architecture {
        Architecture::Amd64 => amd64,
        Architecture::Arm64 => arm64,
    };
    Ok(LockedPython { version: (*full).to_owned(), build: BUILD.to_owned(), sha256: *sha256 })
}

/// Where a build's archive is in `directory`, or would be.
pub fn archive_of(python: &LockedPython, directory: &Path) -> PathBuf {
    directory.join(format!("python-{}", python.sha256.hex()))
}

/// Fetches a build's archive into `directory`, unless it is there.
///
/// uv's variable for a mirror of the builds is honoured.
pub async fn fetch_standalone(
    fetcher: &Fetcher,
    python: &LockedPython,
    architecture: Architecture,
    directory: &Path,
    reporter: &Reporter,
) -> Result<PathBuf, PythonError> {
    let file = archive_of(python, directory);
    if file.is_file() {
        return Ok(file);
    }
    tokio::fs::create_dir_all(directory).await.map_err(PythonError::io(directory))?;
    let LockedPython { version, build, sha256 } = python;
    let name = format!(
        "cpython-{version}%2B{build}-{}-unknown-linux-gnu-install_only_stripped.tar.gz",
        architecture.machine()
    );
    let mirror = std::env::var("UV_PYTHON_INSTALL_MIRROR").ok().filter(|mirror| !mirror.is_empty());
    let root = mirror.as_deref().unwrap_or(PUBLISHED).trim_end_matches('/');
    let expected = Expected { size: None, sha256: *sha256 };
    let sources = [format!("{root}/{build}/{name}")];
    fetcher.file(&format!("Python {version}"), &sources, &expected, &file, reporter).await?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_found_by_minor_version() {
        let version = |text: &str| text.parse().expect("a version");
        let found = standalone(version("3.12"), Architecture::Amd64).expect("a build");
        assert!(found.version.starts_with("3.12.") && found.sha256.hex().starts_with("5acfa3e9"));
        let error = standalone(version("3.1"), Architecture::Amd64).expect_err("no build");
        assert!(error.to_string().contains("3.1"), "{error}");
    }
}
