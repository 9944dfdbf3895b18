//! What can go wrong while a package is built.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use crate::step::StepId;

/// Why there is no wheel.
#[derive(Debug, Error, Diagnostic)]
pub(super) enum BuildError {
    /// The backend says so, or broke.
    #[error("{package} could not be built: its backend ended with status {status}\n{tail}")]
    #[diagnostic(
        code(goatbuild::build::failed),
        help(
            "`goatbuild logs {step}` shows all of it. It is built with what `[build-system] requires` and the image's base have, without a network"
        )
    )]
    Failed { package: String, status: i32, tail: String, step: StepId },
    /// The backend wants more than is locked.
    #[error("{package} could not be built: its backend {backend} also takes {}", missing.join(", "))]
    #[diagnostic(code(goatbuild::build::requires), help("{}", add(missing)))]
    Missing { package: String, backend: String, missing: Vec<String> },
    /// There is not exactly one wheel, or that of another package.
    #[error("the backend of {package} made {found}, and not one wheel of that name")]
    #[diagnostic(
        code(goatbuild::build::wheel),
        help("`name` in `[project]` and what the backend calls the package have to be the same")
    )]
    Wheel { package: String, found: String },
    /// A file could not be handled.
    #[error("{}: {source}", path.display())]
    #[diagnostic(code(goatbuild::build::io), help("is the disk full? check the permissions"))]
    File { path: PathBuf, source: io::Error },
}

impl BuildError {
    /// Wraps a system error with the file it is about.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

fn add(missing: &[String]) -> String {
    let quoted: Vec<String> = missing.iter().map(|text| format!("\"{text}\"")).collect();
    format!(
        "add {} to `[build-system] requires` in its pyproject.toml: nothing is built with what isn't locked",
        quoted.join(", ")
    )
}
