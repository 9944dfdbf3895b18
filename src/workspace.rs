//! A project with everything its steps work with, part by part: lock, cache, network, targets, gateway.

mod cache;
mod engine;
mod files;
mod images;
mod lock_cell;
mod manifests;
mod network;
mod packages;
mod registries;
mod settings;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::Diagnostic;
use thiserror::Error;

use crate::durable::TEMPORARY;
use crate::fingerprint::Key;
use crate::gateways::{self, Gateway};
use crate::leftovers::sweep;
use crate::plan::saved::Request;
use crate::plan::{Plan, PlannedModel, Unwanted, Warning};
use crate::spec::{Model, ModelSource, Place, Problem, Project, SpecError, SpecErrors};
use crate::step::{Facts, Removal, StepError, StepId, StepKind};
use crate::store::{Remembered, Store, StoreError};
use crate::targets::{Opening, Target, Targets};

pub use cache::{BUILDS, Cache};
pub use files::{FileError, make_directory, unreadable, write, write_private};
pub use images::{LockedImages, LockedPackage, LockedParts};
pub use lock_cell::LockCell;
pub use manifests::Manifests;
pub use network::Network;
pub use packages::packages_of;
pub use registries::Registries;
pub use settings::{Settings, WrongVariable};

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

/// A project, ready to be planned and applied: the parts that its steps and commands work with. Who
/// needs one of them gets that one.
pub struct Workspace {
    /// The project's directory.
    pub root: PathBuf,
    /// What its files say.
    pub project: Arc<Project>,
    /// How the command was started.
    pub settings: Settings,
    /// Where things lie in the cache.
    pub cache: Arc<Cache>,
    /// What is remembered.
    pub store: Arc<Store>,
    /// The lock.
    pub lock: Arc<LockCell>,
    /// What images are made of, as far as locking has settled it.
    pub images: Arc<LockedImages>,
    /// What the directories of weights hold.
    pub manifests: Arc<Manifests>,
    /// What is fetched from.
    pub network: Arc<Network>,
    /// Where images come from and go to.
    pub registries: Arc<Registries>,
    /// Where models are served.
    pub targets: Arc<Targets>,
    /// The gateway's files, when the project has a gateway.
    pub gateway: Option<Arc<dyn Gateway>>,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Workspace").field("root", &self.root).finish_non_exhaustive()
    }
}

