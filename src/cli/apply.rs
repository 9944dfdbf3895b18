//! `goatbuild apply`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::arguments::dollars;
use super::frontend::Terminal;
use super::{Exit, Global, WishArgs, completions, out_file};
use crate::exec::Interrupt;
use crate::ops::agreed::Agreed;
use crate::ops::apply::{self, Applied, Asked};
use crate::ui::{self, Mode, Trace, TraceError};

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Only these models and what they need, all without any; or one saved plan, exactly as it is.
    /// What is no model's name and ends in `.plan`, holds a `/` or is a file is a plan
    #[arg(value_name = "MODEL|PLAN", add = ArgValueCandidates::new(completions::models))]
    models: Vec<String>,
    #[command(flatten)]
    wishes: WishArgs,
    /// Print one JSON object per event
    #[arg(long)]
    pub(crate) json: bool,
    /// Ask nothing before anything is replaced, stopped, or GPU time is paid for; nothing on this
    /// machine is ever asked about
    #[arg(long, short)]
    yes: bool,
    /// Begin only what can't cost more than this, in US dollars: GPU time, fetches and builds, and a
    /// month of what it newly leaves always on
    #[arg(long, value_name = "USD", value_parser = dollars)]
    max_cost: Option<f64>,
    /// Replace what one change has in common even after one of those failed: each is up, and they go one
    /// after the other, the cheapest first
    #[arg(long)]
    keep_going: bool,
    /// Begin only what newly leaves replicas always on for no more than this a month, in US dollars;
    /// `--max-cost` then is about the apply alone
    #[arg(long, value_name = "USD", value_parser = dollars)]
    max_monthly: Option<f64>,
    /// List every step of the plan, the fresh ones too
    #[arg(long, short)]
    verbose: bool,
    /// Write what ran when, as a Chrome trace
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

pub(crate) async fn run(
    global: &Global,
    arguments: ApplyArgs,
    interrupt: &Interrupt,
) -> Result<Exit, Report> {
    let ApplyArgs { models, wishes, json, yes, max_cost, max_monthly, keep_going, verbose, trace } =
        arguments;
    if let Some(path) = &trace {
        out_file::may_write(path, "trace of an apply", Trace::begins)?;
    }
    let site = global.site()?;
    let trace = trace.as_deref().map(Trace::begin).transpose()?.map(Arc::new);
    let terminal = Terminal { json, verbose, trace: trace.clone() };
    let (refresh, agreed) =
        (wishes.refresh, Agreed { all: yes, max_cost, max_monthly, spent: 0.0 });
    let asked = Asked { request: wishes.request(models), refresh, agreed, keep_going };
    let applied = apply::apply(&site, &terminal, asked, interrupt).await;
    // What was done is told, whatever becomes of its trace.
    let traced = trace.map_or(Ok(()), |trace| end(&trace));
    let exit = report(applied?, Mode::of(json));
    traced?;
    Ok(exit)
}

/// Writes a trace, if the apply came as far as its steps.
fn end(trace: &Trace) -> Result<(), TraceError> {
    if trace.write()? {
        ui::note(&format!("{} opens in https://ui.perfetto.dev", trace.path().display()));
    }
    Ok(())
}

/// Shows what an apply came to.
pub(super) fn report(applied: Applied, mode: Mode) -> Exit {
    let Applied { plan, report, endpoints, removed, reloaded, undisturbed, took } = applied;
    let summary = ui::Applied {
        endpoints: &endpoints,
        plan: &plan,
        report: &report,
        removed: &removed,
        reloaded: reloaded.as_ref().ok().and_then(Option::as_deref),
        took,
    };
    summary.print(mode);
    // The steps ran all the same, and whoever reads the events waits for the last one.
    let errors = [reloaded.err(), undisturbed.err()];
    let mut failed = false;
    for error in errors.iter().flatten() {
        ui::print_error(error);
        failed = true;
    }
    if failed {
        return Exit::Failed;
    }
    if report.interrupted {
        Exit::Interrupted
    } else if report.failed.is_empty() && report.blocked.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    }
}
