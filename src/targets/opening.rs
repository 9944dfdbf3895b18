//! How a target comes to be of a project that has it.

use std::path::{Path, PathBuf};

use super::Target;
use crate::fetch::Fetcher;
use crate::spec::{Project, TargetType};

/// A kind of target that can be opened.
pub trait Opens: TargetType {
    /// The target of a project; none where the project doesn't have it.
    fn open(&self, opening: &Opening<'_>) -> Option<Box<dyn Target>>;
}

/// What a target is opened with.
#[derive(Debug)]
pub struct Opening<'a> {
    /// What the project's files say.
    pub project: &'a Project,
    /// The project's `cache/`.
    pub cache: PathBuf,
    /// The state directory of all projects on this machine.
    pub state: &'a Path,
    /// This program, for supervising servers.
    pub program: &'a Path,
    /// The network.
    pub fetcher: &'a Fetcher,
    /// Reads an environment variable; one that is empty is none.
    pub variable: fn(&str) -> Option<String>,
}
