//! A project with everything its steps work with: lock, cache, network, targets, gateway.

mod engine;
mod files;
mod pushed;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use miette::Diagnostic;
use thiserror::Error;

use crate::debian::Mirrors;
use crate::durable::TEMPORARY;
use crate::event::Reporter;
use crate::fetch::{Fetcher, Patience};
use crate::gateways::{self, Gateway};
use crate::hub::{HashCache, Hub, HubError, HubSettings, Manifest, ModelCache, scan};
use crate::leftovers::{Age, sweep};
use crate::lock::LockFile;
use crate::lock::pylock::LockedWheel;
use crate::oci::Layout;
use crate::oci::registry::{Origin, Puller, RegistrySettings};
use crate::plan::Unwanted;
use crate::platform::{Architecture, Runtime};
use crate::spec::{
    Base, HubSource, Image, ImageName, Model, ModelSource, Place, Problem, Project, SpecError,
    SpecErrors, TargetKind,
};
use crate::step::{StepError, StepId, StepKind};
use crate::store::{Remembered, Store};
use crate::targets::local::{self, Local, Mount, Places};
use crate::targets::modal::{Credentials, Modal};
use crate::targets::{Snapshot, Targets};

use files::read_lock;
pub use files::{FileError, make_directory, unreadable, write};

/// What this version can't do yet, said before anything runs.
#[derive(Debug, Error, Diagnostic)]
pub enum Unsupported {
    /// A processor.
    #[error("{model}: image {image} is for linux/{wanted}, and this machine is {found}")]
    #[diagnostic(
        code(goatbuild::spec::platform),
        help(
            "set `platform` in images/{image}.toml to this machine's, or build it alone: `goatbuild apply --only image:{image}`"
        )
    )]
    Platform {
        /// The model.
        model: String,
        /// Its image.
        image: String,
        /// The image's processor.
        wanted: &'static str,
        /// This machine's, as Rust calls it.
        found: &'static str,
    },
}

/// What an image is made of, all locked.
#[derive(Debug, Clone)]
pub struct LockedParts {
    /// What wheels have to run on.
    pub runtime: Runtime,
    /// The wheels.
    pub wheels: Vec<LockedWheel>,
}

/// How a command was started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Never use the network.
    pub offline: bool,
    /// Leave the lock as it is.
    pub locked: bool,
    /// Where the local target keeps its state.
    pub state: PathBuf,
    /// This program, for supervising servers.
    pub program: PathBuf,
    /// Seconds since 1970 that every file in a layer has.
    pub epoch: u64,
    /// How patient downloads are.
    pub patience: Patience,
    /// Where Debian packages come from.
    pub mirrors: Mirrors,
    /// Docker's configuration files, of which the first that has credentials counts.
    pub credentials: Vec<PathBuf>,
    /// Where Modal's client finds credentials.
    pub modal: Credentials,
    /// Reads which hub to ask, and with which token: only once it is asked.
    pub hub: fn() -> Result<HubSettings, HubError>,
}

/// A project, ready to be planned and applied.
pub struct Workspace {
    /// The project's directory.
    pub root: PathBuf,
    /// What its files say.
    pub project: Project,
    /// How the command was started.
    pub settings: Settings,
    /// What is remembered.
    pub store: Store,
    /// The network.
    pub fetcher: Fetcher,
    /// The gateway's files, when the project has a gateway.
    pub gateway: Option<Box<dyn Gateway>>,
    /// Where its models are served.
    pub targets: Targets,
    hub: OnceLock<Hub>,
    lock: RwLock<LockFile>,
    parts: RwLock<BTreeMap<ImageName, LockedParts>>,
    manifests: RwLock<HashMap<String, Manifest>>,
    seen_pushed: RwLock<pushed::Seen>,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Workspace").field("root", &self.root).finish_non_exhaustive()
    }
}

/// What is wrong with a model's directory of weights, when it is not there or holds nothing.
pub fn weights_mistake(root: &Path, model: &Arc<Model>) -> Option<SpecError> {
    let ModelSource::Path(path) = &model.source else { return None };
    let what = match std::fs::read_dir(root.join(path)).map(Iterator::count) {
        Ok(0) => "has no files",
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "does not exist",
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => "is a file",
        // It is fine, or what else is wrong shows when it is read.
        Ok(_) | Err(_) => return None,
    };
    let place = &model.file.place;
    let place =
        Place::of_field(place.file(), &["model", "source"]).unwrap_or_else(|| place.clone());
    Some(SpecError::new(Problem::NoWeights { path: path.clone(), what }, place))
}

