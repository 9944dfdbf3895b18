//! How a target comes to be of a project that has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Target;
use crate::engine::Engines;
use crate::fetch::Fetcher;
use crate::import::{Found, Remarks, Script, Secrets};
use crate::lock::LockedPrices;
use crate::spec::{Project, TargetType};

/// A kind of target that can be opened.
pub trait Opens: TargetType {
    /// The target of a project; none where the project doesn't have it.
    fn open(&self, opening: &Opening<'_>) -> Option<Box<dyn Target>>;

    /// What a script deploys there that somebody keeps by hand, as specs say it.
    ///
    /// `addresses` are those that a gateway's file leads to.
    fn import(&self, script: &Script, addresses: &[String], engines: Engines) -> Imported {
        let _ = (script, addresses, engines);
        Imported::default()
    }
}

/// What a script deploys.
#[derive(Debug, Default)]
pub struct Imported {
    /// Whether the script speaks of the target at all.
    pub is_ours: bool,
    /// What it deploys that can be written as a spec.
    pub found: Vec<Found>,
    /// What is to be said of the rest.
    pub remarks: Remarks,
    /// The keys and tokens that are written into it.
    pub secrets: Vec<Secrets>,
}

/// What a target is opened with.
#[derive(Debug)]
pub struct Opening<'a> {
    /// What the project's files say.
    pub project: &'a Project,
    /// What is paid at each target, by its name, as the lock has it.
    pub prices: &'a BTreeMap<String, LockedPrices>,
    /// The project's directory.
    pub root: &'a Path,
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
