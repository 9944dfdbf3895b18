//! The project's own files: read or written as a whole, or not at all.

use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use crate::durable;
use crate::step::StepError;

/// A file of the project can't be read or written.
#[derive(Debug, Error, Diagnostic)]
#[error("{} can't be {verb}: {source}", path.display())]
#[diagnostic(code(goatbuild::project::file), help("is the disk full? check the permissions"))]
pub struct FileError {
    pub(super) path: PathBuf,
    pub(super) verb: &'static str,
    pub(super) source: std::io::Error,
}

/// The error for a file of the project that is there and can't be read.
pub fn unreadable(path: PathBuf, source: std::io::Error) -> StepError {
    FileError { path, verb: "read", source }.into()
}

/// Makes a directory of the project, and those above it.
pub fn make_directory(path: &Path) -> Result<(), StepError> {
    let failed = |source| FileError { path: path.to_owned(), verb: "made", source };
    Ok(std::fs::create_dir_all(path).map_err(failed)?)
}

/// Writes a file of the project as a whole.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), StepError> {
    write_as(path, bytes, 0o644)
}

/// The same for a file that is its owner's alone.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StepError> {
    write_as(path, bytes, 0o600)
}

fn write_as(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StepError> {
    let failed = |source| FileError { path: path.to_owned(), verb: "written", source };
    Ok(durable::write(path, bytes, mode).map_err(failed)?)
}
