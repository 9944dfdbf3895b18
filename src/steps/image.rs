//! `image:<image>`: layers and a configuration, in the OCI layout.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::base::LAYER_FACTS;
use super::wheels;
use crate::blocking::blocking;
use crate::fingerprint::Fingerprint;
use crate::oci::{self, Compression, ImageSpec, Layer, LayerRef};
use crate::spec::{self, ImageName};
use crate::step::{Facts, Head, Input, Inputs, Outcome, Resource, Step, StepError, StepId, Task};
use crate::wheel::{self, Scheme};
use crate::workspace::{LockedParts, SharedWorkspace};

/// Raise when the same layers and settings come to make another image.
const VERSION: u32 = 1;

pub(super) struct Image {
    workspace: SharedWorkspace,
    head: Head,
    described: spec::Image,
    parts: LockedParts,
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
            head: Head::pure(StepId::new("image", image), Resource::Disk, models).taking(inputs),
            described: workspace.project.images[image].clone(),
            parts: workspace.parts(image),
        }
    }

    fn layers(&self, inputs: &Inputs) -> Vec<Layer> {
        self.inputs()
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
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, inputs: &Inputs) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("image", VERSION);
        fingerprint
            .field("architecture", self.described.architecture.name())
            .field("python", self.parts.runtime.python)
            .field("source-date-epoch", self.workspace.settings.epoch);
        for (input, layer) in self.inputs().iter().zip(self.layers(inputs)) {
            fingerprint.field(format!("layer.{}", label(&input.step)), layer.digest);
        }
        for (name, value) in &self.described.env {
            fingerprint.field(format!("env.{name}"), value);
        }
        fingerprint
    }

    fn has_blobs(&self, facts: &Facts) -> bool {
        match (self.workspace.layout(), facts.get("digest")) {
            (Ok(layout), Some(digest)) => {
                layout.read_image(digest).is_ok_and(|image| image.is_complete(&layout))
            }
            _ => false,
        }
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let files = wheels::fetch(&self.workspace, &self.parts.wheels, task).await?;
        let scheme =
            Scheme { python: self.parts.runtime.python, epoch: self.workspace.settings.epoch };
        let mut layers = self.layers(&task.inputs);
        let mut made_by: Vec<String> =
            self.inputs().iter().map(|input| label(&input.step)).collect();
        made_by.insert(1, "environment".to_owned());
        let spec = ImageSpec {
            architecture: self.described.architecture,
            epoch: scheme.epoch,
            layers: Vec::new(),
            base_env: Vec::new(),
            env: self.described.env.clone(),
            entrypoint: Vec::new(),
            cmd: vec!["python".to_owned()],
            working_dir: String::new(),
            labels: BTreeMap::new(),
        };
        let (layout, tag) = (self.workspace.layout()?, self.described.name.to_string());
        let reporter = task.reporter.clone();
        blocking(move || {
            reporter.message("checking that no two wheels own one path");
            wheel::collisions(&files, &scheme, &reporter)?;
            let mut blob = layout.blobs().layer_writer()?;
            let interpreter = format!("/usr/bin/python{}", scheme.python);
            let environment = wheel::venv_layer(&scheme, &interpreter, &mut blob)?;
            blob.commit(&environment)?;
            layers.insert(1, environment);
            let layers: Vec<LayerRef> = layers
                .into_iter()
                .zip(made_by)
                .map(|(layer, created_by)| LayerRef {
                    digest: layer.digest,
                    size: layer.size,
                    diff_id: layer.diff_id,
                    compression: Compression::Gzip,
                    created_by,
                })
                .collect();
            let spec = ImageSpec { layers: layers.clone(), ..spec };
            let digest = oci::write_image(&layout, &spec)?;
            layout.tag(&tag, &digest)?;
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

/// A layer's name without the image's: the same layers make the same image, whatever it is called.
fn label(step: &StepId) -> String {
    match step.kind() {
        "base" => "base".to_owned(),
        _ => step.name().rsplit('/').next().unwrap_or_default().to_owned(),
    }
}
