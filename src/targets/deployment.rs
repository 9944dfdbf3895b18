//! What a target is asked for: a model to serve, and its weights.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::PinnedFile;
use crate::fetch::Fetcher;
use crate::fingerprint::Key;
use crate::hub::{Hub, Manifest, RemoteFile};
use crate::lock::hub::Access;
use crate::spec::{Api, Model};
use crate::step::{Fact, Facts};

/// Gives the program and its arguments for what names the model, for an address, for a port, and for a
/// deployment's mark.
pub type CommandLine = dyn Fn(&str, &str, u16, Option<&str>) -> Vec<String> + Send + Sync;

/// What is to be served, whatever the target is.
#[derive(Clone)]
pub struct Deployment {
    /// The model.
    pub model: String,
    /// What its spec says.
    pub spec: Arc<Model>,
    /// What it is asked for.
    pub api: Api,
    /// The digest of the image's manifest, or the target's id of the image.
    pub image: String,
    /// The image's name in the project.
    pub image_name: String,
    /// Its reference by digest, where the target takes it from a registry.
    pub image_from: Option<String>,
    /// Whether the model asks for a graphics processor.
    pub gpu: bool,
    /// The weights.
    pub weights: PinnedRepository,
    /// What requests call the model.
    pub served_name: String,
    /// The name that no other deployment answers to; none where there is no telling by a name.
    pub mark: Option<String>,
    /// The program and its arguments; the port is filled in by `command`.
    pub command: Arc<CommandLine>,
    /// Environment variables over the image's.
    pub environment: BTreeMap<String, String>,
    /// The port, when the spec names one.
    pub port: Option<u16>,
    /// The path that answers 200 once it is up.
    pub health: String,
    /// How long a start may take.
    pub startup_timeout: Duration,
    /// The warm-up whose caches it starts from; none where nothing is warmed.
    pub warm_cache: Option<Key>,
    /// The name of the files there that tell what went into the cache's key.
    pub cache_factors: Option<&'static str>,
    /// The names in its compile cache that are written when it compiles a graph alone.
    pub graphs: &'static [&'static str],
}

/// Weights as a model cache knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedRepository {
    /// `organisation/name`.
    pub repository: String,
    /// 40 lower-case hexadecimal digits.
    pub commit: String,
}

impl PinnedRepository {
    /// The facts of the step that puts it there, known before it does.
    pub fn facts(&self) -> Facts {
        [Fact::REPOSITORY.is(&self.repository), Fact::COMMIT.is(&self.commit)].into()
    }
}

/// Weights that a target is to hold.
#[derive(Debug, Clone)]
pub struct Weights {
    /// What they are.
    pub pinned: PinnedRepository,
    /// Where they come from.
    pub origin: WeightsOrigin,
}

/// Where weights come from.
#[derive(Debug, Clone)]
pub enum WeightsOrigin {
    /// A directory on this machine.
    Directory {
        /// Its files.
        manifest: Manifest,
        /// Where it is.
        from: std::path::PathBuf,
    },
    /// A hub.
    Hub {
        /// Which one, and how to ask it.
        hub: Hub,
        /// The branches and tags that stand for the commit.
        branches: Vec<String>,
        /// Who may fetch it; none where nobody knows.
        access: Option<Access>,
        /// The files that are wanted.
        files: Vec<RemoteFile>,
    },
    /// An address of its own.
    File {
        /// What it is.
        pinned: PinnedFile,
        /// What its bytes are.
        file: RemoteFile,
        /// Where this machine takes files like it from, if not from where they are published.
        mirror: Option<String>,
        /// How this machine asks.
        fetcher: Fetcher,
    },
}
