//! `goatbuild destroy`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::{Exit, Global, completions, consent, session};
use crate::gateway::gateway_id;
use crate::step::{Observation, StepId};
use crate::targets::deploy_id;
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct DestroyArgs {
    /// The model; its spec need not exist any more
    #[arg(add = ArgValueCandidates::new(completions::models))]
    model: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Nobody can tell what would be destroyed.
#[derive(Debug, Error, Diagnostic)]
#[error("{model} can't be destroyed: {why}")]
#[diagnostic(
    code(goatbuild::destroy::unobserved),
    help("nothing was changed; stop it with its target's own tools, and remove its spec")
)]
struct Unobserved {
    model: String,
    why: String,
}

pub(crate) async fn run(global: &Global, arguments: &DestroyArgs) -> Result<Exit, Report> {
    let (workspace, readable) = session::open_anyway(global)?;
    let _lock = session::lock(&workspace, global, "destroy").await?;
    workspace.look().await?;
    let [present, absent] = [&workspace.project.models, &workspace.project.absent];
    let name = arguments.model.as_str();
    if let Some(model) = present.get(name).or_else(|| absent.get(name))
        && let Observation::Unobserved(Some(why)) =
            workspace.target(model).observe_deployment(model.name.as_str())
    {
        return Err(Unobserved { model: model.name.to_string(), why }.into());
    }
    let model = arguments.model.as_str();
    let live: Vec<_> = workspace
        .targets()
        .iter()
        .flat_map(|target| target.live())
        .filter(|live| live.model == model)
        .collect();
    let wired = workspace.gateway.as_ref().is_some_and(|gateway| gateway.has(model));
    if live.is_empty() && !wired {
        if readable {
            session::known(&workspace, model)?;
        }
        ui::note(&format!("{model} is not deployed: nothing to destroy"));
        return Ok(Exit::Done);
    }
    for live in &live {
        ui::note(&format!("{model}: {} at {}", live.state, live.url));
    }
    let question = format!("stop {model} and remove its gateway entry?");
    if !arguments.yes && !consent::confirm(&format!("{model} would be stopped"), &question)? {
        ui::note("nothing was changed");
        return Ok(Exit::Done);
    }
    if let Some(gateway) = &workspace.gateway {
        if gateway.remove(model)? {
            ui::note(&format!("{model}: entry removed from {}", gateway.name()));
        }
        if let Some(command) = gateway.reload().await? {
            ui::note(&format!("ran {command}"));
        }
    }
    for target in workspace.targets() {
        target.remove(model).await?;
    }
    let smoke = StepId::new("smoke", model);
    for step in [gateway_id(model), deploy_id(model), smoke] {
        workspace.store.forget(&step)?;
    }
    if !live.is_empty() {
        ui::note(&format!("{model}: stopped; image and weights are kept"));
    }
    Ok(Exit::Done)
}
