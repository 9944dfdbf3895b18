//! `image:<image>`: layers and a configuration, in the OCI layout.

use async_trait::async_trait;

use super::base::LAYER_FACTS;
use super::wheels;
use crate::fingerprint::Fingerprint;
use crate::oci::{ImageConfig, Layer};
use crate::spec::{self, ImageName};
use crate::step::{
    Class, Facts, Input, Inputs, Observation, Outcome, Resource, Step, StepError, StepId, Task,
    Wanted,
};
use crate::targets::local::blocking;
use crate::wheel::{self, Scheme};
use crate::workspace::{LockedParts, SharedWorkspace};

/// Raise when the same layers and settings come to make another image.
const VERSION: u32 = 1;

pub(super) struct Image {
    workspace: SharedWorkspace,
    id: StepId,
    models: Vec<String>,
    image: spec::Image,
    parts: LockedParts,
    inputs: Vec<Input>,
}

impl Image {
    pub(super) fn new(
        workspace: &SharedWorkspace,
        image: &ImageName,
        models: &[String],
        base: StepId,
        layers: Vec<StepId>,
    ) -> Self {
        let inputs = std::iter::once(base)
            .chain(layers)
            .map(|step| Input::blobs(step, LAYER_FACTS))
            .collect();
        Self {
            workspace: workspace.clone(),
            id: StepId::new("image", image),
            models: models.to_vec(),
            image: workspace.project.images[image].clone(),
            parts: workspace.parts(image),
            inputs,
        }
    }

    fn layers(&self, inputs: &Inputs) -> Vec<Layer> {
        self.inputs
            .iter()
            .map(|input| Layer {
                digest: inputs.fact(&input.step, "digest").to_owned(),
                diff_id: inputs.fact(&input.step, "diff-id").to_owned(),
                size: inputs.fact(&input.step, "size").parse().unwrap_or(0),
            })
            .collect()
    }
}

#[async_trait]
impl Step for Image {
    fn id(&self) -> &StepId {
        &self.id
    }

    fn class(&self) -> Class {
        Class::Pure
    }

    fn resource(&self) -> Resource {
        Resource::Disk
    }

    fn models(&self) -> &[String] {
        &self.models
    }

    fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    fn describe(&self, inputs: &Inputs) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("image", VERSION);
        fingerprint
            .field("architecture", self.image.architecture.name())
            .field("python", self.parts.runtime.python)
            .field("source-date-epoch", self.workspace.settings.epoch);
        for (input, layer) in self.inputs.iter().zip(self.layers(inputs)) {
            let label = match input.step.kind() {
                "base" => "layer.base".to_owned(),
                // Without the image's name: the same layers make the same image.
                _ => format!("layer.{}", input.step.name().rsplit('/').next().unwrap_or_default()),
            };
            fingerprint.field(label, layer.digest);
        }
        for (name, value) in &self.image.env {
            fingerprint.field(format!("env.{name}"), value);
        }
        fingerprint
    }

    fn observe(&self, _: Option<Wanted<'_>>) -> Observation {
        Observation::Unobserved(None)
    }

    fn has_blobs(&self, facts: &Facts) -> bool {
        match (self.workspace.layout(), facts.get("digest")) {
            (Ok(layout), Some(digest)) => layout.is_complete(digest),
            _ => false,
        }
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let files = wheels::fetch(&self.workspace, &self.parts.wheels, task).await?;
        let scheme =
            Scheme { python: self.parts.runtime.python, epoch: self.workspace.settings.epoch };
        let mut layers = self.layers(&task.inputs);
        let config = ImageConfig {
            architecture: self.image.architecture,
            environment: self.image.env.clone(),
            epoch: scheme.epoch,
        };
        let (layout, tag) = (self.workspace.layout()?, self.image.name.to_string());
        let reporter = task.reporter.clone();
        blocking(move || {
            reporter.message("checking that no two wheels own one path");
            wheel::collisions(&files, &scheme, &reporter)?;
            let mut blob = layout.blobs().layer_writer()?;
            let interpreter = format!("/usr/bin/python{}", scheme.python);
            let environment = wheel::venv_layer(&scheme, &interpreter, &mut blob)?;
            blob.commit(&environment)?;
            layers.insert(1, environment);
            let digest = layout.write_image(&tag, &config, &layers)?;
            let size: u64 = layers.iter().map(|layer| layer.size).sum();
            let evidence = [
                ("layers".to_owned(), layers.len().to_string()),
                ("size".to_owned(), size.to_string()),
            ];
            Ok(Outcome { facts: [("digest".to_owned(), digest)].into(), evidence: evidence.into() })
        })
        .await
    }
}
