//! `image:<image>` where a model's target builds it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::fingerprint::Fingerprint;
use crate::spec::{ImageName, TargetType};
use crate::step::{
    Fact, Head, Inputs, Observation, Outcome, Resource, Step, StepError, StepId, Task, Wanted,
};
use crate::targets::{ImageToBuild, Images, Target, Targets};
use crate::workspace::Workspace;

/// What identifies an image that a target built: the target's own name for it.
pub(super) const FACTS: &[Fact] = &[Fact::IMAGE_ID];

/// The part of a target that builds images, or takes them from a registry.
pub(super) fn images(target: &dyn Target) -> &dyn Images {
    target.images().unwrap_or_else(|| panic!("BUG: {} only takes what is here", target.name()))
}

pub(super) struct ImageThere {
    targets: Arc<Targets>,
    head: Head,
    target: &'static dyn TargetType,
    image: ImageToBuild,
}

impl ImageThere {
    pub(super) fn new(
        workspace: &Workspace,
        target: &'static dyn TargetType,
        image: &ImageName,
        name: &str,
        models: &[String],
    ) -> Self {
        let head = Head::effect(StepId::image(name), Resource::Network, models);
        let builder = images(workspace.targets.named(target));
        let (note, errand) = (builder.note(), builder.time_to_build());
        let parts = workspace.images.parts(image);
        let image = ImageToBuild {
            image: workspace.project.images[image].clone(),
            locked: workspace.lock.read(|lock| lock.images.get(image.as_str()).cloned()),
            python: parts.runtime.python,
            wheels: parts.wheels,
        };
        let head = Head { note: Some(note), errand, ..head };
        Self { targets: Arc::clone(&workspace.targets), head, target, image }
    }

    pub(super) fn to_build(&self) -> &ImageToBuild {
        &self.image
    }

    fn images(&self) -> &dyn Images {
        images(self.targets.named(self.target))
    }
}

#[async_trait]
impl Step for ImageThere {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, _: &Inputs) -> Fingerprint {
        self.images().describe(&self.image)
    }

    fn observe(&self, wanted: Option<Wanted<'_>>) -> Observation {
        self.images().observe(wanted.map(|wanted| wanted.key))
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        self.images().build(&self.image, task).await
    }
}
