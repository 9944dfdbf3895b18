//! What a project is once it is read: typed, checked, defaults filled in.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::choosing::Choosing;
use super::devices::Device;
use super::engine::Engine;
use super::gateway::GatewaySettings;
use super::kinds::Kinds;
use super::left_out::LeftOut;
use super::name::{EnvironmentName, ImageName, ModelName, ProjectId, VolumeName};
use super::named::NamedRepository;
use super::patterns::FilePatterns;
use super::problem::SpecError;
use super::reference::{ImageReference, LayoutReference};
use super::secret::Secret;
use super::serve::Serve;
use super::source::{Located, SourceFile};
use super::target::{Takes, TargetSettings, TargetType, TargetTypes};
use crate::engine::{Cache, Engines};
use crate::platform::{Architecture, MajorMinor};

/// A project as its files describe it, for one environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// What marks this project's resources elsewhere.
    pub id: ProjectId,
    /// What stands before a model's name in its app's name.
    pub app_prefix: String,
    /// The environment whose overrides are applied, unless it is the default one.
    pub environment: Option<EnvironmentName>,
    /// All environments that the project's file names.
    pub environments: Vec<EnvironmentName>,
    /// Settings of the places where models are served.
    pub targets: TargetSettings,
    /// Where models can be served.
    pub target_types: TargetTypes,
    /// What can serve.
    pub engines: Engines,
    /// Volumes by their name in the project; `model-cache` and the engines' own are always there.
    pub volumes: BTreeMap<VolumeName, Volume>,
    /// Every GPU that may be asked for: the built-in ones and the project's own.
    pub gpus: BTreeMap<String, Gpu>,
    /// Its secrets, by name; one that only settings of targets name need not be here.
    pub secrets: BTreeMap<String, Secret>,
    /// Registries, as `host:port`, that are spoken to without TLS; loopback always is.
    pub plain_http: Vec<String>,
    /// The gateway, if the project has one.
    pub gateway: Option<GatewaySettings>,
    /// All models that are to be served.
    pub models: BTreeMap<ModelName, Arc<Model>>,
    /// Models whose specs say that they are not: what is served of them goes away.
    pub absent: BTreeMap<ModelName, Arc<Model>>,
    /// All images, also those that no model uses.
    pub images: BTreeMap<ImageName, Image>,
    /// What is none of these, since it could not be read; nothing unless somebody said that the
    /// rest is enough.
    pub left_out: LeftOut,
}

impl Project {
    /// The volumes that a model's servers see: all but those that other engines alone have.
    pub fn volumes_of(&self, model: &Model) -> impl Iterator<Item = (&VolumeName, &Volume)> {
        let own = model.engine.kind.caches();
        let others: Vec<Cache> =
            self.engines.caches().into_iter().filter(|cache| !own.contains(cache)).collect();
        self.volumes
            .iter()
            .filter(move |(name, _)| !others.iter().any(|it| it.volume == name.as_str()))
    }

    /// The image of `model`; reading has made sure that it exists.
    pub fn image_of(&self, model: &Model) -> &Image {
        self.images
            .get(&model.image.value)
            .unwrap_or_else(|| panic!("BUG: {} has no image {}", model.name, model.image.value))
    }

    /// What marks this project's resources elsewhere: its id, and the environment unless it is the
    /// default one. No id has a `/`.
    pub fn owner(&self) -> String {
        match &self.environment {
            Some(environment) => format!("{}/{environment}", self.id),
            None => self.id.to_string(),
        }
    }

    /// How a model's target takes its image.
    pub fn takes(&self, model: &Model) -> Takes {
        let settings = self.targets.of(model.target);
        settings.map_or(Takes::Cached, |it| model.target.takes(it, self.image_of(model)))
    }

    /// Where images are pushed for a target to take, if the project says so.
    pub fn registry(&self) -> Option<&str> {
        self.target_types.iter().find_map(|target| target.registry(self.targets.of(target)?))
    }
}

/// Who builds an image for a target that can build some itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Builder {
    /// The target does, from the lock: pinned, not bit-identical. Needs no registry.
    Target,
    /// goatbuild does, and pushes it.
    Oci,
}

