//! `wheels:<image>/<slot>`: locked wheels, spliced into one layer.

use std::path::PathBuf;

use async_trait::async_trait;

use super::base::{has_layer, layer_facts};
use super::downloads;
use crate::blocking::blocking;
use crate::fetch::Expected;
use crate::fingerprint::Fingerprint;
use crate::lock::pylock::LockedWheel;
use crate::python;
use crate::spec::ImageName;
use crate::step::{Facts, Head, Inputs, Outcome, Resource, Step, StepError, StepId, Task};
use crate::wheel::{self, Scheme, WheelError, WheelFile};
use crate::workspace::SharedWorkspace;

/// An image may have so many layers.
pub(super) const LAYERS: usize = 127;

/// Layers that a base which is pulled may have without taking any from the wheels. They must not
/// depend on whether the lock knows the base's layers.
const BASE_LAYERS: usize = 31;

/// The layers that are left for wheels.
fn free_layers(workspace: &SharedWorkspace, image: &ImageName) -> usize {
    // The environment has one of its own.
    let free = LAYERS - 1;
    if workspace.origin(&workspace.project.images[image]).is_none() {
        return free - 1;
    }
    let known = workspace.lock(|lock| {
        let base = lock.images.get(image.as_str()).and_then(|image| image.base.as_ref());
        base.map_or(0, |base| base.layers.len())
    });
    // One for a Python. What is too much fails when the image is put together.
    (free - 1).saturating_sub(known.max(BASE_LAYERS)).max(1)
}

pub(super) struct Wheels {
    workspace: SharedWorkspace,
    head: Head,
    locked: Vec<LockedWheel>,
    scheme: Scheme,
}

/// The steps of an image's wheels, one per layer.
pub(super) fn slots(
    workspace: &SharedWorkspace,
    image: &ImageName,
    models: &[String],
) -> Vec<Wheels> {
    let parts = workspace.parts(image);
    let scheme = Scheme { python: parts.runtime.python, epoch: workspace.settings.epoch };
    let sized: Vec<wheel::WheelRef> = parts
        .wheels
        .iter()
        .map(|wheel| wheel::WheelRef { name: wheel.name.clone(), size: wheel.size.unwrap_or(0) })
        .collect();
    wheel::slots(&sized, free_layers(workspace, image))
        .into_iter()
        .map(|slot| Wheels {
            workspace: workspace.clone(),
            head: Head::pure(
                StepId::new("wheels", format!("{image}/{}", slot.name)),
                Resource::Cpu,
                models,
            ),
            locked: slot.wheels.iter().map(|at| parts.wheels[*at].clone()).collect(),
            scheme,
        })
        .collect()
}

fn directory(workspace: &SharedWorkspace) -> PathBuf {
    workspace.root.join("cache/wheels")
}

/// Fetches wheels, unless they are there, and says how each is called.
pub(super) async fn fetch(
    workspace: &SharedWorkspace,
    wheels: &[LockedWheel],
    task: &Task,
) -> Result<Vec<WheelFile>, StepError> {
    let into = directory(workspace);
    let fetcher = workspace.fetcher.telling(&task.reporter);
    let paths = python::fetch_wheels(&fetcher, wheels, &into, &task.reporter).await?;
    let engines = workspace.project.engines;
    let named = paths.into_iter().zip(wheels).map(|(path, wheel)| WheelFile {
        path,
        filename: wheel.filename.clone(),
        adds: engines.first_import(wheel),
    });
    Ok(named.collect())
}

impl Wheels {
    /// Fetches the wheels, and splices them.
    async fn make(&self, task: &Task) -> Result<Outcome, StepError> {
        task.reporter.message("fetching");
        task.reporter.reused(python::wheels_there(&self.locked, &directory(&self.workspace)));
        let files = fetch(&self.workspace, &self.locked, task).await?;
        task.reporter.message("splicing");
        let (layout, scheme) = (self.workspace.layout()?, self.scheme);
        let reporter = task.reporter.clone();
        blocking(move || {
            let mut blob = layout.blobs().layer_writer()?;
            let layer = wheel::build_layer(&files, &scheme, &mut blob, &reporter)?;
            blob.commit(&layer)?;
            Ok(Outcome { facts: layer_facts(&layer), evidence: Facts::new() })
        })
        .await
    }
}

/// Whether what was to be made of wheels failed since some of them are damaged; they are gone now.
pub(super) async fn were_damaged(
    workspace: &SharedWorkspace,
    wheels: &[LockedWheel],
    error: &StepError,
    task: &Task,
) -> Result<bool, StepError> {
    if error.downcast_ref::<WheelError>().is_none() {
        return Ok(false);
    }
    let into = directory(workspace);
    let files = wheels.iter().map(|wheel| {
        let expected = Expected { size: wheel.size, sha256: wheel.sha256.clone() };
        (python::path_of(wheel, &into), expected)
    });
    downloads::were_damaged(files.collect(), task).await
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
        for wheel in &self.locked {
            let version = format!("{} {}", wheel.version, wheel.sha256);
            fingerprint.field(format!("wheel.{}", wheel.name), version);
            if !self.workspace.project.engines.first_import(wheel).is_empty() {
                fingerprint.field(format!("wheel.{}.adds", wheel.name), 1);
            }
        }
        fingerprint
    }

    fn has_blobs(&self, facts: &Facts) -> bool {
        has_layer(&self.workspace, facts)
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        match self.make(task).await {
            Err(error) if were_damaged(&self.workspace, &self.locked, &error, task).await? => {
                self.make(task).await
            }
            made => made,
        }
    }
}
