//! Modal: GPUs that scale to zero.
//!
//! Everything that is done there is done by Modal's own client, with programs that people can read
//! and deploy themselves (see `app`).

mod account;
mod address;
mod adoption;
mod app;
mod by_hand;
mod candidate;
mod client;
mod credentials;
mod discard;
mod driver;
mod earlier;
mod error;
mod extended;
mod holder;
mod image;
mod import;
mod kept;
mod lease;
mod literal;
mod live;
mod logs;
mod look;
mod price;
mod protection;
mod rates;
mod replicas;
mod rollback;
mod rolling;
mod secrets;
mod serve;
mod snapshot;
mod spec;
mod spent;
mod take_back;
mod target;
mod trial;
mod volumes;
mod weights;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::Opening;
use crate::engine::Engines;
use crate::spec::{Gpu, Model, TargetType, Volume};

use address::Address;
use client::Client;
pub use credentials::Credentials;
pub use error::ModalError;
use kept::Kept;
use look::Seen;
pub use rollback::RollbackError;
pub use spec::{ModalType, Settings};

/// One project's part of a Modal environment.
#[derive(Debug)]
pub struct Modal {
    settings: Settings,
    app_prefix: String,
    gpus: BTreeMap<String, Gpu>,
    /// How often each secret was replaced.
    generations: BTreeMap<String, u32>,
    /// The project, and its environment.
    owner: String,
    /// The models that are to be served there.
    specs: BTreeMap<String, Arc<Model>>,
    engines: Engines,
    volumes: BTreeMap<String, Volume>,
    /// Where programs are written: `cache/modal`.
    programs: PathBuf,
    credentials: Credentials,
    client: Arc<Client>,
    /// What the last look showed, or why there was none.
    world: RwLock<Result<Seen, String>>,
    kept: RwLock<Kept>,
    writing: tokio::sync::Mutex<()>,
}

impl Modal {
    /// The target of a project with these settings of it.
    fn new(opening: &Opening<'_>, mut settings: Settings) -> Self {
        let Opening { project, prices, cache, fetcher, variable, .. } = opening;
        let mut gpus = project.gpus.clone();
        if let Some(locked) = prices.get(ModalType.name()) {
            price::take(locked, &mut gpus, &mut settings.prices);
        }
        let here = project.models.values().filter(|model| model.target.name() == ModalType.name());
        let volumes = project.volumes.iter();
        let generations = project.secrets.iter();
        Self {
            app_prefix: project.app_prefix.clone(),
            gpus,
            generations: generations.map(|(name, it)| (name.clone(), it.generation)).collect(),
            owner: project.owner(),
            specs: here.map(|model| (model.name.to_string(), Arc::clone(model))).collect(),
            engines: project.engines,
            volumes: volumes.map(|(name, it)| (name.to_string(), it.clone())).collect(),
            programs: cache.join("modal"),
            client: Arc::new(Client::new(
                cache.join("tools"),
                (*fetcher).clone(),
                settings.environment.clone(),
            )),
            credentials: Credentials::read(variable),
            world: RwLock::new(Err("nobody has looked there".to_owned())),
            kept: RwLock::new(Kept::new(&project.owner())),
            writing: tokio::sync::Mutex::default(),
            settings,
        }
    }

    /// The name of the app that serves a model: the model's own behind the project's prefix.
    fn app(&self, model: &str) -> String {
        format!("{}{model}", self.app_prefix)
    }

    /// The name of an app that runs for as long as it has something to do.
    fn helper(&self, what: &str) -> String {
        address::helper(&self.owner, what)
    }

    fn volume(&self, name: &str) -> &Volume {
        self.volumes.get(name).unwrap_or_else(|| panic!("BUG: the volume {name} is not built in"))
    }

    /// The volumes that have the receipts of warm-ups: of what engines compile.
    fn receipts_of_warmups(&self) -> impl Iterator<Item = &str> {
        let first: BTreeSet<&str> = self
            .engines
            .iter()
            .filter_map(|engine| engine.caches().first())
            .map(|cache| cache.volume)
            .collect();
        first.into_iter().map(|name| &*self.volume(name).name)
    }

    /// Where a model's app answers, by what is known of the account.
    fn address(&self, app: &str) -> Address {
        let kept = self.kept(|kept| (kept.workspace.clone(), kept.suffix.clone()));
        let workspace = kept.0.or_else(|| self.settings.workspace.clone());
        Address::of(workspace.as_deref(), &self.settings.environment, kept.1.as_deref(), app)
    }

    fn world(&self) -> RwLockReadGuard<'_, Result<Seen, String>> {
        self.world.read().unwrap_or_else(PoisonError::into_inner)
    }
}
