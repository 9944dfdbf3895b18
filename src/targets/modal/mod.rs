//! Modal: GPUs that scale to zero. This version plans for it; it deploys nothing there and does not
//! look at what is there.

mod address;

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use miette::Diagnostic;
use thiserror::Error;

use super::{Deployment, Live, Snapshot, Target, Weights};
use crate::fingerprint::{Fingerprint, Key};
use crate::hub::HashCache;
use crate::plan::{PlannedModel, Unwanted, UsdPerHour};
use crate::runtime::Check;
use crate::spec::{Base, Gpu, Image, ModalTarget, Model, Project};
use crate::step::{Facts, Observation, Outcome, StepError, Task};

use address::Address;

/// Why nothing is called fresh at Modal.
const UNSEEN: &str = "this version plans for Modal and does not look there";

/// Why something could not be done at Modal.
#[derive(Debug, Error, Diagnostic)]
pub enum ModalError {
    /// Deploying there is not in this version.
    #[error("deploying to Modal is not in this version: {}", models.join(", "))]
    #[diagnostic(
        code(goatbuild::modal::unsupported),
        help(
            "nothing was locked, built or deployed. `goatbuild plan` shows what would be; models with `target = \"local\"` can be applied by name, and images with `builder = \"oci\"` by `--only image:NAME`"
        )
    )]
    Unsupported {
        /// What was asked for: models, or steps that belong to no single one.
        models: Vec<String>,
    },
}

/// One project's part of a Modal environment.
#[derive(Debug)]
pub struct Modal {
    settings: ModalTarget,
    app_prefix: String,
    gpus: BTreeMap<String, Gpu>,
}

impl Modal {
    /// The target of a project that has one.
    pub fn new(project: &Project) -> Option<Self> {
        Some(Self {
            settings: project.targets.modal.clone()?,
            app_prefix: project.app_prefix.clone(),
            gpus: project.gpus.clone(),
        })
    }

    /// The name of the app that serves a model: the model's own behind the project's prefix.
    fn app(&self, model: &str) -> String {
        format!("{}{model}", self.app_prefix)
    }

    fn address(&self, app: &str) -> Address {
        Address::of(self.settings.workspace.as_deref(), &self.settings.environment, app)
    }

    /// Modal's environment.
    pub fn environment(&self) -> &str {
        &self.settings.environment
    }

    /// Where images that goatbuild builds are pushed for Modal to take.
    pub fn registry(&self) -> Option<&str> {
        self.settings.registry.as_deref()
    }

    /// The version of Modal's image builder that is asked for, part of what an image it builds is.
    ///
    /// From `modal/builder/base-images.json` of the client 1.6: 2025.06 builds on bookworm, 2026.10
    /// on trixie. Images on other bases only take over the builder's own tools.
    pub fn image_builder(image: &Image) -> &'static str {
        match &image.base {
            Base::Debian { suite, .. } if suite == "trixie" => "2026.10",
            _ => "2025.06",
        }
    }

    /// What is known of an image that Modal builds.
    pub fn observe_image(&self) -> Observation {
        unseen()
    }

    /// What is known of an image in the registry that Modal takes it from.
    pub fn observe_push(&self) -> Observation {
        Observation::Unobserved(Some(match &self.settings.registry {
            Some(_) => UNSEEN.to_owned(),
            None => "`[target.modal] registry` does not say where to push to".to_owned(),
        }))
    }

    /// The error for work there.
    pub fn unsupported(what: &str) -> StepError {
        ModalError::Unsupported { models: vec![what.to_owned()] }.into()
    }
}

fn unseen() -> Observation {
    Observation::Unobserved(Some(UNSEEN.to_owned()))
}

#[async_trait]
impl Target for Modal {
    fn name(&self) -> &'static str {
        "modal"
    }

    fn plan_model(&self, model: &Model) -> PlannedModel {
        let app = self.app(model.name.as_str());
        let address = self.address(&app);
        let hardware = model.hardware.as_ref();
        let price = |gpu: &String| self.gpus.get(gpu).map(|gpu| UsdPerHour::new(gpu.usd_per_hour));
        PlannedModel {
            model: model.name.to_string(),
            target: self.name().to_owned(),
            url: address.url(),
            app: Some(app),
            gpu: hardware.map(|hardware| hardware.gpu.clone()),
            gpu_count: hardware.map_or(0, |hardware| hardware.count),
            usd_per_hour: hardware
                .and_then(|hardware| Some(price(&hardware.gpu)?.times(hardware.count))),
            notes: address.note().into_iter().collect(),
        }
    }

    fn describe(&self, model: &str, fingerprint: &mut Fingerprint) {
        fingerprint
            .field("modal.environment", &self.settings.environment)
            .field("modal.app", self.app(model));
    }

    async fn check(&self, models: &[String]) -> Result<(), StepError> {
        Err(ModalError::Unsupported { models: models.to_vec() }.into())
    }

    async fn survey(&self) -> Result<Vec<Check>, StepError> {
        let ModalTarget { environment, workspace, .. } = &self.settings;
        let workspace = workspace.as_ref().map(|name| format!("workspace {name}, "));
        let place = format!("{}environment {environment}", workspace.unwrap_or_default());
        let detail = format!("{place}; {UNSEEN}");
        Ok(vec![Check { name: "modal", ok: true, detail, help: None }])
    }

    async fn place(&self) -> Option<String> {
        None
    }

    async fn look(&self) -> Result<(), StepError> {
        Ok(())
    }

    fn observe_weights(&self, _: &Snapshot, _: Option<&Key>) -> Observation {
        unseen()
    }

    async fn place_weights(
        &self,
        weights: &Weights,
        _: &dyn HashCache,
        _: &Task,
    ) -> Result<Outcome, StepError> {
        Err(Self::unsupported(&weights.snapshot.repository))
    }

    fn observe_warmup(&self, _: &str, _: Option<&Key>) -> Observation {
        unseen()
    }

    async fn warm_up(&self, deployment: &Deployment, _: &Task) -> Result<Outcome, StepError> {
        Err(Self::unsupported(&deployment.model))
    }

    fn observe_deployment(&self, _: &str) -> Observation {
        unseen()
    }

    fn predict_deployment(&self, _: &str, _: Option<u16>) -> Facts {
        // Somebody else may have taken the label, and then Modal gives another.
        Facts::new()
    }

    async fn deploy(&self, deployment: &Deployment, _: &Task) -> Result<Outcome, StepError> {
        Err(Self::unsupported(&deployment.model))
    }

    fn observe_smoke(&self, _: &str) -> Observation {
        unseen()
    }

    async fn passed_smoke(&self, model: &str, _: &str, _: Key) -> Result<(), StepError> {
        Err(Self::unsupported(model))
    }

    fn unwanted(&self, _: &dyn Fn(&str) -> bool) -> Vec<Unwanted> {
        Vec::new()
    }

    async fn remove(&self, _: &str) -> Result<(), StepError> {
        // Nothing is ever deployed there.
        Ok(())
    }

    fn live(&self) -> Vec<Live> {
        Vec::new()
    }

    fn log(&self, _: &str) -> Option<PathBuf> {
        None
    }
}
