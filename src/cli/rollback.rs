//! `goatbuild rollback` and `goatbuild release`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::{Exit, Global, apply, completions, consent, part, session};
use crate::event::Reporter;
use crate::spec::{Auth, TargetKind};
use crate::step::StepId;
use crate::steps::smoke_key;
use crate::targets::deploy_id;
use crate::ui;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The model, served on Modal
    #[arg(add = ArgValueCandidates::new(completions::models))]
    model: String,
    /// Modal's number of the version, such as `v3`; the one before what stands when not given
    #[arg(value_parser = version)]
    version: Option<u32>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The model
    #[arg(add = ArgValueCandidates::new(completions::models))]
    model: String,
}

/// What is served here has no versions.
#[derive(Debug, Error, Diagnostic)]
#[error("{model} is served on this machine, which keeps no earlier versions")]
#[diagnostic(
    code(goatbuild::usage::not_on_modal),
    help(
        "undo the edit in its spec, and `goatbuild apply`: what was built before is not built again"
    )
)]
struct Local {
    model: String,
}

fn version(text: &str) -> Result<u32, String> {
    text.strip_prefix('v').unwrap_or(text).parse().map_err(|_| "expected one like v3".to_owned())
}

pub(crate) async fn roll_back(global: &Global, arguments: &RollbackArgs) -> Result<Exit, Report> {
    let (workspace, _) = part::open_anyway(global)?;
    let model = arguments.model.as_str();
    check(&workspace, model)?;
    workspace.targets.named(TargetKind::Modal).check(&[format!("rollback of {model}")]).await?;
    let _lock = session::lock(&workspace, global, "rollback").await?;
    let (lease, _) = apply::lease(workspace.targets.modal(), global, "rollback").await?;
    let ended = go_back(&workspace, global, arguments).await;
    let freed = lease.end().await;
    let exit = ended?;
    freed?;
    Ok(exit)
}

async fn go_back(
    workspace: &Workspace,
    global: &Global,
    arguments: &RollbackArgs,
) -> Result<Exit, Report> {
    let model = arguments.model.as_str();
    workspace.look().await?;
    let target = workspace.targets.modal();
    let earlier = target.earlier(model, arguments.version)?;
    let other = match workspace.project.models.get(model) {
        Some(spec) => target.other_auth(spec, &earlier, &Reporter::silent()).await?,
        // What its spec wants can't be told.
        None => None,
    };
    if let Some((was, wanted)) = other {
        ui::note(&other_auth(model, earlier.version, was, wanted));
    }
    let what = format!("{model} would go back to v{}, {}", earlier.version, earlier.detail);
    let question = format!("take {model} back to v{}, {}?", earlier.version, earlier.detail);
    if !arguments.yes && !consent::confirm(&what, &question)? {
        ui::note("nothing was changed");
        return Ok(Exit::Done);
    }
    let (reporter, finish) = ui::preparing();
    let stands = target.roll_back(model, &earlier, &smoke_key, &reporter).await;
    finish();
    let stands = stands?;
    // What the rows say is about another version.
    for step in [deploy_id(model), StepId::new("smoke", model)] {
        workspace.store.forget(&step)?;
    }
    let stands = if stands == earlier.version {
        format!("v{stands} stands")
    } else {
        format!("v{} stands again, as v{stands}", earlier.version)
    };
    if other.is_some() && workspace.gateway.is_some() {
        let apply = global.command(&format!("apply {model}"));
        ui::note(&format!(
            "{model}: `{apply}` has the gateway ask as v{} wants it",
            earlier.version
        ));
    }
    let release = global.command(&format!("release {model}"));
    ui::note(&format!("{model}: {stands}; it is held: no apply changes it until `{release}`"));
    Ok(Exit::Done)
}

/// Warns that what is gone back to is open or protected in another way than its spec says.
fn other_auth(model: &str, version: u32, was: Auth, wanted: Auth) -> String {
    let who = match was {
        Auth::Proxy => "it turns away who has no proxy token",
        Auth::ApiKey => "it turns away who has no key",
        Auth::Open => "it is open to anyone who knows its URL",
    };
    format!(
        "{model}: v{version} was deployed with `auth = \"{was}\"`, and its spec says \
         \"{wanted}\": {who}"
    )
}

pub(crate) async fn release(global: &Global, arguments: &ReleaseArgs) -> Result<Exit, Report> {
    let (workspace, _) = part::open_anyway(global)?;
    let model = arguments.model.as_str();
    check(&workspace, model)?;
    workspace.targets.named(TargetKind::Modal).check(&[format!("hold of {model}")]).await?;
    let _lock = session::lock(&workspace, global, "release").await?;
    let target = workspace.targets.modal();
    let (lease, _) = apply::lease(target, global, "release").await?;
    let released = async {
        workspace.look().await?;
        target.release(model).await
    };
    let released = released.await;
    let freed = lease.end().await;
    let held = released?;
    freed?;
    match held {
        Some(held) => ui::note(&format!(
            "{model} is not held at {held} any more: `{}` shows what its spec wants",
            global.command(&format!("plan {model}"))
        )),
        None => ui::note(&format!("{model} is not held: nothing to release")),
    }
    Ok(Exit::Done)
}

fn check(workspace: &Workspace, model: &str) -> Result<(), Report> {
    let project = &workspace.project;
    // Its spec may have mistakes; Modal tells what there is of it.
    if project.left_out.models.contains(model) && workspace.targets.modal_if_there().is_some() {
        return Ok(());
    }
    session::model(workspace, model)?;
    match project.models[model].target {
        TargetKind::Modal => Ok(()),
        TargetKind::Local => Err(Local { model: model.to_owned() }.into()),
    }
}