/// Whether a model is one of those that were asked for; all are when none is named.
fn is_asked(model: &Model, asked: &[String]) -> bool {
    asked.is_empty() || asked.iter().any(|name| name == model.name.as_str())
}

impl Workspace {
    /// Opens the cache and the lock of a project that was read.
    pub fn open(root: PathBuf, project: Project, settings: Settings) -> Result<Self, StepError> {
        let environment = project.environment.as_ref().map_or("", |name| name.as_str());
        let store = Store::open(&root.join("cache"), environment)?;
        let lock = read_lock(&root)?;
        let fetcher = Fetcher::new(settings.offline, settings.patience.clone());
        let mount = |name: &str| {
            let (_, volume) = project
                .volumes
                .iter()
                .find(|(known, _)| known.as_str() == name)
                .unwrap_or_else(|| panic!("BUG: the volume {name} is not built in"));
            Mount::of(name, volume)
        };
        let engine_caches = project.engines.caches();
        let others = project
            .volumes
            .iter()
            .filter(|(name, _)| {
                let name = name.as_str();
                name != "model-cache" && !engine_caches.iter().any(|it| it.volume == name)
            })
            .map(|(name, volume)| Mount::of(name.as_str(), volume))
            .collect();
        let ours = local::state_of(&settings.state, project.id.as_str(), environment);
        let places = Places {
            cache: root.join("cache"),
            state: settings.state.clone(),
            ours,
            supervisor: settings.program.clone(),
        };
        let id = project.id.to_string();
        let wish = project.targets.local.runtime;
        let caches = engine_caches.iter().map(|cache| mount(cache.volume)).collect();
        let local = Local::new(id, wish, places, mount("model-cache"), caches, others);
        let gateway = gateways::of(&root, &project);
        let credentials = settings.modal.clone();
        let modal = Modal::new(&project, &root.join("cache"), credentials, fetcher.clone());
        Ok(Self {
            root,
            project,
            settings,
            store,
            fetcher,
            gateway,
            targets: Targets::new(local, modal),
            hub: OnceLock::new(),
            lock: RwLock::new(lock),
            parts: RwLock::default(),
            manifests: RwLock::default(),
            seen_pushed: RwLock::default(),
        })
    }

    /// Refuses images that this machine's processor can't run.
    pub fn check_platforms(&self, asked: &[String]) -> Result<(), Unsupported> {
        let here =
            |model: &&Arc<Model>| model.target == TargetKind::Local && is_asked(model, asked);
        for model in self.project.models.values().filter(here) {
            let image = self.project.image_of(model);
            if image.architecture.machine() != std::env::consts::ARCH {
                return Err(Unsupported::Platform {
                    model: model.name.to_string(),
                    image: image.name.to_string(),
                    wanted: image.architecture.name(),
                    found: std::env::consts::ARCH,
                });
            }
        }
        Ok(())
    }

    /// Fails when a directory of weights is not there, or holds nothing.
    pub fn check_sources(&self, asked: &[String]) -> Result<(), SpecErrors> {
        // Models that share their weights share the mistake, which is told once.
        let mut told = std::collections::BTreeSet::new();
        let first =
            |model: &&Arc<Model>| is_asked(model, asked) && told.insert(model.source.clone());
        let wrong = |model| weights_mistake(&self.root, model);
        SpecErrors::collect(self.project.models.values().filter(first).filter_map(wrong).collect())
    }

    /// Where Debian packages come from.
    pub fn mirrors(&self) -> Mirrors {
        self.settings.mirrors.clone()
    }

    /// Where an image's base comes from, unless it is made of packages.
    pub fn origin(&self, image: &Image) -> Option<Origin> {
        match &image.base {
            Base::Debian { .. } => None,
            Base::Registry(reference) => Some(Origin::Registry(reference.clone())),
            Base::Layout(reference) => {
                Some(Origin::Layout { root: self.root.clone(), reference: reference.clone() })
            }
        }
    }

