//! `goatbuild apply`.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::session::Planned;
use super::{Exit, Global, Selection, plan, session};
use crate::debian::DebianError;
use crate::exec::{self, Executor, Interrupt};
use crate::fingerprint::Key;
use crate::lock::Built;
use crate::locking::Renew;
use crate::plan::Action;
use crate::python::PythonError;
use crate::step::{Facts, StepId};
use crate::ui::{self, Mode};
use crate::workspace::SharedWorkspace;

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    selection: Selection,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
    /// Also remove deployments that no spec wants
    #[arg(long)]
    prune: bool,
    /// Ask nothing; the local target never asks
    #[arg(long, short)]
    yes: bool,
    /// List every step of the plan, the fresh ones too
    #[arg(long, short)]
    verbose: bool,
}

/// What a build made twice and differently.
#[derive(Debug, Error, Diagnostic)]
#[error("{step} was built again and differs: {fact} was {locked} and is {built}")]
#[diagnostic(
    code(goatbuild::build::not_reproducible),
    help(
        "the same inputs must give the same bytes: this is a bug in goatbuild, or a damaged cache. The lock was left as it is"
    )
)]
struct NotReproducible {
    step: StepId,
    fact: String,
    locked: String,
    built: String,
}

pub(crate) async fn run(
    global: &Global,
    arguments: &ApplyArgs,
    interrupt: &Interrupt,
) -> Result<Exit, Report> {
    let began = Instant::now();
    let mode = if arguments.json { Mode::Json } else { Mode::for_terminal() };
    // Everything is read only once the lock is held: a waiter plans what is true now.
    let waiting = session::open(global)?;
    let _lock = session::lock(&waiting, global, "apply").await?;
    drop(waiting);
    let workspace = session::open(global)?;
    for target in workspace.targets() {
        target.check().await?;
    }
    let mut renew = Renew::Nothing;
    let locked = session::is_locked(global);
    let (planned, report) = loop {
        let planned =
            session::plan(&workspace, global, &arguments.selection, renew.clone()).await?;
        if mode != Mode::Json {
            ui::print_plan_before_apply(&planned.plan, arguments.verbose);
        }
        plan::refuse_conflicts(&planned.plan)?;
        if planned.wishes.no_refresh {
            // The plan trusted the rows; what runs has to know what it replaces.
            workspace.look().await?;
        }
        let report = execute(&workspace, &planned, mode, interrupt).await?;
        keep_built(&workspace, &planned, &report, locked)?;
        let gone = report.failed.iter().find_map(withdrawn);
        match gone {
            Some((again, word)) if !locked && renew == Renew::Nothing && !interrupt.asked() => {
                ui::note(&word);
                renew = again;
            }
            _ => break (planned, report),
        }
    };
    let removed = remove(&workspace, &planned, arguments.prune, &report).await?;
    let reloaded = match &workspace.gateway {
        Some(gateway) => gateway.reload().await?,
        None => None,
    };
    let summary = ui::Applied {
        workspace: &workspace,
        plan: &planned.plan,
        report: &report,
        removed: &removed,
        reloaded: reloaded.as_deref(),
        took: began.elapsed(),
    };
    summary.print(mode);
    Ok(if report.interrupted {
        Exit::Interrupted
    } else if report.failed.is_empty() && report.blocked.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

async fn execute(
    workspace: &SharedWorkspace,
    planned: &Planned,
    mode: Mode,
    interrupt: &Interrupt,
) -> Result<exec::Report, Report> {
    let memory = session::remember(workspace)?;
    let watcher = Arc::new(ui::Watcher::new(mode));
    let told = Arc::clone(&watcher);
    let run = workspace.store.begin_run("apply")?;
    let executor = Executor {
        graph: &planned.graph,
        plan: &planned.plan,
        memory: &memory,
        wishes: &planned.wishes,
        store: &workspace.store,
        run,
        events: Arc::new(move |event| told.tell(&event)),
        interrupt,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let report = executor.apply().await?;
    watcher.finish();
    let outcome = match (report.interrupted, report.failed.is_empty()) {
        (true, _) => "interrupted",
        (false, true) => "ok",
        (false, false) => "failed",
    };
    workspace.store.end_run(run, outcome)?;
    Ok(report)
}

/// Puts what was built into the lock, and refuses a rebuild that differs from it.
fn keep_built(
    workspace: &SharedWorkspace,
    planned: &Planned,
    report: &exec::Report,
    locked: bool,
) -> Result<(), Report> {
    let known = |id: &StepId, key: &Key| {
        workspace.lock(|lock| lock.built.get(id).filter(|built| built.key == *key).cloned())
    };
    for (id, key, facts) in &report.built {
        let Some(built) = known(id, key) else { continue };
        let differs = |name: &&String| built.facts.get(*name) != facts.get(*name);
        if let Some(fact) = facts.keys().find(differs) {
            let text = |facts: &Facts| facts.get(fact).cloned().unwrap_or_default();
            return Err(NotReproducible {
                step: id.clone(),
                fact: fact.clone(),
                locked: text(&built.facts),
                built: text(facts),
            }
            .into());
        }
    }
    if locked {
        return Ok(());
    }
    let pure = |id: &StepId| ["base", "wheels", "image"].contains(&id.kind());
    let graph = &planned.graph;
    let whole = planned.plan.steps.iter().any(|step| step.kind == "image");
    workspace.change_lock(|lock| {
        for (id, key, facts) in &report.built {
            lock.built.insert(id.clone(), Built { key: *key, facts: facts.clone() });
        }
        // What cannot be asked for any more; a part of the project says nothing of the rest.
        if whole && graph.len() == planned.plan.steps.len() {
            let images = &workspace.project.images;
            lock.built.retain(|id, _| {
                let image = id.name().split('/').next().unwrap_or_default();
                pure(id) && images.contains_key(image)
            });
        }
    })
}

/// What to lock anew when a step failed because a locked package was withdrawn.
fn withdrawn(failed: &exec::FailedStep) -> Option<(Renew, String)> {
    let package = match failed.error.downcast_ref::<DebianError>() {
        Some(
            DebianError::Gone { package, .. }
            | DebianError::Unavailable { package, superseded: true, .. },
        ) => package.clone(),
        _ => match failed.error.downcast_ref::<PythonError>() {
            Some(PythonError::Gone { package, .. }) => package.clone(),
            _ => return None,
        },
    };
    let image = failed.id.name().split('/').next().unwrap_or_default().to_owned();
    let word = format!("{}; locking image {image} anew, and planning again", failed.error);
    Some((Renew::Gone { image, package }, word))
}

/// Takes away what is ours and no spec wants: entries always, deployments when asked to.
async fn remove(
    workspace: &SharedWorkspace,
    planned: &Planned,
    prune: bool,
    report: &exec::Report,
) -> Result<Vec<StepId>, Report> {
    let mut removed = Vec::new();
    if report.interrupted {
        return Ok(removed);
    }
    for step in planned.plan.steps.iter().filter(|step| step.action == Action::Remove) {
        let Some(model) = step.models.first() else { continue };
        match (&workspace.gateway, step.kind.as_str()) {
            (Some(gateway), "gateway") => {
                gateway.remove(model)?;
            }
            (_, "deploy") if prune => {
                for target in workspace.targets() {
                    target.remove(model).await?;
                }
            }
            _ => continue,
        }
        workspace.store.forget(&step.id)?;
        removed.push(step.id.clone());
    }
    Ok(removed)
}
