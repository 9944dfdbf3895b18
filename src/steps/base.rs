//! `base:<image>`: locked Debian packages in one layer.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::downloads::were_damaged;
use crate::blocking::blocking;
use crate::debian::{self, BaseLayout};
use crate::fetch::Expected;
use crate::fingerprint::Fingerprint;
use crate::oci::{GzipBlocks, OciError};
use crate::spec::ImageName;
use crate::step::{Fact, Facts, Head, Inputs, Outcome, Resource, Step, StepError, StepId, Task};
use crate::workspace::{Cache, Network, Workspace};

/// Raise when the same packages come to make another layer.
const VERSION: u32 = 1;

pub(super) struct Base {
    cache: Arc<Cache>,
    network: Arc<Network>,
    epoch: u64,
    head: Head,
    locked: debian::LockedDebian,
}

impl Base {
    pub(super) fn new(workspace: &Workspace, image: &ImageName, models: &[String]) -> Self {
        let locked = workspace
            .lock
            .read(|lock| lock.images.get(image.as_str()).and_then(|image| image.debian.clone()))
            .unwrap_or_else(|| panic!("BUG: the base of {image} was not locked"));
        Self {
            cache: Arc::clone(&workspace.cache),
            network: Arc::clone(&workspace.network),
            epoch: workspace.settings.epoch,
            head: Head::pure(StepId::base(image), Resource::Network, models),
            locked,
        }
    }

    /// Fetches the packages, and writes the layer.
    async fn make(&self, into: &Path, task: &Task) -> Result<Outcome, StepError> {
        task.reporter.message(format!("fetching {} packages", self.locked.packages.len()));
        let debs = debian::fetch_packages(
            &self.network.fetcher.telling(&task.reporter),
            &self.network.mirrors,
            &self.locked,
            into,
            &task.reporter,
        )
        .await?;
        task.reporter.message("writing the layer");
        let (layout, locked, epoch) = (self.cache.layout()?, self.locked.clone(), self.epoch);
        let reporter = task.reporter.clone();
        blocking(move || {
            let mut tar = GzipBlocks::new(layout.blobs().layer_writer()?);
            debian::write_layer(&locked, &debs, epoch, &mut tar, &reporter)?;
            let (blob, layer) = tar.finish().map_err(|source| OciError::File {
                path: layout.root().to_owned(),
                doing: "written",
                source,
            })?;
            blob.commit(&layer)?;
            Ok(Outcome { facts: layer_facts(&layer), evidence: Facts::new() })
        })
        .await
    }
}

#[async_trait]
impl Step for Base {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, _: &Inputs) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("base", VERSION);
        fingerprint
            .field("architecture", self.locked.architecture.name())
            .field("source-date-epoch", self.epoch);
        // Locks that don't say any are of the first, whose key says none either.
        if self.locked.layout != BaseLayout::First {
            fingerprint.field("layout", u32::from(self.locked.layout));
        }
        for package in &self.locked.packages {
            let version = format!("{} {}", package.version, package.sha256.hex());
            fingerprint.field(format!("package.{}", package.name), version);
        }
        fingerprint
    }

    fn has_blobs(&self, facts: &Facts) -> bool {
        has_layer(&self.cache, facts)
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let into = self.cache.packages();
        let failed = match self.make(&into, task).await {
            Err(error) => error,
            made => return made,
        };
        let packages = self.locked.packages.iter();
        let files = packages.map(|package| {
            let (size, sha256) = (Some(package.size), package.sha256);
            (into.join(sha256.hex()), Expected { size, sha256 })
        });
        let is_malformed =
            matches!(failed.downcast_ref(), Some(debian::DebianError::Malformed { .. }));
        if is_malformed && were_damaged(files.collect(), task).await? {
            return self.make(&into, task).await;
        }
        Err(failed)
    }
}

/// The facts of a step that makes one layer.
pub(super) fn layer_facts(layer: &crate::oci::Layer) -> Facts {
    [
        Fact::DIGEST.is(layer.digest),
        Fact::DIFF_ID.is(layer.diff_id),
        Fact::SIZE.is(layer.size.to_string()),
    ]
    .into()
}

/// The facts that an image needs of each of its layers.
pub(super) const LAYER_FACTS: &[Fact] = &[Fact::DIGEST, Fact::DIFF_ID, Fact::SIZE];

/// Whether the layer that `facts` tell of is in the cache.
pub(super) fn has_layer(cache: &Cache, facts: &Facts) -> bool {
    match (cache.layout(), Fact::DIGEST.digest_of(facts)) {
        (Ok(layout), Some(digest)) => layout.blobs().has(digest),
        _ => false,
    }
}
