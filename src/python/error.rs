//! What can go wrong with Python packages.

use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::fetch::FetchError;
use crate::lock::pylock::PylockError;

/// Why packages could not be resolved or fetched.
#[derive(Debug, Error, Diagnostic)]
pub enum PythonError {
    /// No set of wheels satisfies the requirements.
    #[error(
        "the requirements of image {image} cannot be satisfied\n{explanation}{}",
        found_part(found)
    )]
    #[diagnostic(code(goatbuild::python::unsatisfiable), help("{help}"))]
    Unsatisfiable {
        /// The image.
        image: String,
        /// uv's own words.
        explanation: String,
        /// What the index has of the packages that uv found unusable, and why none fits.
        found: Vec<String>,
        /// What to do about it.
        help: String,
    },
    /// There is no build of that Python to add to a base.
    #[error("there is no Python {version} to add to a base")]
    #[diagnostic(
        code(goatbuild::python::no_build),
        help("choose one of {there}, or a base with its own and no `python`")
    )]
    NoBuild {
        /// As written.
        version: String,
        /// The versions that there are.
        there: String,
    },
    /// A requirement is not one that can be locked.
    #[error("image {image} cannot require `{requirement}`: {reason}")]
    #[diagnostic(
        code(goatbuild::python::requirement),
        help("write it as `name[extra]==VERSION`, or `name @ https://….whl`")
    )]
    Requirement {
        /// The image.
        image: String,
        /// The requirement as written.
        requirement: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A package has both an index of its own and an override.
    #[error(
        "image {image} overrides {package}, which `index` says is from {index}: uv has no index for overrides"
    )]
    #[diagnostic(
        code(goatbuild::python::overridden_index),
        help(
            "write its version into `requirements` (`{package}==VERSION`), or take it out of one of the two"
        )
    )]
    OverriddenIndex {
        /// The image.
        image: String,
        /// The package.
        package: String,
        /// Its index.
        index: String,
    },
    /// The index doesn't say what was there when.
    #[error(
        "the requirements of image {image} cannot be satisfied as of {as_of}: the index does not say when {file} was uploaded{}\n{explanation}",
        also(*others)
    )]
    #[diagnostic(
        code(goatbuild::python::no_times),
        help(
            "PyPI tells it, and PyTorch's index does not: leave out `as-of` and pin versions instead; an `index` without times has no packages as of a day"
        )
    )]
    NoTimes {
        /// The image.
        image: String,
        /// The time.
        as_of: String,
        /// One of its files.
        file: String,
        /// How many more there are.
        others: usize,
        /// uv's own words.
        explanation: String,
    },
    /// uv needs some interpreter to start from, and there is none.
    #[error("uv found no Python interpreter on this machine")]
    #[diagnostic(
        code(goatbuild::python::no_interpreter),
        help(
            "install any python3; its version does not matter, the image's is what is resolved for"
        )
    )]
    NoInterpreter,
    /// uv failed otherwise.
    #[error("uv failed for image {image}\n{output}")]
    #[diagnostic(
        code(goatbuild::python::uv_failed),
        help(
            "check the network and the index settings (UV_DEFAULT_INDEX, PIP_INDEX_URL, SSL_CERT_FILE)"
        )
    )]
    Uv {
        /// The image.
        image: String,
        /// What uv wrote to standard error.
        output: String,
    },
    /// `--offline`, and there is no uv.
    #[error("uv {version} is needed, but --offline forbids fetching it")]
    #[diagnostic(
        code(goatbuild::python::uv_offline),
        help("run once without --offline, or install uv")
    )]
    UvOffline {
        /// The version that would be fetched.
        version: &'static str,
    },
    /// There is no uv for this machine.
    #[error("there is no uv {version} for {machine}")]
    #[diagnostic(
        code(goatbuild::python::uv_platform),
        help("install uv yourself, so that it is on PATH")
    )]
    UvPlatform {
        /// The version that would be fetched.
        version: &'static str,
        /// This machine.
        machine: String,
    },
    /// The index does not serve the pinned uv.
    #[error("{index} does not serve {filename}")]
    #[diagnostic(
        code(goatbuild::python::uv_missing),
        help(
            "install uv yourself, so that it is on PATH, or name an index that has it (UV_DEFAULT_INDEX)"
        )
    )]
    UvMissing {
        /// The index asked, without credentials.
        index: String,
        /// The wheel.
        filename: String,
    },
    /// A locked wheel is no longer served anywhere.
    #[error("{filename}, locked for {package} {version}, is gone from every index")]
    #[diagnostic(
        code(goatbuild::python::gone),
        help(
            "it was withdrawn, or your mirror lacks it: `goatbuild lock --upgrade IMAGE` locks what is there now"
        )
    )]
    Gone {
        /// The package.
        package: String,
        /// Its locked version.
        version: String,
        /// Its locked file.
        filename: String,
    },
    /// The lock file itself is at fault.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lock(#[from] PylockError),
    /// A download failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(#[from] FetchError),
    /// A file or process could not be handled.
    #[error("{}: {source}", path.display())]
    #[diagnostic(code(goatbuild::python::io), help("is the disk full? check the permissions"))]
    Io {
        /// The file or program.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl PythonError {
    /// Wraps a system error with the file it is about.
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

fn also(others: usize) -> String {
    match others {
        0 => String::new(),
        others => format!(", nor {others} more"),
    }
}

fn found_part(found: &[String]) -> String {
    found.iter().fold(String::new(), |text, part| text + "\n\n" + part)
}
