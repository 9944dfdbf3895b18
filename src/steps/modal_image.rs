//! `image:<image>` where Modal builds it: from the same lock, pinned and not bit-identical.

use std::sync::Arc;

use async_trait::async_trait;

use crate::fingerprint::Fingerprint;
use crate::lock::LockedImage;
use crate::lock::pylock::LockedWheel;
use crate::spec::{Base, Image, ImageName, ImageReference};
use crate::step::{
    Fact, Head, Inputs, Observation, Outcome, Resource, Step, StepError, StepId, Task, Wanted,
};
use crate::targets::Targets;
use crate::targets::modal::ImageDescription;
use crate::workspace::{LockedParts, Workspace};

/// Raise when the same settings come to make another image.
const VERSION: u32 = 1;

/// What identifies an image that Modal built: Modal's own name for it.
pub(super) const FACTS: &[Fact] = &[Fact::IMAGE_ID];

/// Wheels of this size and more are installed before the rest: they seldom change. In bytes.
const LARGE: u64 = 50 << 20;

pub(super) struct ModalImage {
    targets: Arc<Targets>,
    head: Head,
    described: Image,
    locked: Option<LockedImage>,
    parts: LockedParts,
}

impl ModalImage {
    pub(super) fn new(
        workspace: &Workspace,
        image: &ImageName,
        name: &str,
        models: &[String],
    ) -> Self {
        let head = Head::effect(StepId::image(name), Resource::Network, models);
        Self {
            targets: Arc::clone(&workspace.targets),
            head: Head { note: Some("built by Modal: pinned, not bit-identical"), ..head },
            locked: workspace.lock.read(|lock| lock.images.get(image.as_str()).cloned()),
            described: workspace.project.images[image].clone(),
            parts: workspace.images.parts(image),
        }
    }

    /// The image as Modal's client is told of it.
    pub(super) fn description(&self) -> ImageDescription {
        let locked = self.locked.as_ref();
        let (base, packages) = match &self.described.base {
            Base::Debian { packages, .. } => ("debian-slim".to_owned(), packages.as_slice()),
            Base::Registry(reference) => {
                let digest = reference.digest.clone();
                let locked = locked.and_then(|it| it.base.as_ref());
                let digest = digest.or_else(|| locked.map(|base| base.digest.clone()));
                (pinned(reference, digest.as_deref()), [].as_slice())
            }
            Base::Layout(reference) => (reference.to_string(), [].as_slice()),
        };
        let locked = locked.and_then(|it| it.debian.as_ref());
        let version = |name: &str| {
            let mut all = locked.into_iter().flat_map(|debian| &debian.packages);
            Some(all.find(|package| package.name == name)?.version.clone())
        };
        // Modal's Debian brings a Python of its own, and certificates.
        let more = packages.iter().map(|it| &*it.value).filter(|it| !is_there_already(it));
        let packages = more.map(|name| match version(name) {
            Some(version) => format!("{name}={version}"),
            None => name.to_owned(),
        });
        let requirement = |wheel: &&LockedWheel| {
            format!("{}=={} --hash=sha256:{}", wheel.name, wheel.version, wheel.sha256)
        };
        let (large, small): (Vec<_>, Vec<_>) = self
            .parts
            .wheels
            .iter()
            .partition(|wheel| wheel.size.is_some_and(|size| size >= LARGE));
        let groups = [large, small].into_iter().filter(|group| !group.is_empty());
        ImageDescription {
            name: self.described.name.to_string(),
            base,
            python: self.parts.runtime.python.to_string(),
            packages: packages.collect(),
            requirements: groups.map(|group| group.iter().map(requirement).collect()).collect(),
            environment: self.described.env.clone(),
            builder: image_builder(&self.described),
        }
    }

    fn describe_base(&self, fingerprint: &mut Fingerprint) {
        match &self.described.base {
            Base::Debian { suite, packages } => {
                fingerprint.field("base.debian", suite);
                let locked = self.locked.as_ref().and_then(|image| image.debian.as_ref());
                // Modal's Debian has what these need already, in versions of its own.
                for wanted in packages {
                    let mut packages = locked.into_iter().flat_map(|debian| &debian.packages);
                    let found = packages.find(|package| package.name == wanted.value);
                    let label = format_args!("package.{}", wanted.value);
                    fingerprint.optional(label, found.map(|package| &package.version));
                }
            }
            Base::Registry(reference) => {
                // A tag may move; what it was locked to does not.
                let locked = self.locked.as_ref().and_then(|image| image.base.as_ref());
                let locked = locked.map(|base| base.digest.clone());
                let digest = reference.digest.clone().or(locked);
                fingerprint.field("base.image", reference).optional("base.digest", digest);
            }
            Base::Layout(reference) => {
                fingerprint.field("base.layout", reference);
            }
        }
    }
}

#[async_trait]
impl Step for ModalImage {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, _: &Inputs) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("modal-image", VERSION);
        fingerprint
            .field("target", "modal")
            .field("modal.environment", self.targets.modal().environment())
            .field("modal.image-builder", image_builder(&self.described))
            .field("architecture", self.described.architecture.name())
            .field("python", self.parts.runtime.python);
        self.describe_base(&mut fingerprint);
        for wheel in &self.parts.wheels {
            let version = format_args!("{} {}", wheel.version, wheel.sha256);
            fingerprint.field(format_args!("wheel.{}", wheel.name), version);
        }
        for (name, value) in &self.described.env {
            fingerprint.field(format_args!("env.{name}"), value);
        }
        fingerprint
    }

    fn observe(&self, wanted: Option<Wanted<'_>>) -> Observation {
        self.targets.modal().observe_image(wanted.map(|wanted| wanted.key))
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        self.targets.modal().build_image(&self.description(), task).await
    }
}

/// The version of Modal's image builder that is asked for, part of what an image it builds is.
///
/// From `modal/builder/base-images.json` of the client 1.6: 2025.06 builds on bookworm, 2026.10
/// on trixie. Images on other bases only take over the builder's own tools.
fn image_builder(image: &Image) -> &'static str {
    match &image.base {
        Base::Debian { suite, .. } if suite == "trixie" => "2026.10",
        _ => "2025.06",
    }
}

/// Whether Modal's Debian, which is that of the official Python images, has what a package is for.
fn is_there_already(package: &str) -> bool {
    package == "ca-certificates" || package == "python3" || package.starts_with("python3-")
}

/// A reference without its tag, by digest.
fn pinned(reference: &ImageReference, digest: Option<&str>) -> String {
    match digest {
        Some(digest) => format!("{}/{}@{digest}", reference.registry, reference.repository),
        None => reference.to_string(),
    }
}
