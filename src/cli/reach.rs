//! Which models an apply would serve, and so which targets it needs: known before anything is
//! locked.

use std::collections::{BTreeMap, BTreeSet};

use miette::Report;

use super::Selection;
use crate::openai::{Credentials, NoKey};
use crate::plan::{Action, Plan, PlannedStep, Warning};
use crate::spec::{Model, ModelSource, Rollout, TargetKind};
use crate::step::{StepId, StepKind};
use crate::steps;
use crate::targets::modal::{Modal, ModalError};
use crate::workspace::Workspace;

/// Fails when a target that the apply needs can't be used from here.
pub(crate) async fn check_targets(
    workspace: &Workspace,
    selection: &Selection,
) -> Result<(), Report> {
    let mut needed: BTreeMap<TargetKind, Vec<String>> = BTreeMap::new();
    for (target, what) in wanted(workspace, selection) {
        needed.entry(target).or_default().push(what);
    }
    // The farthest target first: it is the one that most likely can't be reached.
    for (kind, what) in needed.into_iter().rev() {
        workspace.targets.named(kind).check(&what).await?;
    }
    Ok(())
}

/// Whether what was asked for can include serving a model, which this machine must be able to do.
pub(crate) fn serves(selection: &Selection) -> bool {
    let only = &selection.wishes.only;
    let serves = |name: &String| match StepId::from(name.as_str()).known_kind() {
        Some(
            StepKind::Base
            | StepKind::Python
            | StepKind::Wheels
            | StepKind::Image
            | StepKind::Weights,
        ) => false,
        Some(
            StepKind::Push
            | StepKind::Warmup
            | StepKind::Deploy
            | StepKind::Smoke
            | StepKind::Gateway,
        )
        | None => true,
    };
    only.is_empty() || only.iter().any(serves)
}

/// Fails when a model would be tried out that turns away whoever asks from here.
pub(crate) fn check_keys(workspace: &Workspace, plan: &Plan) -> Result<(), NoKey> {
    let runs = |step: &&PlannedStep| matches!(step.action, Action::Run | Action::Pending);
    for step in plan.steps.iter().filter(runs) {
        let name = step.id.name();
        let Some(model) = workspace.project.models.get(name) else { continue };
        let tries = match step.id.known_kind() {
            Some(StepKind::Smoke) => true,
            Some(StepKind::Deploy) => model.serve.rollout == Rollout::Candidate,
            _ => false,
        };
        if tries {
            Credentials::of_environment(name, workspace.targets.of(model).headers(model))?;
        }
    }
    Ok(())
}

/// Fails when weights would be brought to Modal that can't be.
pub(crate) fn check_weights(workspace: &Workspace, plan: &Plan) -> Result<(), ModalError> {
    let brings = |step: &&PlannedStep| {
        step.id.is(StepKind::Weights) && matches!(step.action, Action::Run | Action::Pending)
    };
    let models = plan.steps.iter().filter(brings).flat_map(|step| &step.models);
    let models = models.filter_map(|name| workspace.project.models.get(name.as_str()));
    for model in models.filter(|model| model.target == TargetKind::Modal) {
        for source in model.sources() {
            if let ModelSource::Path(path) = source {
                return Err(ModalError::Path { path: path.into() });
            }
        }
    }
    Ok(())
}

/// The models that specs keep away from Modal, where nobody could look whether they are: no step of
/// theirs would tell.
pub(crate) fn unseen_absent(workspace: &Workspace, selection: &Selection) -> Vec<Warning> {
    let Some(why) = workspace.targets.modal_if_there().and_then(Modal::unseen) else {
        return Vec::new();
    };
    let all = selection.models.is_empty() && selection.wishes.only.is_empty();
    let absent = workspace.project.absent.values();
    let here = absent.filter(|model| model.target == TargetKind::Modal);
    let asked =
        here.filter(|model| all || selection.models.iter().any(|it| it == model.name.as_str()));
    let warning = |model: &std::sync::Arc<Model>| Warning {
        model: model.name.to_string(),
        message: "its spec says absent, and nobody looked whether it is deployed".to_owned(),
        help: why.clone(),
    };
    asked.map(warning).collect()
}

/// What is to be done at a target: a model to serve, or a step that was named.
fn wanted(workspace: &Workspace, selection: &Selection) -> BTreeSet<(TargetKind, String)> {
    let models = workspace.project.models.values();
    if selection.wishes.only.is_empty() {
        let all = selection.models.is_empty();
        let named = |model: &&std::sync::Arc<Model>| {
            all || selection.models.iter().any(|name| name == model.name.as_str())
        };
        return models.filter(named).map(|it| (it.target, it.name.to_string())).collect();
    }
    let mut wanted = BTreeSet::new();
    for name in &selection.wishes.only {
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
pub(crate) fn is_known(workspace: &Workspace, step: &StepId) -> bool {
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