/// What is wrong with a model's directories of weights, when one is not there, holds nothing, or has what
/// Git keeps in the place of a file.
pub fn weights_mistake(root: &Path, model: &Arc<Model>) -> Option<SpecError> {
    let draft = model.draft.as_ref().map(|draft| ("draft", &draft.source));
    std::iter::once(("model", &model.source)).chain(draft).find_map(|(table, source)| {
        let ModelSource::Path(path) = source else { return None };
        let missing = |what| Some(Problem::NoWeights { path: path.clone(), what });
        let problem = match std::fs::read_dir(root.join(path)).map(Iterator::count) {
            Ok(0) => missing("has no files"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => missing("does not exist"),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => missing("is a file"),
            // What else is wrong shows when it is read.
            Err(_) => None,
            Ok(_) => pointers(root, path),
        };
        let place = &model.file.place;
        let place =
            || Place::of_field(place.file(), &[table, "source"]).unwrap_or_else(|| place.clone());
        problem.map(|problem| SpecError::new(problem, place()))
    })
}

/// What Git keeps in the place of files of a directory, where nobody had it fetch those: by the first line,
/// which every pointer has, and by its size (`docs/spec.md` of Git LFS).
fn pointers(root: &Path, directory: &str) -> Option<Problem> {
    const FIRST: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
    const SMALLER_THAN: u64 = 1024;
    let is_pointer = |entry: &walkdir::DirEntry| {
        let is_small = entry.metadata().is_ok_and(|it| it.is_file() && it.len() < SMALLER_THAN);
        is_small && std::fs::read(entry.path()).is_ok_and(|bytes| bytes.starts_with(FIRST))
    };
    let entries =
        walkdir::WalkDir::new(root.join(directory)).follow_links(true).sort_by_file_name();
    let mut found = entries.into_iter().flatten().filter(is_pointer);
    let first = found.next()?;
    let path = first.path().strip_prefix(root).unwrap_or(first.path()).display().to_string();
    let directory = directory.trim_end_matches('/').to_owned();
    Some(Problem::Pointers { path, others: found.count(), directory })
}

/// Whether a model is one of those that were asked for; all are when none is named.
fn is_asked(model: &Model, asked: &[String]) -> bool {
    asked.is_empty() || asked.iter().any(|name| name == model.name.as_str())
}

impl Workspace {
    /// Opens the cache and the lock of a project that was read.
    pub fn open(root: PathBuf, project: Project, settings: Settings) -> Result<Self, StepError> {
        let environment = project.environment.as_ref().map_or("", |name| name.as_str());
        let store = Arc::new(Store::open(&root.join("cache"), environment)?);
        let lock = Arc::new(LockCell::open(&root, project.engines)?);
        let (cache, network) = (Arc::new(Cache::new(&root)), Arc::new(Network::new(&settings)));
        let gateway = gateways::of(&root, &project);
        let prices = lock.read(|lock| lock.prices.clone());
        let targets = settings.targets.open(&Opening {
            project: &project,
            prices: &prices,
            root: &root,
            cache: root.join("cache"),
            state: &settings.state,
            program: &settings.program,
            fetcher: &network.fetcher,
            variable: settings.variable,
        });
        let project = Arc::new(project);
        let credentials = settings.credentials.clone();
        Ok(Self {
            registries: Arc::new(Registries::new(&root, &project, &network, &cache, credentials)),
            manifests: Arc::new(Manifests::new(&root, &store)),
            images: Arc::default(),
            targets: Arc::new(targets),
            gateway: gateway.map(Arc::from),
            root,
            project,
            settings,
            cache,
            store,
            lock,
            network,
        })
    }

    /// Refuses images that this machine's processor can't run.
    pub fn check_platforms(&self, asked: &[String]) -> Result<(), Unsupported> {
        let here = |model: &&Arc<Model>| model.target.is_here() && is_asked(model, asked);
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

    /// Fails when a directory of weights is not there, or holds nothing, or an own package can't be read.
    pub fn check_sources(&self, asked: &[String]) -> Result<(), SpecErrors> {
        // Models that share their weights share the mistake, which is told once.
        let mut told = std::collections::BTreeSet::new();
        let first =
            |model: &&Arc<Model>| is_asked(model, asked) && told.insert(model.source.clone());
        let wrong = |model| weights_mistake(&self.root, model);
        let mut mistakes: Vec<SpecError> =
            self.project.models.values().filter(first).filter_map(wrong).collect();
        let models = self.project.models.values().filter(|model| is_asked(model, asked));
        for image in models.map(|model| self.project.image_of(model)) {
            let packages = packages_of(&self.root, image);
            mistakes.extend(packages.err().iter().flat_map(|wrong| wrong.errors().to_vec()));
        }
        SpecErrors::collect(mistakes)
    }

    /// Where a model is to be served, or, as far as the last look showed, was when no spec tells.
    pub fn targets_of(&self, model: &str) -> Vec<&dyn Target> {
        let models = [&self.project.models, &self.project.absent];
        match models.into_iter().find_map(|models| models.get(model)) {
            Some(spec) => vec![self.targets.of(spec)],
            None => self.targets.all().filter(|target| target.knows(model)).collect(),
        }
    }

    /// Removes what commands that were killed left half-made. The caller holds the locks.
    pub fn sweep(&self) {
        self.cache.sweep();
        for directory in [self.root.clone(), self.root.join("images")] {
            sweep(&directory, TEMPORARY);
        }
        if let Some(gateway) = &self.gateway {
            gateway.sweep();
        }
        self.targets.all().for_each(Target::sweep);
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

    /// Asks what is always up whether it answers: the servers of these models, or of all.
    pub async fn ask(&self, models: &[String]) -> Result<(), StepError> {
        for target in self.targets.all() {
            target.ask(models).await?;
        }
        Ok(())
    }

    /// The memory of the cache and the lock together.
    pub fn remember(&self) -> Result<Remembered<'_>, StoreError> {
        let locked: HashMap<StepId, (Key, Facts)> = self.lock.read(|lock| {
            let built = lock.built.iter();
            built.map(|(id, built)| (id.clone(), (built.key, built.facts.clone()))).collect()
        });
        self.store.remember(locked)
    }

    /// How each model will be served that a deployment of the plan is for.
    pub fn planned_models(&self, plan: &Plan) -> Vec<PlannedModel> {
        let deployed = |model: &&Arc<Model>| plan.get(&StepId::deploy(&model.name)).is_some();
        let models = self.project.models.values().filter(deployed);
        models.map(|model| self.targets.of(model).plan_model(model)).collect()
    }

    /// The models that specs keep away from where nobody could look whether they are: no step of
    /// theirs would tell.
    pub fn unseen_absent(&self, request: &Request) -> Vec<Warning> {
        let asked =
            |model: &&Arc<Model>| request.only.is_empty() && is_asked(model, &request.models);
        let warning = |model: &Arc<Model>| {
            Some(Warning {
                model: model.name.to_string(),
                message: "its spec says absent, and nobody looked whether it is deployed"
                    .to_owned(),
                help: self.targets.of(model).unseen()?,
            })
        };
        self.project.absent.values().filter(asked).filter_map(warning).collect()
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
        let (name, adapter) = match model.split_once('/') {
            Some((name, adapter)) => (name, Some(adapter)),
            None => (model, None),
        };
        let has_adapter = |model: &Arc<Model>| {
            adapter.is_none_or(|wanted| model.adapters.iter().any(|it| it.value == wanted))
        };
        self.project.models.get(name).is_some_and(has_adapter)
            || self.project.left_out.models.contains(name)
    }

    /// Resources that a run made and no spec wants, for who trusts the rows instead of looking.
    pub fn unwanted_by(&self, memory: &Remembered<'_>) -> Vec<Unwanted> {
        let removal = |id: &StepId| id.kind().map_or(Removal::Never, StepKind::removal);
        let gone = |id: &&StepId| removal(id) != Removal::Never && !self.may_be_wanted(id.name());
        let mut gone: Vec<&StepId> = memory.made().filter(gone).collect();
        gone.sort_by_key(|id| (removal(id), id.name()));
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
        let absent = |model: &str| {
            self.project.absent.contains_key(model.split('/').next().unwrap_or(model))
        };
        let tell = |it: Unwanted| Unwanted { absent: absent(&it.model), ..it };
        unwanted.into_iter().map(tell).collect()
    }
}

/// A workspace that steps share.
pub type SharedWorkspace = Arc<Workspace>;

#[cfg(test)]
mod tests;
