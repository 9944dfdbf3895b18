//! `image:<image>` where Modal builds it: from the same lock, pinned and not bit-identical.

use async_trait::async_trait;

use crate::fingerprint::Fingerprint;
use crate::spec::{Base, Image, ImageName};
use crate::step::{
    Head, Inputs, Observation, Outcome, Resource, Step, StepError, StepId, Task, Wanted,
};
use crate::targets::modal::Modal;
use crate::workspace::{LockedParts, SharedWorkspace};

/// Raise when the same settings come to make another image.
const VERSION: u32 = 1;

/// What identifies an image that Modal built: Modal's own name for it.
pub(super) const FACTS: &[&str] = &["image-id"];

pub(super) struct ModalImage {
    workspace: SharedWorkspace,
    head: Head,
    described: Image,
    parts: LockedParts,
}

impl ModalImage {
    pub(super) fn new(
        workspace: &SharedWorkspace,
        image: &ImageName,
        name: &str,
        models: &[String],
    ) -> Self {
        let head = Head::effect(StepId::new("image", name), Resource::Network, models);
        Self {
            workspace: workspace.clone(),
            head: Head { note: Some("built by Modal: pinned, not bit-identical"), ..head },
            described: workspace.project.images[image].clone(),
            parts: workspace.parts(image),
        }
    }

    fn describe_base(&self, fingerprint: &mut Fingerprint) {
        match &self.described.base {
            Base::Debian { suite, packages } => {
                fingerprint.field("base.debian", suite);
                let locked = self.workspace.lock(|lock| {
                    let image = lock.images.get(self.described.name.as_str());
                    image.and_then(|image| image.debian.clone())
                });
                // Modal's Debian has what these need already, in versions of its own.
                for wanted in packages {
                    let mut packages = locked.iter().flat_map(|debian| &debian.packages);
                    let found = packages.find(|package| package.name == wanted.value);
                    let label = format_args!("package.{}", wanted.value);
                    fingerprint.optional(label, found.map(|package| &package.version));
                }
            }
            Base::Registry(reference) => {
                // A tag may move; what it was locked to does not.
                let locked = self.workspace.lock(|lock| {
                    let image = lock.images.get(self.described.name.as_str());
                    image.and_then(|image| image.base.as_ref()).map(|base| base.digest.clone())
                });
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
            .field("modal.environment", self.workspace.modal().environment())
            .field("modal.image-builder", Modal::image_builder(&self.described))
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

    fn observe(&self, _: Option<Wanted<'_>>) -> Observation {
        self.workspace.modal().observe_image()
    }

    async fn run(&self, _: &Task) -> Result<Outcome, StepError> {
        Err(Modal::unsupported(self.id().as_str()))
    }
}
