//! `push:<image>`: an image that goatbuild built, in the registry that its target takes it from.

use std::sync::Arc;

use async_trait::async_trait;

use crate::digest::{Digest, NotADigest};
use crate::fingerprint::{Change, Fingerprint};
use crate::oci::registry::Found;
use crate::spec::ImageName;
use crate::step::{
    Fact, Facts, Head, Input, Inputs, Observation, Outcome, Resource, Step, StepError, StepId,
    Task, Wanted,
};
use crate::workspace::{Cache, Registries, Workspace};

/// Raise when the same image comes to be pushed otherwise.
const VERSION: u32 = 1;

pub(super) struct Push {
    cache: Arc<Cache>,
    registries: Arc<Registries>,
    head: Head,
    image: ImageName,
}

impl Push {
    pub(super) fn new(
        workspace: &Workspace,
        name: &ImageName,
        models: &[String],
        image: StepId,
    ) -> Self {
        let head = Head::effect(StepId::push(name), Resource::Network, models)
            .taking(vec![Input::blobs(image, &[Fact::DIGEST])]);
        Self {
            cache: Arc::clone(&workspace.cache),
            registries: Arc::clone(&workspace.registries),
            head,
            image: name.clone(),
        }
    }

    fn digest(&self, inputs: &Inputs) -> Result<Digest, NotADigest> {
        inputs.digest(&self.inputs()[0].step, Fact::DIGEST)
    }

    fn facts(&self, digest: Digest) -> Facts {
        let reference = self.registries.pushed(&self.image).at(digest);
        [Fact::REFERENCE.is(reference.to_string())].into()
    }
}

#[async_trait]
impl Step for Push {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, inputs: &Inputs) -> Fingerprint {
        let pushed = self.registries.pushed(&self.image);
        let mut fingerprint = Fingerprint::new("push", VERSION);
        fingerprint
            .field("registry", format_args!("{}/{}", pushed.registry, pushed.repository))
            .field("image", inputs.fact(&self.inputs()[0].step, Fact::DIGEST));
        fingerprint
    }

    fn observe(&self, wanted: Option<Wanted<'_>>) -> Observation {
        // What is not built yet can't have been pushed; which images were is nothing to tell.
        let Some(Wanted { key, inputs }) = wanted else { return Observation::Unobserved(None) };
        let Ok(digest) = self.digest(inputs) else { return Observation::Unobserved(None) };
        match self.registries.found(&self.image, digest) {
            Some(Ok(Found::Tagged)) => {
                Observation::Present { key: *key, facts: self.facts(digest) }
            }
            // It stands, and is swept sooner or later.
            Some(Ok(Found::Untagged)) => {
                let tag = self.registries.pushed_as(&self.image, digest).tag;
                let change = Change { field: "tag".to_owned(), old: tag, new: Some("gone".into()) };
                Observation::Drifted { changes: vec![change] }
            }
            Some(Ok(Found::Nothing)) => Observation::Absent,
            Some(Err(why)) => Observation::Unobserved(Some(why)),
            None => Observation::Unobserved(None),
        }
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let digest = self.digest(&task.inputs)?;
        let layout = self.cache.layout()?;
        let built = layout.image(digest)?;
        let to = self.registries.pushed_as(&self.image, digest);
        task.reporter.message(format!("pushing to {to}"));
        let name = self.image.as_str();
        let pushed = self.registries.push(name, &layout, &built, &to, &task.reporter).await?;
        let evidence = [
            ("bytes".to_owned(), (pushed.sent + pushed.there).to_string()),
            ("bytes-pushed".to_owned(), pushed.sent.to_string()),
            ("bytes-reused".to_owned(), pushed.there.to_string()),
        ];
        Ok(Outcome { facts: self.facts(digest), evidence: evidence.into() })
    }
}
