//! `wheels:<image>/<slot>`: locked wheels, spliced into one layer.

use std::sync::Arc;

use async_trait::async_trait;

use super::base::{has_layer, layer_facts};
use super::downloads;
use crate::blocking::blocking;
use crate::engine::Engines;
use crate::fetch::Expected;
use crate::fingerprint::Fingerprint;
use crate::lock::pylock::LockedWheel;
use crate::python;
use crate::spec::{ImageName, Overlap};
use crate::step::{Facts, Head, Inputs, Outcome, Resource, Step, StepError, StepId, Task};
use crate::wheel::{self, Scheme, WheelError, WheelFile};
use crate::workspace::{Cache, Network, Workspace};

/// An image may have so many layers.
pub(super) const LAYERS: usize = 127;

/// Layers that a base which is pulled may have without taking any from the wheels. They must not
/// depend on whether the lock knows the base's layers.
const BASE_LAYERS: usize = 31;

/// The layers that are left for wheels.
fn free_layers(workspace: &Workspace, image: &ImageName) -> usize {
    // The environment has one of its own, and so has what several wheels own.
    let is_overlaid = !workspace.project.images[image].choosing.overlap.is_empty();
    let free = LAYERS - 1 - usize::from(is_overlaid);
    if workspace.registries.origin(&workspace.project.images[image]).is_none() {
        return free - 1;
    }
    let known = workspace.lock.read(|lock| {
        let base = lock.images.get(image.as_str()).and_then(|image| image.base.as_ref());
        base.map_or(0, |base| base.layers.len())
    });
    // One for a Python. What is too much fails when the image is put together.
    (free - 1).saturating_sub(known.max(BASE_LAYERS)).max(1)
}

/// Wheels, and where they are fetched from and to.
pub(super) struct Downloaded {
    cache: Arc<Cache>,
    network: Arc<Network>,
    engines: Engines,
    locked: Vec<LockedWheel>,
}

pub(super) struct Wheels {
    head: Head,
    downloaded: Downloaded,
    scheme: Scheme,
    /// Which of the image's wheels win where; nothing for a layer of one.
    overlap: Vec<Overlap>,
}

/// The steps of an image's wheels, one per layer.
pub(super) fn slots(workspace: &Workspace, image: &ImageName, models: &[String]) -> Vec<Wheels> {
    let parts = workspace.images.parts(image);
    let scheme = Scheme { python: parts.runtime.python, epoch: workspace.settings.epoch };
    let overlap = workspace.project.images[image].choosing.overlap();
    let sized: Vec<wheel::WheelRef> = parts
        .wheels
        .iter()
        .map(|wheel| wheel::WheelRef { name: wheel.name.clone(), size: wheel.size.unwrap_or(0) })
        .collect();
    let free = free_layers(workspace, image).saturating_sub(parts.local.len()).max(1);
    wheel::slots(&sized, free)
        .into_iter()
        .map(|slot| Wheels {
            head: Head::pure(StepId::wheels(image, &slot.name), Resource::Cpu, models),
            downloaded: Downloaded::new(
                workspace,
                slot.wheels.iter().map(|at| parts.wheels[*at].clone()).collect(),
            ),
            scheme,
            overlap: if slot.wheels.len() > 1 { overlap.clone() } else { Vec::new() },
        })
        .collect()
}

/// Adds which wheels win, where that is said.
pub(super) fn describe_overlap(fingerprint: &mut Fingerprint, overlap: &[Overlap]) {
    for Overlap { pattern, winner } in overlap {
        fingerprint.field(format!("overlap.{pattern}"), winner);
    }
}

impl Downloaded {
    pub(super) fn new(workspace: &Workspace, locked: Vec<LockedWheel>) -> Self {
        let (cache, network) = (Arc::clone(&workspace.cache), Arc::clone(&workspace.network));
        Self { cache, network, engines: workspace.project.engines, locked }
    }

    /// Fetches the wheels, unless they are there, and says how each is called.
    pub(super) async fn fetch(&self, task: &Task) -> Result<Vec<WheelFile>, StepError> {
        let fetcher = self.network.fetcher.telling(&task.reporter);
        let into = self.cache.wheels();
        let paths = python::fetch_wheels(&fetcher, &self.locked, &into, &task.reporter).await?;
        let named = paths.into_iter().zip(&self.locked).map(|(path, wheel)| WheelFile {
            path,
            filename: wheel.filename.clone(),
            adds: self.engines.first_import(&wheel.name, &wheel.version),
            scripts: wheel.scripts.clone(),
        });
        Ok(named.collect())
    }

    /// Whether what was to be made of them failed since some of them are damaged; they are gone now.
    pub(super) async fn were_damaged(
        &self,
        error: &StepError,
        task: &Task,
    ) -> Result<bool, StepError> {
        if error.downcast_ref::<WheelError>().is_none() {
            return Ok(false);
        }
        let into = self.cache.wheels();
        let files = self.locked.iter().map(|wheel| {
            let expected = Expected { size: wheel.size, sha256: wheel.sha256 };
            (python::path_of(wheel, &into), expected)
        });
        downloads::were_damaged(files.collect(), task).await
    }
}

impl Wheels {
    /// Fetches the wheels, and splices them.
    async fn make(&self, task: &Task) -> Result<Outcome, StepError> {
        task.reporter.message("fetching");
        let Downloaded { cache, locked, .. } = &self.downloaded;
        task.reporter.reused(python::wheels_there(locked, &cache.wheels()));
        let files = self.downloaded.fetch(task).await?;
        task.reporter.message("splicing");
        let (layout, scheme, overlap) = (cache.layout()?, self.scheme, self.overlap.clone());
        let reporter = task.reporter.clone();
        blocking(move || {
            let mut blob = layout.blobs().layer_writer()?;
            let layer = wheel::build_slot(&files, &overlap, &scheme, &mut blob, &reporter)?;
            blob.commit(&layer)?;
            Ok(Outcome { facts: layer_facts(&layer), evidence: Facts::new() })
        })
        .await
    }
}

#[async_trait]
impl Step for Wheels {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, _: &Inputs) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("wheels", wheel::LAYOUT_VERSION);
        fingerprint
            .field("python", self.scheme.python)
            .field("source-date-epoch", self.scheme.epoch);
        for wheel in &self.downloaded.locked {
            let version = format!("{} {}", wheel.version, wheel.sha256.hex());
            fingerprint.field(format!("wheel.{}", wheel.name), version);
            if !self.downloaded.engines.first_import(&wheel.name, &wheel.version).is_empty() {
                fingerprint.field(format!("wheel.{}.adds", wheel.name), 1);
            }
            if !wheel.scripts.is_empty() {
                fingerprint.field(format!("wheel.{}.scripts", wheel.name), wheel.scripts.join(" "));
            }
        }
        describe_overlap(&mut fingerprint, &self.overlap);
        fingerprint
    }

    fn has_blobs(&self, facts: &Facts) -> bool {
        has_layer(&self.downloaded.cache, facts)
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        match self.make(task).await {
            Err(error) if self.downloaded.were_damaged(&error, task).await? => {
                self.make(task).await
            }
            made => made,
        }
    }
}
