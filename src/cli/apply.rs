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
    help("the same inputs must give the same bytes: this is a bug in goatbuild, or a damaged cache. The lock was left as it is")
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
    loop {
        let planned = session::plan(&workspace, global, &arguments.selection, renew).await?;
        if mode != Mode::Json {
            ui::print_plan_before_apply(&planned.plan, arguments.verbose);
        }
        plan::refuse_conflicts(&planned.plan)?;
        let report = execute(&workspace, &planned, mode, interrupt).await?;
        keep_built(&workspace, &planned, &report, session::is_locked(global))?;
        let gone = report.failed.iter().find_map(|failed| withdrawn(&failed.id, &failed.error));
        if let Some((again, word)) = gone
            && !session::is_locked(global)
            && renew_is_new(&again, &arguments.selection)
            && !interrupt.asked()
        {
            ui::note(&word);
            renew = again;
            if ALREADY.swap(true, std::sync::atomic::Ordering::SeqCst) {
                return finish(&workspace, arguments, &planned, &report, mode, began).await;
            }
            continue;
        }
        return finish(&workspace, arguments, &planned, &report, mode, began).await;
    }
}