    /// Brings an image from `origin` into the layout.
    pub fn puller(
        &self,
        origin: Origin,
        architecture: Architecture,
        reporter: &Reporter,
    ) -> Result<Puller, StepError> {
        let (layout, settings) = (self.layout()?, self.registries());
        let fetcher = self.fetcher.telling(reporter);
        Ok(Puller::new(origin, &fetcher, &settings, layout, self.bases(), architecture))
    }

    /// How registries are spoken to.
    pub fn registries(&self) -> RegistrySettings {
        RegistrySettings {
            plain_http: self.project.plain_http.clone(),
            credentials: self.settings.credentials.clone(),
        }
    }

    /// Where bases are while they are fetched, and what was found in them.
    pub fn bases(&self) -> PathBuf {
        self.root.join("cache/bases")
    }

    /// The hub that weights come from.
    pub fn hub(&self) -> Result<Hub, HubError> {
        if let Some(hub) = self.hub.get() {
            return Ok(hub.clone());
        }
        let Settings { offline, patience, hub, .. } = &self.settings;
        let made = Hub::new(hub()?, *offline, patience.clone())?;
        Ok(self.hub.get_or_init(|| made).clone())
    }

    /// The commit that a source on a hub stands for: pinned, or as it is locked, if it is.
    pub fn commit(&self, source: &HubSource) -> Option<String> {
        let locked = || {
            self.lock(|lock| lock.hub.get(&source.to_string()).map(|entry| entry.commit.clone()))
        };
        source.pinned().map(str::to_owned).or_else(locked)
    }

    /// Where an image sees a volume that every project has.
    pub fn mount(&self, volume: &str) -> &str {
        let mut volumes = self.project.volumes.iter();
        let found = volumes.find(|(name, _)| name.as_str() == volume);
        let (_, found) =
            found.unwrap_or_else(|| panic!("BUG: the volume {volume} is not built in"));
        found.mount.trim_end_matches('/')
    }

    /// Where an image sees weights, whatever the target is.
    pub fn path_in_image(&self, snapshot: &Snapshot) -> String {
        let mount = self.mount("model-cache");
        format!("{mount}/{}", ModelCache::snapshot(&snapshot.repository, &snapshot.commit))
    }

    /// Modal, when a model is or was served there.
    pub fn modal_of(&self, model: &str) -> Option<&Modal> {
        let models = [&self.project.models, &self.project.absent];
        let spec = models.into_iter().find_map(|models| models.get(model));
        let here = spec.map(|model| model.target == TargetKind::Modal);
        let there = self.targets.modal_if_there();
        there.filter(|modal| here.unwrap_or_else(|| modal.has_app(model)))
    }

    /// The layout that images are built in.
    pub fn layout(&self) -> Result<Layout, StepError> {
        Ok(Layout::open(&self.root.join("cache/oci"))?)
    }

