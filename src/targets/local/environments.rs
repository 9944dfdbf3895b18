//! All projects and environments that this machine keeps a state of.

use std::io;
use std::path::{Path, PathBuf};

use super::LocalError;
use super::state::State;
use crate::step::StepError;

/// The state directory of a project's environment, `""` for the default one.
pub fn state_of(state: &Path, project: &str, environment: &str) -> PathBuf {
    let environment = if environment.is_empty() { "default" } else { environment };
    state.join(project).join(environment)
}

/// The volumes of the environment whose state directory this is.
pub fn volumes_of(environment: &Path) -> PathBuf {
    environment.join("volumes")
}

/// Where earlier versions had the volumes of all environments, in a project's `cache/`.
pub fn old_volumes_of(cache: &Path) -> PathBuf {
    cache.join("volumes")
}

/// The state directories of one project's environments.
pub fn environments_of(state: &Path, project: &str) -> Result<Vec<PathBuf>, StepError> {
    directories(&state.join(project))
}

/// The state directories of all projects' environments.
pub fn environments(state: &Path) -> Result<Vec<PathBuf>, StepError> {
    let mut found = Vec::new();
    for project in directories(state)? {
        // Unpacked images are shared, and of no project.
        if project.file_name().is_some_and(|name| name != "roots") {
            found.extend(directories(&project)?);
        }
    }
    Ok(found)
}

/// What is deployed on this machine by any project, as it is written down.
///
/// A file that can't be read is an error: what it names must be known before anything is removed.
pub fn deployed(state: &Path) -> Result<String, StepError> {
    let mut text = String::new();
    for environment in environments(state)? {
        let path = State::file(&environment);
        match std::fs::read_to_string(&path) {
            Ok(more) => text.push_str(&more),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(LocalError::File { path, source }.into()),
        }
    }
    Ok(text)
}

fn directories(of: &Path) -> Result<Vec<PathBuf>, StepError> {
    let unusable = |source| LocalError::File { path: of.to_owned(), source };
    let entries = match std::fs::read_dir(of) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(unusable(source).into()),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unusable)?;
        if entry.file_type().map_err(unusable)?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
