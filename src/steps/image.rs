//! `image:<image>`: layers and a configuration, in the OCI layout.

use std::sync::Arc;

use async_trait::async_trait;
use miette::Diagnostic;
use thiserror::Error;

use super::base::LAYER_FACTS;
use super::bottom::{Wanted, layer, made_here};
use super::build;
use super::wheels::{self, Downloaded};
use crate::blocking::blocking;
use crate::fingerprint::Fingerprint;
use crate::lock::BaseSettings;
use crate::oci::{self, ImageSpec};
use crate::platform::Runtime;
use crate::spec::{self, ImageName, extends};
use crate::step::{
    Fact, Facts, Head, Input, Inputs, Outcome, Resource, Step, StepError, StepId, StepKind, Task,
};
use crate::wheel::{self, Scheme};
use crate::workspace::{Cache, LockedParts, Workspace};

/// Raise when the same layers and settings come to make another image.
const VERSION: u32 = 1;

pub(super) struct Image {
    cache: Arc<Cache>,
    head: Head,
    described: spec::Image,
    runtime: Runtime,
    wheels: Downloaded,
    epoch: u64,
    /// What the lock says that its base sets, and that it keeps.
    settings: BaseSettings,
}

impl Image {
    pub(super) fn new(
        workspace: &Workspace,
        image: &ImageName,
        models: &[String],
        base: Input,
        layers: Vec<StepId>,
        own: Vec<StepId>,
    ) -> Self {
        let layers = layers.into_iter().map(|step| Input::blobs(step, LAYER_FACTS));
        let own = own.into_iter().map(|step| Input::blobs(step, build::FACTS));
        let inputs = std::iter::once(base).chain(layers).chain(own).collect();
        let LockedParts { runtime, wheels, .. } = workspace.images.parts(image);
        Self {
            cache: Arc::clone(&workspace.cache),
            head: Head::pure(StepId::image(image), Resource::Disk, models).taking(inputs),
            described: workspace.project.images[image].clone(),
            runtime,
            wheels: Downloaded::new(workspace, wheels),
            epoch: workspace.settings.epoch,
            settings: workspace
                .lock
                .read(|lock| lock.images.get(image.as_str())?.base.as_ref()?.settings.clone())
                .unwrap_or_default(),
        }
    }

    /// What it keeps of its base, with labels of its own over the base's.
    fn with_labels(&self) -> BaseSettings {
        let mut settings = self.settings.clone();
        settings.labels.extend(self.described.labels.clone());
        settings
    }