    /// Reads the lock.
    pub fn lock<T>(&self, read: impl FnOnce(&LockFile) -> T) -> T {
        read(&self.lock.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the lock and writes it, if that makes a difference.
    ///
    /// A `plan` does so while another command is at work: the change is made to what the file holds
    /// now, and nobody else changes it meanwhile. So `plan` need not wait, and nothing gets lost.
    pub fn change_lock(&self, change: impl FnOnce(&mut LockFile)) -> Result<(), StepError> {
        let mut known = self.lock.write().unwrap_or_else(PoisonError::into_inner);
        let path = self.root.join("cache/lock-file-writer");
        let failed = |source| FileError { path: path.clone(), verb: "locked", source };
        let alone = std::fs::File::create(&path).map_err(failed)?;
        alone.lock().map_err(failed)?;
        let before = read_lock(&self.root)?;
        let mut lock = before.clone();
        change(&mut lock);
        if lock != before {
            write(&self.root.join("goatbuild.lock"), lock.render().as_bytes())?;
        }
        *known = lock;
        Ok(())
    }

    /// What an image is made of, once locking has settled it.
    pub fn parts(&self, image: &ImageName) -> LockedParts {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        parts.get(image).cloned().unwrap_or_else(|| panic!("BUG: {image} was not locked"))
    }

    /// Whether locking has settled what an image is made of.
    pub fn is_locked(&self, image: &ImageName) -> bool {
        self.parts.read().unwrap_or_else(PoisonError::into_inner).contains_key(image)
    }

    /// Settles what an image is made of.
    pub fn set_parts(&self, image: ImageName, parts: LockedParts) {
        self.parts.write().unwrap_or_else(PoisonError::into_inner).insert(image, parts);
    }

    /// The files of a model's weights on this machine; hashed at most once per command.
    pub fn manifest(&self, path: &str, reporter: &Reporter) -> Result<Manifest, StepError> {
        let known =
            self.manifests.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some(manifest) = known {
            return Ok(manifest);
        }
        let manifest = scan(&self.root.join(path), &self.store, reporter)?;
        self.manifests
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path.to_owned(), manifest.clone());
        Ok(manifest)
    }

    /// Removes what commands that were killed left half-made. The caller holds the locks.
    pub fn sweep(&self) {
        let cache = self.root.join("cache");
        sweep(&cache.join("oci/blobs/sha256"), ".part-", Age::Any);
        sweep(&cache.join("oci"), ".part-", Age::Any);
        sweep(&cache.join("tmp"), "resolve-", Age::Old);
        for tool in std::fs::read_dir(cache.join("tools")).into_iter().flatten().flatten() {
            sweep(&tool.path(), TEMPORARY, Age::Any);
        }
        for directory in [self.root.clone(), self.root.join("images")] {
            sweep(&directory, TEMPORARY, Age::Old);
        }
        if let Some(gateway) = &self.gateway {
            gateway.sweep();
        }
        self.targets.local().sweep();
    }

    /// Looks at everything outside the cache.
    pub async fn look(&self) -> Result<(), StepError> {
        for target in self.targets.all() {
            target.look().await?;
        }
        if let Some(gateway) = &self.gateway {
            gateway.look()?;
        }
        Ok(())
    }

    /// Resources of this project that no spec wants, gateway entries first.
    pub fn unwanted(&self) -> Vec<Unwanted> {
        let wanted = |model: &str| self.may_be_wanted(model);
        let mut unwanted = match &self.gateway {
            Some(gateway) => gateway.unwanted(&wanted),
            None => Vec::new(),
        };
        unwanted.extend(self.targets.all().flat_map(|target| target.unwanted(&wanted)));
        self.tell_absent(unwanted)
    }

    /// Whether a spec wants this model, or has mistakes and may want it.
    fn may_be_wanted(&self, model: &str) -> bool {
        self.project.models.contains_key(model) || self.project.left_out.models.contains(model)
    }

    /// Resources that a run made and no spec wants, for who trusts the rows instead of looking.
    pub fn unwanted_by(&self, memory: &Remembered<'_>) -> Vec<Unwanted> {
        let gone = |id: &&StepId| {
            (id.is(StepKind::Gateway) || id.is(StepKind::Deploy)) && !self.may_be_wanted(id.name())
        };
        let mut gone: Vec<&StepId> = memory.made().filter(gone).collect();
        gone.sort_by_key(|id| (!id.is(StepKind::Gateway), id.name()));
        let unwanted = |id: &StepId| Unwanted {
            id: id.clone(),
            model: id.name().to_owned(),
            detail: "as of the last run".to_owned(),
            absent: false,
        };
        self.tell_absent(gone.into_iter().map(unwanted).collect())
    }

    /// Tells what is only unwanted from what a spec says is to go.
    fn tell_absent(&self, unwanted: Vec<Unwanted>) -> Vec<Unwanted> {
        let absent = |model: &str| self.project.absent.contains_key(model);
        let tell = |it: Unwanted| Unwanted { absent: absent(&it.model), ..it };
        unwanted.into_iter().map(tell).collect()
    }
}

impl HashCache for Store {
    fn get(&self, path: &str, stamp: &str) -> Option<String> {
        self.file_hash(path, stamp)
    }

    fn put(&self, path: &str, stamp: &str, sha256: &str) {
        self.keep_file_hash(path, stamp, sha256);
    }
}

/// A workspace that steps share.
pub type SharedWorkspace = Arc<Workspace>;

#[cfg(test)]
mod tests;
