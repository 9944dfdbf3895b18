//! The kinds of steps, and how a project compiles into them.
//!
//! Adding one is one file and one call in [`compile`].

mod base;
mod deploy;
mod gateway;
mod image;
mod smoke;
mod warmup;
mod weights;
mod wheels;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::engines;
use crate::event::Reporter;
use crate::fingerprint::Key;
use crate::graph::Graph;
use crate::spec::{ImageName, Model, ModelSource, TargetKind, When};
use crate::step::{Inputs, Step, StepError, StepId};
use crate::targets::Snapshot;
use crate::workspace::SharedWorkspace;

/// Compiles a project whose images are locked into its DAG.
pub fn compile(workspace: &SharedWorkspace, reporter: &Reporter) -> Result<Graph, StepError> {
    let mut steps: Vec<Arc<dyn Step>> = Vec::new();
    let mut users: BTreeMap<ImageName, Vec<String>> = BTreeMap::new();
    for model in workspace.project.models.values() {
        users.entry(model.image.clone().value).or_default().push(model.name.to_string());
    }
    let mut images = HashMap::new();
    let mut shared = Shared::default();
    for (image, models) in &users {
        let id = compile_image(workspace, image, models, &mut shared, &mut steps);
        images.insert(image.clone(), id);
    }
    let weights = weights::compile(workspace, reporter, &mut steps)?;
    for model in workspace.project.models.values() {
        let image = images[&model.image.value].clone();
        compile_model(workspace, model, &image, &weights, &mut steps);
    }
    Ok(Graph::new(steps)?)
}

/// Where a step puts the weights of a source.
#[derive(Debug, Clone)]
struct Placed {
    step: StepId,
    snapshot: Snapshot,
}

/// The weights of every source, by target and source.
type AllPlaced<'a> = HashMap<(TargetKind, &'a ModelSource), Placed>;

/// Pure steps without inputs, by key: the same work is one step, whichever image asks first.
type Shared = HashMap<Key, StepId>;

fn share<S: Step + 'static>(
    step: S,
    shared: &mut Shared,
    steps: &mut Vec<Arc<dyn Step>>,
) -> StepId {
    let key = step.describe(&Inputs::default()).key();
    let id = shared.entry(key).or_insert_with(|| {
        let id = step.id().clone();
        steps.push(Arc::new(step));
        id
    });
    id.clone()
}

fn compile_image(
    workspace: &SharedWorkspace,
    image: &ImageName,
    models: &[String],
    shared: &mut Shared,
    steps: &mut Vec<Arc<dyn Step>>,
) -> StepId {
    let base = share(base::Base::new(workspace, image, models), shared, steps);
    let layers = wheels::slots(workspace, image, models)
        .into_iter()
        .map(|step| share(step, shared, steps))
        .collect();
    let step = image::Image::new(workspace, image, models, base, layers);
    let id = step.id().clone();
    steps.push(Arc::new(step));
    id
}

fn compile_model(
    workspace: &SharedWorkspace,
    model: &Arc<Model>,
    image: &StepId,
    weights: &AllPlaced<'_>,
    steps: &mut Vec<Arc<dyn Step>>,
) {
    let serving = deploy::Serving {
        workspace: Arc::clone(workspace),
        model: Arc::clone(model),
        image: image.clone(),
        weights: weights[&(model.target, &model.source)].clone(),
        draft: model.draft.as_ref().map(|draft| weights[&(model.target, &draft.source)].clone()),
    };
    let compiles = engines::engine(model.engine.name).compiles(model);
    let warmup = (compiles && model.serve.warmup == When::Auto).then(|| {
        let step = warmup::Warmup::new(serving.clone());
        let id = step.id().clone();
        steps.push(Arc::new(step));
        id
    });
    let deploy = deploy::Deploy::new(serving, warmup.as_ref());
    let deploy_id = deploy.id().clone();
    steps.push(Arc::new(deploy));
    let smoke = (model.serve.smoke == When::Auto).then(|| {
        let step = smoke::Smoke::new(workspace, model, &deploy_id);
        let id = step.id().clone();
        steps.push(Arc::new(step));
        id
    });
    if workspace.gateway.is_some()
        && let Some(entry) = &model.gateway
    {
        let step =
            gateway::Wire::new(workspace, model, &entry.alias.value, &deploy_id, smoke.as_ref());
        steps.push(Arc::new(step));
    }
}
