//! `goatbuild plan`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::{Exit, Global, Selection, out_file, reach, saved, session};
use crate::locking::Renew;
use crate::plan::saved::SavedPlan;
use crate::plan::{Action, Plan, PlannedStep, ReasonKind};
use crate::spec::EnvironmentName;
use crate::step::StepKind;
use crate::targets::deploy_id;
use crate::ui;
use crate::workspace::Workspace;

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

/// Why a plan is refused.
#[derive(Debug, Error, Diagnostic)]
pub(crate) enum Refused {
    /// Somebody else's things are in the way.
    #[error("{} in the way: {}", if steps.len() == 1 { "somebody else's thing is" } else { "somebody else's things are" }, steps.join("; "))]
    #[diagnostic(
        code(goatbuild::plan::conflict),
        help(
            "remove it or rename the alias; a single entry in the project's own file is taken over with `--adopt MODEL`. Nothing was changed"
        )
    )]
    Conflict { steps: Vec<String> },
    /// Nothing but deployments of somebody else are in the way.
    #[error("somebody else's deployment is in the way: {}", steps.join("; "))]
    #[diagnostic(
        code(goatbuild::plan::conflict),
        help(
            "`goatbuild apply --adopt MODEL` deploys over it, without stopping it first; another `app-prefix` or model name leaves it alone. Nothing was changed"
        )
    )]
    Deployed { steps: Vec<String> },
    /// Nothing but things of this project's other environments are in the way.
    #[error("another environment of this project is in the way: {}", steps.join("; "))]
    #[diagnostic(
        code(goatbuild::plan::conflict),
        help(
            "give environment {environment} a gateway file of its own, `[environment.{environment}.gateway.litellm] config = \"FILE\"`, or other aliases, `[environment.{environment}.gateway] alias-suffix = \"-{environment}-local\"`. Nothing was changed"
        )
    )]
    Environments { steps: Vec<String>, environment: String },
    /// Something could not be looked at.
    #[error("could not be looked at: {}", steps.join(", "))]
    #[diagnostic(code(goatbuild::plan::unobserved))]
    Unobserved {
        steps: Vec<String>,
        #[help]
        help: String,
    },
}

pub(crate) async fn run(global: &Global, arguments: &PlanArgs) -> Result<Exit, Report> {
    if let Some(path) = &arguments.out {
        out_file::may_write(path, "saved plan", SavedPlan::begins)?;
    }
    let part = session::open_part(global, &arguments.selection.models)?;
    part.check(&arguments.selection)?;
    let workspace = part.workspace;
    let planned = session::plan(&workspace, global, &arguments.selection, Renew::Nothing).await?;
    let plan = &planned.plan;
    session::tell_moves(&workspace);
    if !planned.wishes.no_refresh {
        session::tell_place(&workspace, &planned).await;
    }
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
        let unobserved = plan.steps.iter().filter(|step| !step.observed);
        let mut steps: Vec<String> = unobserved.map(|step| step.id.to_string()).collect();
        let absent = reach::unseen_absent(&workspace, &arguments.selection);
        steps.extend(absent.iter().map(|it| deploy_id(&it.model).to_string()));
        if !steps.is_empty() {
            let mut reasons = plan.steps.iter().flat_map(|step| &step.reasons);
            let reason = reasons.find(|reason| reason.kind == ReasonKind::Unobserved);
            let why = reason.and_then(|reason| reason.field.as_deref());
            let help = match why.or(absent.first().map(|it| it.help.as_str())) {
                Some(why) => format!("{why}; or plan without --require-observed"),
                None => "plan without --no-refresh, or without --require-observed".to_owned(),
            };
            return Err(Refused::Unobserved { steps, help }.into());
        }
    }
    if let Some(path) = &arguments.out {
        refuse_conflicts(&workspace, plan)?;
        let kept = saved::write(&workspace, &planned, &arguments.selection, path)?;
        ui::note_saved(&global.command(&format!("apply {}", path.display())), &kept);
    }
    let refused = refuse_conflicts(&workspace, plan);
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

/// Refuses to apply where something could not be looked at: what runs has to know what it replaces.
pub(crate) fn refuse_unobserved(plan: &Plan) -> Result<(), Refused> {
    let unobserved = |step: &&PlannedStep| {
        step.reasons.iter().any(|reason| reason.kind == ReasonKind::Unobserved)
    };
    let steps: Vec<&PlannedStep> = plan.steps.iter().filter(unobserved).collect();
    let Some(first) = steps.first() else { return Ok(()) };
    let why = first.reasons.iter().find(|reason| reason.kind == ReasonKind::Unobserved);
    let why = why.and_then(|reason| reason.field.clone()).unwrap_or_default();
    let help = format!("{why}. Nothing was changed");
    Err(Refused::Unobserved { steps: steps.iter().map(|it| it.id.to_string()).collect(), help })
}

/// Refuses a plan with conflicts.
pub(crate) fn refuse_conflicts(workspace: &Workspace, plan: &Plan) -> Result<(), Refused> {
    let conflicts = plan.steps.iter().filter(|step| step.action == Action::Conflict);
    let told = |step: &PlannedStep| {
        let owner = step.reasons.iter().find_map(|reason| reason.field.as_deref());
        format!("{} ({})", step.id, owner.unwrap_or("unknown"))
    };
    let steps: Vec<String> = conflicts.clone().map(told).collect();
    let ours = |step: &PlannedStep| {
        step.reasons.iter().any(|reason| reason.kind == ReasonKind::OtherEnvironment)
    };
    if steps.is_empty() {
        Ok(())
    } else if conflicts.clone().all(ours) {
        let environment = workspace.project.environment.as_ref();
        let environment = environment.map_or("NAME", EnvironmentName::as_str).to_owned();
        Err(Refused::Environments { steps, environment })
    } else if conflicts.into_iter().all(|step| step.id.is(StepKind::Deploy)) {
        Err(Refused::Deployed { steps })
    } else {
        Err(Refused::Conflict { steps })
    }
}
