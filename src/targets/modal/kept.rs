//! What goatbuild keeps at Modal beside what it made there: one file per project and environment,
//! in the volume that has the weights.
//!
//! With it a machine without a cache knows what stands, and since when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::ModalError;
use crate::fingerprint::{Fingerprint, Key};
use crate::step::Facts;

/// The directory in volumes that is goatbuild's.
pub(super) const DIRECTORY: &str = ".goatbuild";

/// The newest format that is understood.
const FORMAT: u32 = 1;

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) format: u32,
    /// Whose it is.
    pub(super) project: String,
    /// The workspace that the credentials belong to.
    #[serde(default)]
    pub(super) workspace: Option<String>,
    /// What addresses have behind the workspace.
    #[serde(default)]
    pub(super) suffix: Option<String>,
    /// The images that Modal built, by key.
    #[serde(default)]
    pub(super) images: BTreeMap<Key, String>,
    /// What is deployed, by model.
    #[serde(default)]
    pub(super) deployments: BTreeMap<String, Deployed>,
    /// What stays as it is, by model.
    #[serde(default)]
    pub(super) holds: BTreeMap<String, Hold>,
}

/// A deployment that stays as it is until somebody ends that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hold {
    /// What it was rolled back to.
    pub(super) key: Key,
    /// Modal's number of the version that this made; none as long as it is under way.
    pub(super) version: Option<u32>,
    /// Who did it, as Modal calls them.
    pub(super) by: Option<String>,
    /// RFC 3339.
    pub(super) since: String,
}

/// A deployment as it was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deployed {
    /// The app's name.
    pub(super) app: String,
    /// Modal's own name for it.
    pub(super) id: String,
    /// Modal's number of the version.
    pub(super) version: u32,
    pub(super) key: Key,
    /// What the key is made of.
    pub(super) applied: Fingerprint,
    /// The base URL of the engine's API.
    pub(super) url: String,
    pub(super) served_name: String,
    /// RFC 3339.
    pub(super) at: String,
    /// The key of the smoke test that this version passed.
    #[serde(default)]
    pub(super) smoke: Option<Key>,
}

impl Deployed {
    /// What identifies it: nothing that Modal does not know too.
    pub(super) fn instance(&self) -> String {
        format!("{}/v{}", self.id, self.version)
    }

    pub(super) fn facts(&self) -> Facts {
        [
            ("instance", self.instance()),
            ("url", self.url.clone()),
            ("served-name", self.served_name.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

impl Kept {
    pub(super) fn new(owner: &str) -> Self {
        Self {
            format: FORMAT,
            project: owner.to_owned(),
            workspace: None,
            suffix: None,
            images: BTreeMap::new(),
            deployments: BTreeMap::new(),
            holds: BTreeMap::new(),
        }
    }

    /// Where the program that was deployed for a key is in the volume, and what the key is made of:
    /// with the ends `.py` and `.json`.
    pub(super) fn program(owner: &str, model: &str, key: &Key) -> String {
        format!("/{DIRECTORY}/{}/{model}/{key}", Self::programs(owner))
    }

    /// The directory of such programs.
    pub(super) fn programs(owner: &str) -> String {
        format!("deployed-{}", owner.replace('/', "."))
    }

    /// The name of the file. An owner's `/` becomes a dot, which no project's id has.
    pub(super) fn file(owner: &str) -> String {
        format!("project-{}.json", owner.replace('/', "."))
    }

    /// Reads the file; an empty one is a project's first.
    pub(super) fn read(text: &str, owner: &str, volume: &str) -> Result<Self, ModalError> {
        #[derive(Deserialize)]
        struct Formatted {
            format: u32,
        }
        if text.is_empty() {
            return Ok(Self::new(owner));
        }
        match serde_json::from_str::<Formatted>(text) {
            Ok(Formatted { format }) if format > FORMAT => Err(ModalError::Newer {
                file: format!("{DIRECTORY}/{}", Self::file(owner)),
                volume: volume.to_owned(),
                format,
            }),
            // What can't be read is written anew: apps carry their keys themselves.
            _ => Ok(serde_json::from_str(text).unwrap_or_else(|_| Self::new(owner))),
        }
    }

    pub(super) fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| panic!("BUG: {error}"))
    }
}