/// A directory that outlives deployments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The name that the target knows it by.
    pub name: String,
    /// Where the image sees it: an absolute path.
    pub mount: String,
}

/// What is known of a GPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gpu {
    /// Memory in GiB.
    pub vram_gib: f64,
    /// Price of one GPU for one hour, in US dollars.
    pub usd_per_hour: f64,
    /// Whether the project's file says the price.
    pub is_stated: bool,
}

/// One model: what `specs/<model>.toml` describes.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The file's name.
    pub name: ModelName,
    /// Where it is written; equal for all models (see [`Located`]).
    pub file: Located<()>,
    /// The image that serves it; exists in [`Project::images`].
    pub image: Located<ImageName>,
    /// Whether it is to be served at all.
    pub state: State,
    /// Where it is served.
    pub target: &'static dyn TargetType,
    /// Environment variables for this model only, over the image's.
    pub env: BTreeMap<String, String>,
    /// Variables for this model only whose values are secrets, by name.
    pub secret_env: BTreeMap<String, Located<String>>,
    /// Where the weights come from.
    pub source: ModelSource,
    /// The draft model for speculative decoding.
    pub draft: Option<Draft>,
    /// The GPUs to serve on; always there for engines that need them, where the target allots them.
    pub hardware: Option<Hardware>,
    /// What a replica has of its machine beside them.
    pub reserved: Reserved,
    /// What serves it.
    pub engine: Engine,
    /// What its engine's flags name on a hub.
    pub named: Vec<NamedRepository>,
    /// What its server answers to beside its own names, each with an entry in the gateway.
    pub adapters: Vec<Located<String>>,
    /// How it is served.
    pub serve: Serve,
    /// Its entry in the gateway; there when the project has a gateway.
    pub gateway: Option<GatewayEntry>,
}

/// Whether a model is to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum State {
    /// It is.
    #[default]
    Present,
    /// It is kept away, and its spec for later.
    Absent,
}

/// Where weights come from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelSource {
    /// `path:…`: a directory, relative to the project and inside it, with `/` between parts.
    Path(String),
    /// `hf:…`: a repository on the Hugging Face hub.
    Hub(HubSource),
}

impl ModelSource {
    /// The source, when it is on a hub.
    pub fn hub(&self) -> Option<&HubSource> {
        match self {
            Self::Hub(source) => Some(source),
            Self::Path(_) => None,
        }
    }
}

/// A part of a repository on the Hugging Face hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubSource {
    /// `organisation/name`.
    pub repository: String,
    /// A commit of 40 lower-case hex digits, a branch or a tag; `main` when not given.
    pub revision: String,
    /// Which of its files are wanted.
    pub files: FilePatterns,
}

impl HubSource {
    /// The commit, when the spec itself names it: nothing about it can move.
    pub fn pinned(&self) -> Option<&str> {
        is_commit(&self.revision).then_some(&*self.revision)
    }
}

impl fmt::Display for HubSource {
    /// `organisation/name@revision`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.repository, self.revision)
    }
}

/// Says whether `text` is a whole commit id: 40 lower-case hex digits.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `[draft]`: speculative decoding with a second, smaller model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Where its weights come from, with its own revision.
    pub source: ModelSource,
    /// The engine's name for the method, such as `eagle3`.
    pub method: String,
    /// How many tokens are proposed per step; at least 1.
    pub num_speculative_tokens: u32,
}

/// `[hardware]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// A name in [`Project::gpus`].
    pub gpu: String,
    /// How many of them: 1 to 8.
    pub count: u32,
    /// No other one, be it better: where a target gives such unless it is told.
    pub exact: bool,
    /// Which of this machine's; all that it has where none is named.
    pub devices: Vec<Device>,
}

/// What a replica is sure to have of its machine's processor and memory; what isn't said is the
/// target's own choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Thousandths of a physical core.
    pub milli_cpu: Option<u32>,
    /// MiB.
    pub memory_mib: Option<u32>,
}

impl Reserved {
    /// Its cores.
    pub fn cores(self) -> Option<f64> {
        self.milli_cpu.map(|milli| f64::from(milli) / 1000.0)
    }

