//! What can be wrong with a `pylock.toml`, and the way out.

use std::fmt::Write as _;

use miette::Diagnostic;
use thiserror::Error;

use super::tags::Misfit;
use crate::platform::{MajorMinor, Runtime};

/// How many wheels an error lists; the nearest misses come first.
const LISTED: usize = 6;

/// Why a `pylock.toml` cannot be used.
#[derive(Debug, Error, Diagnostic)]
pub enum PylockError {
    /// The text is not TOML, or not of the standard's shape.
    #[error("this is no pylock.toml: {reason}")]
    #[diagnostic(
        code(goatbuild::lock::pylock),
        help("restore it from version control, or delete it and run `goatbuild lock`")
    )]
    Malformed {
        /// The parser's words.
        reason: String,
    },
    /// The format is newer than this goatbuild.
    #[error("pylock.toml has lock-version {found}; only 1.x is understood")]
    #[diagnostic(code(goatbuild::lock::pylock_version), help("use a newer goatbuild"))]
    Version {
        /// The file's version.
        found: String,
    },
    /// A marker is not one that a runtime decides.
    #[error("the marker of {package} cannot be evaluated: {marker}")]
    #[diagnostic(
        code(goatbuild::lock::marker),
        help("delete the file and run `goatbuild lock`, which writes none")
    )]
    Marker {
        /// The package.
        package: String,
        /// The marker as written.
        marker: String,
    },
    /// Two versions of one package are wanted at once.
    #[error("{package} is locked twice: {first} and {second}")]
    #[diagnostic(
        code(goatbuild::lock::duplicate),
        help("delete the file and run `goatbuild lock`")
    )]
    Duplicate {
        /// The package.
        package: String,
        /// One version.
        first: String,
        /// The other.
        second: String,
    },
    /// The package is not a wheel from an index or a URL.
    #[error("{package} is locked to {kind}, which other machines cannot fetch and verify")]
    #[diagnostic(
        code(goatbuild::lock::not_a_wheel),
        help("require a published wheel: `{package}==VERSION`, or `{package} @ https://….whl`")
    )]
    NotAWheel {
        /// The package.
        package: String,
        /// What it is instead.
        kind: &'static str,
    },
    /// No wheel of the package runs on the runtime.
    #[error(
        "no wheel of {package} {version} runs on Python {} with glibc {} ({}){}",
        runtime.python, runtime.glibc, runtime.architecture.machine(), listed(candidates)
    )]
    #[diagnostic(code(goatbuild::lock::no_wheel), help("{}", way_out(package, candidates)))]
    NoWheel {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// What it should run on.
        runtime: Runtime,
        /// Each wheel there is, and why it does not fit.
        candidates: Vec<(String, Misfit)>,
    },
    /// The chosen wheel has no SHA-256 to verify it with.
    #[error("the lock gives no SHA-256 for {filename}")]
    #[diagnostic(
        code(goatbuild::lock::unverifiable),
        help(
            "its index publishes none: lock with uv 0.13.9 or newer, which hashes such wheels as it fetches them, or with an index that publishes SHA-256 digests"
        )
    )]
    Unverifiable {
        /// The wheel.
        filename: String,
    },
}

fn listed(candidates: &[(String, Misfit)]) -> String {
    if candidates.is_empty() {
        return ": it is published as source only".to_owned();
    }
    let mut sorted: Vec<_> = candidates.iter().collect();
    sorted.sort_by_key(|(_, misfit)| match misfit {
        Misfit::NewerGlibc { .. } => 0,
        Misfit::OtherPython(_) => 1,
        Misfit::OtherPlatform(_) | Misfit::BadName => 2,
    });
    let mut text = ":".to_owned();
    for (name, misfit) in sorted.iter().take(LISTED) {
        let _ = write!(text, "\n  {name} {misfit}");
    }
    if sorted.len() > LISTED {
        let _ = write!(text, "\n  … and {} more", sorted.len() - LISTED);
    }
    text
}

fn way_out(package: &str, candidates: &[(String, Misfit)]) -> String {
    let newer = candidates.iter().filter_map(|(_, misfit)| match misfit {
        Misfit::NewerGlibc { needed, .. } => Some(*needed),
        _ => None,
    });
    if let Some(needed) = newer.min_by_key(|version: &MajorMinor| (version.major, version.minor)) {
        return format!(
            "choose a base with glibc {needed} or newer, or a version of {package} built for an older one"
        );
    }
    if candidates.is_empty() {
        return format!(
            "goatbuild never builds from source: require a version of {package} that has wheels, \
             or build one and require `{package} @ https://….whl`"
        );
    }
    if candidates.iter().any(|(_, misfit)| matches!(misfit, Misfit::OtherPython(_))) {
        return format!(
            "choose a Python that {package} has wheels for, or another version of {package}"
        );
    }
    format!("choose a version of {package} that has wheels for the image's platform")
}
