//! The programs with which a target serves a model, without running any step.

use std::path::PathBuf;
use std::sync::Arc;

use miette::Diagnostic;
use thiserror::Error;

use super::deploy::{Deploy, ImageInput, ModelToServe};
use super::image_there::ImageThere;
use super::names::Chain;
use super::{compile_images, warmup, weights};
use crate::event::Reporter;
use crate::spec::Model;
use crate::step::{Edge, Fact, Facts, Inputs, Observation, Step, StepError, StepId, Wanted};
use crate::targets::Deployment;
use crate::workspace::Workspace;

/// The image has to be built before anything can name it.
#[derive(Debug, Error, Diagnostic)]
#[error("image {image} is not built, and programs name it by its digest")]
#[diagnostic(code(goatbuild::image::not_built), help("run `goatbuild apply --only push:{image}`"))]
struct NotBuilt {
    image: String,
}

/// The programs of a model, each as it would be run, with its path among them; none where its target
/// has no programs.
///
/// An image that the target has not built yet, or that `anywhere` is not to be taken from this workspace,
/// is described instead of named. `made` tells what is known of the facts of steps.
pub fn programs(
    workspace: &Workspace,
    model: &Arc<Model>,
    anywhere: bool,
    made: &dyn Fn(&StepId) -> Option<Facts>,
    reporter: &Reporter,
) -> Result<Vec<(PathBuf, String)>, StepError> {
    let target = workspace.targets.of(model);
    let Some(programs) = target.programs() else { return Ok(Vec::new()) };
    let mut steps: Vec<Arc<dyn Step>> = Vec::new();
    let images = compile_images(workspace, &mut steps);
    let placed = weights::compile(workspace, reporter, &mut steps)?;
    let place = (model.image.value.clone(), model.target);
    let Some(image) = images.get(&place).cloned() else {
        panic!("BUG: {} was not locked", model.image.value)
    };
    let serving = ModelToServe::new(workspace, model, image, &placed);
    let inputs = known(&serving, &steps, made);
    if let ImageInput::Pushed { image, .. } = &serving.image
        && inputs.fact(image, Fact::DIGEST).is_empty()
    {
        return Err(NotBuilt { image: image.name().to_owned() }.into());
    }
    let is_warmed = Chain::of(&workspace.project, model).warmup;
    let warm = is_warmed.then(|| warmup::describe(&serving, &inputs).key());
    let deployment = serving.deployment(&inputs, warm);
    // Only what goatbuild itself deploys is asked by its mark.
    let is_named = !anywhere && !deployment.image.is_empty();
    let key = is_named.then(|| Deploy::new(serving.clone(), None).describe(&inputs).key());
    let deployment = Deployment { mark: key.and_then(|key| serving.mark(key)), ..deployment };
    let described = match &serving.image {
        ImageInput::There(step) if anywhere || deployment.image.is_empty() => {
            Some(ImageThere::new(workspace, model.target, &model.image.value, step.name(), &[]))
        }
        _ => None,
    };
    Ok(programs.render(&deployment, described.as_ref().map(ImageThere::to_build)))
}

/// The facts that a model's steps would take, as far as they are known; empty where they are not.
fn known(
    serving: &ModelToServe,
    steps: &[Arc<dyn Step>],
    made: &dyn Fn(&StepId) -> Option<Facts>,
) -> Inputs {
    let value = |id: &StepId, fact: Fact| {
        if let Some(value) = made(id).and_then(|mut facts| facts.remove(fact.name())) {
            return Some(value);
        }
        let step = steps.iter().find(|step| step.id() == id)?;
        if let Some(value) = step.predict().remove(fact.name()) {
            return Some(value);
        }
        let nothing = Inputs::default();
        // What takes from others is known once those have run.
        let key = step.inputs().is_empty().then(|| step.describe(&nothing).key())?;
        match step.observe(Some(Wanted { key: &key, inputs: &nothing })) {
            Observation::Present { mut facts, .. } => facts.remove(fact.name()),
            _ => None,
        }
    };
    let mut inputs = Inputs::default();
    for input in serving.inputs() {
        if let Edge::Consumes(facts) = input.edge {
            for fact in facts {
                let value = value(&input.step, *fact).unwrap_or_default();
                inputs.insert(&input.step, *fact, &value);
            }
        }
    }
    inputs
}