    /// Puts the layers together, and adds the environment.
    async fn make(&self, task: &Task) -> Result<Outcome, StepError> {
        let mut files = self.wheels.fetch(task).await?;
        for input in self.inputs().iter().filter(|it| it.step.kind() == Some(StepKind::Build)) {
            files.push(build::wheel_of(&self.cache, &input.step, &task.inputs)?);
        }
        let scheme = Scheme { python: self.runtime.python, epoch: self.epoch };
        let layout = self.cache.layout()?;
        let wanted = Wanted { image: &self.described, runtime: self.runtime };
        let base = wanted.of(&self.cache, &self.inputs()[0], &layout, &task.inputs)?;
        let below = base.layers.len();
        let mut layers = base.layers;
        let others = self.inputs()[1..].iter();
        for input in others {
            layers.push(layer(input, label(&input.step), &task.inputs)?);
        }
        // The environment comes right above what its interpreter is in.
        let added = self.inputs()[1..]
            .iter()
            .take_while(|it| it.step.kind() == Some(StepKind::Python))
            .count();
        let overlap = self.described.choosing.overlap();
        let (at, count) = (below + added, layers.len() + 1 + usize::from(!overlap.is_empty()));
        if count > wheels::LAYERS {
            return Err(too_many(&self.described, count, below).into());
        }
        let spec = ImageSpec {
            architecture: self.described.architecture,
            epoch: scheme.epoch,
            layers: Vec::new(),
            base_env: base.env,
            env: self.described.env.clone(),
            entrypoint: Vec::new(),
            cmd: vec!["python".to_owned()],
            settings: self.with_labels(),
            annotations: self.described.annotations.clone(),
        };
        let tag = self.described.name.to_string();
        let reporter = task.reporter.clone();
        blocking(move || {
            reporter.message("checking that no two wheels own one path");
            if overlap.is_empty() {
                wheel::collisions(&files, &scheme, &reporter)?;
            } else {
                let mut blob = layout.blobs().layer_writer()?;
                let made = wheel::overlap_layer(&files, &overlap, &scheme, &mut blob, &reporter)?;
                for unused in made.unused {
                    let pattern = unused.pattern;
                    reporter.notice(format!(
                        "{tag}: no two wheels own what `overlap` calls {pattern:?}"
                    ));
                }
                if let Some(layer) = made.layer {
                    blob.commit(&layer)?;
                    layers.push(made_here(&layer, "overlap"));
                }
            }
            let mut blob = layout.blobs().layer_writer()?;
            let environment = wheel::venv_layer(&scheme, &base.interpreter, &mut blob)?;
            blob.commit(&environment)?;
            layers.insert(at, made_here(&environment, "environment"));
            let spec = ImageSpec { layers: layers.clone(), ..spec };
            let digest = oci::write_image(&layout, &spec)?;
            layout.tag(&tag, digest)?;
            let size: u64 = layers.iter().map(|layer| layer.size).sum();
            let evidence = [
                ("layers".to_owned(), layers.len().to_string()),
                ("size".to_owned(), size.to_string()),
            ];
            Ok(Outcome { facts: [Fact::DIGEST.is(digest)].into(), evidence: evidence.into() })
        })
        .await
    }
}

/// An image that would have more layers than any may have.
pub(super) fn too_many(image: &spec::Image, layers: usize, base: usize) -> ImageError {
    ImageError::TooManyLayers { image: image.name.to_string(), layers, base }
}

/// Why an image can't be put together.
#[derive(Debug, Error, Diagnostic)]
pub(super) enum ImageError {
    #[error(
        "image {image} would have {layers} layers, {base} of them its base's, and may have 127"
    )]
    #[diagnostic(code(goatbuild::image::too_many_layers), help("choose a base with fewer layers"))]
    TooManyLayers { image: String, layers: usize, base: usize },
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
            .field("python", self.runtime.python)
            .field("source-date-epoch", self.epoch);
        for input in self.inputs() {
            let digest = inputs.fact(&input.step, Fact::DIGEST);
            fingerprint.field(format!("layer.{}", label(&input.step)), digest);
        }
        for (name, value) in &self.described.env {
            fingerprint.field(format!("env.{name}"), value);
            // Images of before had the value as it is written.
            if extends(name, value) {
                fingerprint.field(format!("env.{name}.extends"), "base");
            }
        }
        for (name, value) in self.settings.kept() {
            fingerprint.field(format!("base.{name}"), value);
        }
        for (name, value) in &self.described.labels {
            fingerprint.field(format!("label.{name}"), value);
        }
        for (name, value) in &self.described.annotations {
            fingerprint.field(format!("annotation.{name}"), value);
        }
        wheels::describe_overlap(&mut fingerprint, &self.described.choosing.overlap());
        fingerprint
    }

    fn has_blobs(&self, facts: &Facts) -> bool {
        match (self.cache.layout(), Fact::DIGEST.digest_of(facts)) {
            (Ok(layout), Some(digest)) => {
                layout.image(digest).is_ok_and(|image| image.is_complete(&layout))
            }
            _ => false,
        }
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        match self.make(task).await {
            Err(error) if self.wheels.were_damaged(&error, task).await? => self.make(task).await,
            made => made,
        }
    }
}

/// A layer's name without the image's: the same layers make the same image, whatever it is called.
fn label(step: &StepId) -> String {
    let last = step.name().rsplit('/').next().unwrap_or_default();
    match step.kind() {
        Some(kind @ (StepKind::Base | StepKind::Python)) => kind.to_string(),
        Some(kind @ StepKind::Build) => format!("{kind}.{last}"),
        _ => last.to_owned(),
    }
}
