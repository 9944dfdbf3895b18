//! What steps that are going to run lack, as far as that shows before any of them does.

use miette::Report;

use crate::openai::{Credentials, NoKey};
use crate::plan::{Action, Plan, PlannedStep};
use crate::spec::ImageName;
use crate::step::{StepError, Subject};
use crate::workspace::Workspace;

/// Fails when a step would run that can only fail.
pub async fn check(workspace: &Workspace, plan: &Plan) -> Result<(), Report> {
    check_weights(workspace, plan)?;
    check_keys(workspace, plan)?;
    check_pushes(workspace, plan).await
}

/// Fails when weights would be brought to a target that can't be.
fn check_weights(workspace: &Workspace, plan: &Plan) -> Result<(), StepError> {
    let brings = |step: &&PlannedStep| {
        matches!(step.id.subject(), Subject::Weights(_))
            && matches!(step.action, Action::Run | Action::Pending)
    };
    let models = plan.steps.iter().filter(brings).flat_map(|step| &step.models);
    let models = models.filter_map(|name| workspace.project.models.get(name.as_str()));
    for model in models {
        model.sources().try_for_each(|it| workspace.targets.of(model).check_weights(it))?;
    }
    Ok(())
}

/// Fails when a model would be tried out that turns away whoever asks from here.
fn check_keys(workspace: &Workspace, plan: &Plan) -> Result<(), NoKey> {
    let runs = |step: &&PlannedStep| matches!(step.action, Action::Run | Action::Pending);
    for step in plan.steps.iter().filter(runs) {
        let name = step.id.name();
        let Some(model) = workspace.project.models.get(name) else { continue };
        if step.engine.is_some_and(|engine| engine.asks) {
            Credentials::of_environment(name, workspace.targets.of(model).headers(model))?;
        }
    }
    Ok(())
}

/// Fails where an image would be built, and could then not be pushed.
async fn check_pushes(workspace: &Workspace, plan: &Plan) -> Result<(), Report> {
    let pushed = plan
        .steps
        .iter()
        .filter(|step| step.kind.pushes() && matches!(step.action, Action::Run | Action::Pending));
    for image in pushed.filter_map(|step| step.id.name().parse::<ImageName>().ok()) {
        workspace.registries.may_push(&image).await?;
    }
    Ok(())
}
