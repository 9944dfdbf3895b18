//! `push:<image>`: an image that goatbuild built, in the registry that Modal takes it from.

use async_trait::async_trait;

use crate::fingerprint::Fingerprint;
use crate::spec::ImageName;
use crate::step::{
    Head, Input, Inputs, Observation, Outcome, Resource, Step, StepError, StepId, Task, Wanted,
};
use crate::targets::modal::ModalError;
use crate::workspace::SharedWorkspace;

/// Raise when the same image comes to be pushed otherwise.
const VERSION: u32 = 1;

pub(super) struct Push {
    workspace: SharedWorkspace,
    head: Head,
}

impl Push {
    pub(super) fn new(
        workspace: &SharedWorkspace,
        name: &ImageName,
        models: &[String],
        image: StepId,
    ) -> Self {
        let head = Head::effect(StepId::new("push", name), Resource::Network, models)
            .taking(vec![Input::blobs(image, &["digest"])]);
        Self { workspace: workspace.clone(), head }
    }
}

#[async_trait]
impl Step for Push {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, inputs: &Inputs) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("push", VERSION);
        fingerprint
            .optional("registry", self.workspace.modal().registry())
            .field("image", inputs.fact(&self.inputs()[0].step, "digest"));
        fingerprint
    }

    fn observe(&self, _: Option<Wanted<'_>>) -> Observation {
        self.workspace.modal().observe_push()
    }

    async fn run(&self, _: &Task) -> Result<Outcome, StepError> {
        Err(ModalError::Push { image: self.id().name().to_owned() }.into())
    }
}