    /// Its memory in GiB.
    pub fn gib(self) -> Option<f64> {
        self.memory_mib.map(|mib| f64::from(mib) / 1024.0)
    }
}

/// `[gateway]` of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayEntry {
    /// The name in the gateway; the model's with the suffix when not given. Unique in the project.
    pub alias: Located<String>,
    /// From the project's `gateway.alias-suffix`: what aliases end in for whose models clients send
    /// `tool_choice: "auto"` and a temperature of their own. Empty when clients treat none so.
    pub suffix: String,
    /// What aliases of adapters end in: nothing in the default environment, and the suffix in others,
    /// whose entries may be in the same file.
    pub adapter_suffix: String,
}

impl GatewayEntry {
    /// Whether clients treat the alias as one for models that call tools.
    pub fn is_sent_tools(&self) -> bool {
        !self.suffix.is_empty() && self.alias.value.ends_with(&self.suffix)
    }

    /// The alias of one of the model's adapters.
    pub fn adapter_alias(&self, adapter: &str) -> String {
        format!("{adapter}{}", self.adapter_suffix)
    }
}

/// One image: what `images/<image>.toml` describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The file's name.
    pub name: ImageName,
    /// Where it is written; equal for all images (see [`Located`]).
    pub file: Located<()>,
    /// From `platform`; never the host's.
    pub architecture: Architecture,
    /// What lies under the wheels.
    pub base: Base,
    /// The Python to serve with; the base's own when not given.
    pub python: Option<MajorMinor>,
    /// The base's C library, for a base that is not pulled to look for it.
    pub glibc: Option<MajorMinor>,
    /// Requirements as written (PEP 508), not parsed yet.
    pub requirements: Vec<Located<String>>,
    /// Requirements that replace whatever any package asks of the same name, as written.
    pub overrides: Vec<Located<String>>,
    /// How its wheels are chosen otherwise.
    pub choosing: Choosing,
    /// Directories of packages of the project's own, relative to it, with `/` between parts.
    pub local: Vec<Located<String>>,
    /// Environment variables, over the base's.
    pub env: BTreeMap<String, String>,
    /// Labels of its configuration.
    pub labels: BTreeMap<String, String>,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// Who builds it, when that isn't the target's choice.
    pub builder: Option<Builder>,
}

/// What lies at the bottom of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Locked Debian packages in one layer.
    Debian {
        /// The release's name, such as `bookworm`.
        suite: String,
        /// Packages as written, in order; their dependencies come by themselves.
        packages: Vec<Located<String>>,
    },
    /// An image in a registry.
    Registry(ImageReference),
    /// An image in an OCI layout on disk.
    Layout(LayoutReference),
}

/// All files of a project, as text.
#[derive(Debug, Clone)]
pub struct Sources {
    /// `goatbuild.toml`.
    pub project: SourceFile,
    /// `specs/*.toml`.
    pub specs: Vec<SourceFile>,
    /// `images/*.toml` without the `*.pylock.toml`.
    pub images: Vec<SourceFile>,
    /// What of these is no text, or could not be read at all.
    pub mistakes: Vec<SpecError>,
    /// What files may name.
    pub kinds: Kinds,
}

impl Sources {
    /// The mistakes that were found while this file was read from the disk.
    pub fn mistakes_of(&self, file: &SourceFile) -> Vec<SpecError> {
        let of_file = |error: &&SpecError| error.place.file().path == file.path;
        self.mistakes.iter().filter(of_file).cloned().collect()
    }
}

impl Model {
    /// Where its weights come from: its own, its draft's, and what its engine's flags name.
    pub fn sources(&self) -> impl Iterator<Item = &ModelSource> {
        std::iter::once(&self.source)
            .chain(self.draft.as_ref().map(|draft| &draft.source))
            .chain(self.named.iter().map(|named| &named.source))
    }

    /// Those of its sources that are on a hub.
    pub fn hub_sources(&self) -> impl Iterator<Item = &HubSource> {
        self.sources().filter_map(ModelSource::hub)
    }

    /// The file that describes it.
    pub fn source_file(&self) -> &Arc<SourceFile> {
        self.file.place.file()
    }
}
