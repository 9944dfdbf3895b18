//! What steps that are going to run lack, as far as that shows before any of them does.

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::based::ruled_out;
use super::build::place;
use crate::lock::hub::Access;
use crate::openai::{Credentials, NoKey};
use crate::plan::{Action, Plan, PlannedStep};
use crate::spec::{ImageName, Model};
use crate::step::{StepError, StepKind, Subject};
use crate::targets::{Deed, Lack};
use crate::workspace::Workspace;

/// Fails when a step would run that can only fail.
pub async fn check(workspace: &Workspace, plan: &Plan) -> Result<(), Report> {
    check_weights(workspace, plan)?;
    if let Some((_, Lack { what, help })) = lacks(workspace, plan).into_iter().next() {
        return Err(Lacking { what, help }.into());
    }
    check_keys(workspace, plan)?;
    check_pushes(workspace, plan).await
}

/// Something that a step needs at its target is not there.
#[derive(Debug, Error, Diagnostic)]
#[error("{what}")]
#[diagnostic(code(goatbuild::target::lacks))]
struct Lacking {
    what: String,
    #[help]
    help: String,
}

/// What steps that would run need at their targets and is not there, each once; told as what it keeps from
/// running.
pub fn lacks<'p>(workspace: &Workspace, plan: &'p Plan) -> Vec<(&'p PlannedStep, Lack)> {
    let mut lacks: Vec<(&PlannedStep, Lack)> = Vec::new();
    lacks.extend(place::lacks(workspace, plan));
    for step in &plan.steps {
        let deed = match step.kind {
            _ if !matches!(step.action, Action::Run | Action::Pending) => continue,
            StepKind::Image => {
                lacks.extend(ruled_out(workspace, step).map(|lack| (step, lack)));
                continue;
            }
            StepKind::Weights => Deed::Fetch { access: access(workspace, step) },
            StepKind::Warmup => Deed::Start,
            StepKind::Deploy => Deed::Serve,
            _ => continue,
        };
        let model = step.models.first().and_then(|it| workspace.project.models.get(it.as_str()));
        let Some(model) = model else { continue };
        // What has an address of its own is fetched without anybody's secret.
        if let Subject::Weights(name) = step.id.subject()
            && model.engine.kind.all_files().iter().any(|file| file.name == name)
        {
            continue;
        }
        let takes = workspace.project.takes(model);
        for lack in workspace.targets.of(model).lacks(deed, model, takes) {
            if !lacks.iter().any(|(_, told)| *told == lack) {
                lacks.push((step, lack));
            }
        }
    }
    let told = |(step, Lack { what, help }): (&'p PlannedStep, Lack)| {
        (step, Lack { what: format!("{} can't run: {what}", step.id), help })
    };
    lacks.into_iter().map(told).collect()
}

/// Who may have the weights of a step, as far as the lock says.
fn access(workspace: &Workspace, step: &PlannedStep) -> Option<Access> {
    let repository = step.id.name().split('@').next().unwrap_or_default();
    workspace.lock.read(|lock| lock.access(repository))
}

/// What people should know of models that would be served anew, each once.
pub fn doubts(workspace: &Workspace, plan: &Plan) -> Vec<(String, Lack)> {
    let mut doubts: Vec<(String, Lack)> = Vec::new();
    let models = &workspace.project.models;
    for step in &plan.steps {
        let runs = matches!(step.action, Action::Run | Action::Pending);
        let model = step.models.first().and_then(|name| models.get(name.as_str()));
        let Some(model) = model.filter(|_| runs && step.kind == StepKind::Deploy) else { continue };
        let there = models.values().filter(|it| it.target == model.target);
        let beside: Vec<&Model> = there.map(|model| &**model).collect();
        for doubt in workspace.targets.of(model).doubts(model, &beside) {
            if !doubts.iter().any(|(_, told)| *told == doubt) {
                doubts.push((model.name.to_string(), doubt));
            }
        }
    }
    doubts
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
        // Here, what it lacks is told with the rest.
        if !model.target.is_here() && step.engine.is_some_and(|engine| engine.asks) {
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
