//! `goatbuild plan`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global, Selection, out_file};
use crate::ops::{consent, open, plan, preflight, saved};
use crate::plan::saved::SavedPlan;
use crate::spec::EnvironmentName;
use crate::ui;

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    selection: Selection,
    /// Save the plan, so that `goatbuild apply FILE` runs exactly this
    #[arg(long = "out", short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
    /// How to print the plan; markdown is for a pull request
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Print the plan as one JSON object: short for `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Exit with 2 when something would run or be removed
    #[arg(long)]
    detailed_exitcode: bool,
    /// Fail when something could not be looked at
    #[arg(long)]
    require_observed: bool,
    /// List every step, the fresh ones too
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Markdown,
}

impl PlanArgs {
    /// Whether programs read what it prints.
    pub(crate) fn is_json(&self) -> bool {
        self.json || self.format == Format::Json
    }
}

pub(crate) async fn run(global: &Global, arguments: &PlanArgs) -> Result<Exit, Report> {
    if let Some(path) = &arguments.out {
        out_file::may_write(path, "saved plan", SavedPlan::begins)?;
    }
    let (site, terminal) = (global.site()?, Terminal::default());
    let request = arguments.selection.request();
    let workspace = open::asked(&site, &terminal, &request)?;
    let options = plan::settling(&workspace, &request);
    let planned = plan::plan(&workspace, &terminal, &request, options).await?;
    let plan = &planned.plan;
    consent::foretell(&workspace, &terminal, plan, &request).await;
    match arguments.format {
        _ if arguments.is_json() => ui::print_line(&plan.to_json()),
        Format::Markdown => {
            let project = &workspace.project;
            let environment = project.environment.as_ref().map(EnvironmentName::as_str);
            ui::print_markdown(plan, project.id.as_str(), environment);
        }
        _ => ui::print_plan(plan, arguments.verbose),
    }
    if arguments.require_observed {
        preflight::require_observed(&workspace, plan, &request)?;
    }
    let refused = preflight::refuse_conflicts(&workspace, plan);
    if let Some(path) = &arguments.out {
        let kept = saved::write(&workspace, &planned, &request, path)?;
        ui::note_saved(&site.command(&format!("apply {}", path.display())), &kept);
    }
    if let Err(refused) = &refused {
        ui::note(&format!("`goatbuild apply` refuses this plan: {refused}"));
    }
    let summary = plan.summary();
    let changes = summary.run + summary.pending + summary.remove > 0;
    // The process is about to end: taking a large plan apart piece by piece would only cost time.
    // SQLite has nothing to write back.
    std::mem::forget((workspace, planned));
    Ok(match arguments.detailed_exitcode {
        true if changes => Exit::Changes,
        true if refused.is_err() => Exit::Refused,
        _ => Exit::Done,
    })
}
