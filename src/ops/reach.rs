//! Which models a step belongs to, and what of what was asked for is done at a target: known before
//! anything is locked.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::plan::saved::Request;
use crate::spec::{Model, ModelSource, TargetKind};
use crate::step::{StepId, StepKind};
use crate::steps;
use crate::workspace::Workspace;

/// What is to be done at a target: a model to serve, or a step that was named.
pub(super) fn wanted(workspace: &Workspace, request: &Request) -> BTreeSet<(TargetKind, String)> {
    let models = workspace.project.models.values();
    if request.only.is_empty() {
        let all = request.models.is_empty();
        let named = |model: &&Arc<Model>| {
            all || request.models.iter().any(|name| name == model.name.as_str())
        };
        return models.filter(named).map(|it| (it.target, it.name.to_string())).collect();
    }
    let mut wanted = BTreeSet::new();
    for name in &request.only {
        let step = StepId::from(name.as_str());
        let users = workspace.project.models.values().filter(|model| uses(model, &step));
        for model in users {
            if is_elsewhere(workspace, model, &step) {
                wanted.insert((model.target, name.clone()));
            }
        }
    }
    wanted
}

/// Whether a step belongs to any model of the project, as far as names tell.
pub(super) fn is_known(workspace: &Workspace, step: &StepId) -> bool {
    workspace.project.models.values().any(|model| uses(model, step))
}

/// Whether a step belongs to this model, as far as names tell.
fn uses(model: &Model, step: &StepId) -> bool {
    let name = step.name().split('@').next().unwrap_or_default();
    match step.known_kind() {
        Some(
            StepKind::Base | StepKind::Python | StepKind::Wheels | StepKind::Image | StepKind::Push,
        ) => name.split('/').next() == Some(model.image.value.as_str()),
        Some(StepKind::Weights) => {
            let of = |source: &ModelSource| match source {
                ModelSource::Path(path) => path == name,
                ModelSource::Hub(source) => source.repository == name,
            };
            of(&model.source) || model.draft.as_ref().is_some_and(|draft| of(&draft.source))
        }
        Some(StepKind::Warmup | StepKind::Deploy | StepKind::Smoke | StepKind::Gateway) | None => {
            name == model.name.as_str()
        }
    }
}

/// Whether the step takes place at the model's target and not in this machine's cache.
fn is_elsewhere(workspace: &Workspace, model: &Model, step: &StepId) -> bool {
    let at_modal = model.target == TargetKind::Modal;
    match step.known_kind() {
        Some(StepKind::Base | StepKind::Python | StepKind::Wheels) => false,
        // Where both build one, each has a step.
        Some(StepKind::Image) => {
            at_modal
                && steps::image_at_modal(&workspace.project, &model.image.value).as_ref()
                    == Some(step)
        }
        Some(StepKind::Push) => at_modal,
        Some(StepKind::Weights) => {
            at_modal && !step.name().ends_with(&format!("@{}", TargetKind::Local))
        }
        Some(StepKind::Warmup | StepKind::Deploy | StepKind::Smoke | StepKind::Gateway) | None => {
            true
        }
    }
}
