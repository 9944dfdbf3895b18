//! `python:<image>`: a standalone Python in one layer, for a base that is pulled.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::base::{has_layer, layer_facts};
use super::downloads::were_damaged;
use crate::blocking::blocking;
use crate::fetch::Expected;
use crate::fingerprint::Fingerprint;
use crate::lock::LockedPython;
use crate::platform::Architecture;
use crate::python;
use crate::spec::ImageName;
use crate::step::{Facts, Head, Inputs, Outcome, Resource, Step, StepError, StepId, Task};
use crate::wheel;
use crate::workspace::{Cache, Network, Workspace};

/// Raise when the same build comes to make another layer.
const VERSION: u32 = 1;

pub(super) struct Python {
    cache: Arc<Cache>,
    network: Arc<Network>,
    epoch: u64,
    head: Head,
    architecture: Architecture,
    locked: LockedPython,
}

impl Python {
    /// The step of an image's added Python; none for a base's own.
    pub(super) fn new(workspace: &Workspace, image: &ImageName, models: &[String]) -> Option<Self> {
        let locked = workspace
            .lock
            .read(|lock| lock.images.get(image.as_str()).and_then(|image| image.python.clone()))?;
        Some(Self {
            cache: Arc::clone(&workspace.cache),
            network: Arc::clone(&workspace.network),
            epoch: workspace.settings.epoch,
            head: Head::pure(StepId::python(image), Resource::Network, models),
            architecture: workspace.project.images[image].architecture,
            locked,
        })
    }

    /// Fetches the archive, and writes the layer.
    async fn make(&self, into: &Path, task: &Task) -> Result<Outcome, StepError> {
        task.reporter.message(format!("fetching Python {}", self.locked.version));
        let archive = python::fetch_standalone(
            &self.network.fetcher.telling(&task.reporter),
            &self.locked,
            self.architecture,
            into,
            &task.reporter,
        )
        .await?;
        task.reporter.message("writing the layer");
        let (layout, epoch) = (self.cache.layout()?, self.epoch);
        let reporter = task.reporter.clone();
        blocking(move || {
            let mut blob = layout.blobs().layer_writer()?;
            let layer = wheel::interpreter_layer(&archive, epoch, &mut blob, &reporter)?;
            blob.commit(&layer)?;
            Ok(Outcome { facts: layer_facts(&layer), evidence: Facts::new() })
        })
        .await
    }
}

#[async_trait]
impl Step for Python {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, _: &Inputs) -> Fingerprint {
        let LockedPython { version, build, sha256 } = &self.locked;
        let mut fingerprint = Fingerprint::new("python", VERSION);
        fingerprint
            .field("python", format!("{version}+{build} {}", sha256.hex()))
            .field("source-date-epoch", self.epoch);
        fingerprint
    }

    fn has_blobs(&self, facts: &Facts) -> bool {
        has_layer(&self.cache, facts)
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let into = self.cache.pythons();
        let failed = match self.make(&into, task).await {
            Err(error) => error,
            made => return made,
        };
        let expected = Expected { size: None, sha256: self.locked.sha256 };
        let archive = python::archive_of(&self.locked, &into);
        if failed.downcast_ref::<wheel::WheelError>().is_some()
            && were_damaged(vec![(archive, expected)], task).await?
        {
            return self.make(&into, task).await;
        }
        Err(failed)
    }
}
