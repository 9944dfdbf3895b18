//! `base:<image>` from a registry or a layout: all its layers in the cache, and looked through.

use std::sync::Arc;

use async_trait::async_trait;
use miette::Diagnostic;
use thiserror::Error;

use crate::digest::Digest;
use crate::fingerprint::Fingerprint;
use crate::oci::Compression;
use crate::oci::registry::{self, BaseOrigin};
use crate::platform::Architecture;
use crate::spec::ImageName;
use crate::step::{
    Evidence, Fact, Facts, Head, Inputs, Outcome, Resource, Step, StepError, StepId, Task,
};
use crate::workspace::{Cache, Registries, Workspace};

/// Raise when the same digest comes to mean another base.
const VERSION: u32 = 1;

/// The fact that an image needs of its base.
pub(super) const FACTS: &[Fact] = &[Fact::DIGEST];

/// A base can't be built on.
#[derive(Debug, Error, Diagnostic)]
#[error("the base {base} has something at {path}, where goatbuild's own layers go")]
#[diagnostic(
    code(goatbuild::base::taken),
    help("choose another base: one that goatbuild built itself can't be built on again")
)]
struct Taken {
    base: String,
    path: String,
}

pub(super) struct Pulled {
    cache: Arc<Cache>,
    registries: Arc<Registries>,
    head: Head,
    origin: BaseOrigin,
    architecture: Architecture,
    /// The digest that the image's file pins, or else the locked one of the platform's manifest.
    digest: Digest,
    /// Of the platform's manifest, when the lock has it.
    manifest: Option<Digest>,
}

impl Pulled {
    pub(super) fn new(
        workspace: &Workspace,
        image: &ImageName,
        origin: BaseOrigin,
        models: &[String],
    ) -> Self {
        let manifest = workspace.lock.read(|lock| {
            let base = lock.images.get(image.as_str()).and_then(|image| image.base.as_ref());
            base.map(|base| base.digest)
        });
        // An index that is pinned stands for itself only where nobody had to look into it.
        let digest = manifest.or_else(|| origin.pinned());
        Self {
            cache: Arc::clone(&workspace.cache),
            registries: Arc::clone(&workspace.registries),
            head: Head::pure(StepId::base(image), Resource::Network, models),
            architecture: workspace.project.images[image].architecture,
            digest: digest.unwrap_or_else(|| panic!("BUG: the base of {image} was not locked")),
            origin,
            manifest,
        }
    }
}

#[async_trait]
impl Step for Pulled {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, _: &Inputs) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("base", VERSION);
        // An index and a processor name one manifest.
        fingerprint.field("architecture", self.architecture.name()).field("digest", self.digest);
        fingerprint
    }

    fn predict(&self) -> Facts {
        let digest = self.manifest.iter().map(|digest| Fact::DIGEST.is(*digest));
        digest.collect()
    }

    fn has_blobs(&self, facts: &Facts) -> bool {
        let (Ok(layout), Some(digest)) = (self.cache.layout(), Fact::DIGEST.digest_of(facts))
        else {
            return false;
        };
        registry::remembered(&self.cache.bases(), digest).is_some()
            && registry::pulled(&layout, digest, self.architecture).is_ok_and(|base| {
                base.manifest.layers.iter().all(|(it, _)| layout.blobs().has(it.digest))
            })
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let reporter = &task.reporter;
        reporter.message(format!("pulling {}", self.origin));
        let digest = self.manifest.unwrap_or(self.digest);
        let puller = self.registries.puller(self.origin.at(digest), self.architecture, reporter)?;
        let resolved = puller.resolve(reporter).await?;
        puller.layers(&resolved, reporter).await?;
        let layout = self.cache.layout()?;
        for (blob, called) in &resolved.manifest.layers {
            let found = Compression::of_blob(&layout, blob.digest, *called)?;
            if found != *called {
                let layer = blob.digest.short();
                reporter.notice(format!("its layer {layer} is called {called}, and is {found}"));
            }
        }
        reporter.message("looking through its layers");
        let content = puller.content(&resolved, reporter).await?;
        if let Some(path) = content.taken {
            return Err(Taken { base: self.origin.to_string(), path }.into());
        }
        let blobs = resolved.manifest.blobs();
        let mut evidence = Evidence::from([
            ("layers".to_owned(), blobs.len().to_string()),
            ("size".to_owned(), blobs.iter().map(|blob| blob.size).sum::<u64>().to_string()),
        ]);
        evidence.extend(content.glibc.map(|glibc| ("glibc".to_owned(), glibc.to_string())));
        evidence.extend(content.python.map(|python| ("python".to_owned(), python.path)));
        Ok(Outcome { facts: [Fact::DIGEST.is(resolved.digest)].into(), evidence })
    }
}
