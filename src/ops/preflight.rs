//! What keeps a plan from being carried out to its end, found before any of it is; and what it leaves
//! open, locked.

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::{Frontend, Work};
use crate::locking::{self, LockOptions, Scope};
use crate::plan::saved::Request;
use crate::plan::{Action, Plan, PlannedStep, ReasonKind};
use crate::spec::EnvironmentName;
use crate::step::StepId;
use crate::steps;
use crate::workspace::{SharedWorkspace, Workspace};

/// Why a plan is refused.
#[derive(Debug, Error, Diagnostic)]
enum Refused {
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
    /// Something of somebody else can't be taken over yet.
    #[error("not taken over yet: {}", steps.join("; "))]
    #[diagnostic(
        code(goatbuild::plan::before_adoption),
        help("then `goatbuild apply --adopt MODEL` deploys over it. Nothing was changed")
    )]
    BeforeAdoption { steps: Vec<String> },
    /// Nothing but things of this project's other environments are in the way.
    #[error("another environment of this project is in the way: {}", steps.join("; "))]
    #[diagnostic(code(goatbuild::plan::conflict))]
    Environments {
        steps: Vec<String>,
        #[help]
        help: String,
    },
    /// Something could not be looked at.
    #[error("could not be looked at: {}", steps.join(", "))]
    #[diagnostic(code(goatbuild::plan::unobserved))]
    Unobserved {
        steps: Vec<String>,
        #[help]
        help: String,
    },
}

/// Refuses a plan that could not be carried out to its end, and locks what it left open. Says whether
/// it stands as it is.
pub(super) async fn clear(
    workspace: &SharedWorkspace,
    frontend: &dyn Frontend,
    plan: &Plan,
    request: &Request,
    may_lock: bool,
) -> Result<bool, Report> {
    refuse(workspace, frontend, plan, request).await?;
    let mut reasons = plan.steps.iter().flat_map(|step| &step.reasons);
    if !reasons.any(|reason| reason.kind == ReasonKind::Unlocked) {
        return Ok(true);
    }
    let scope = Scope::of_request(workspace, request);
    let options = LockOptions { locked: !may_lock, scope, ..LockOptions::default() };
    let settled = frontend.showing(Work::Prepares, async |reporter| {
        locking::settle(workspace, &options, reporter).await
    });
    frontend.tell_changes(&settled.await?);
    Ok(false)
}

/// Refuses a plan that could not be carried out to its end.
pub(super) async fn refuse(
    workspace: &Workspace,
    frontend: &dyn Frontend,
    plan: &Plan,
    request: &Request,
) -> Result<(), Report> {
    if plan.is_empty() {
        // Nothing to do is no news, unless nobody knows that.
        for warning in workspace.unseen_absent(request) {
            frontend.note(&format!("{}: {}: {}", warning.model, warning.message, warning.help));
        }
    }
    refuse_conflicts(workspace, plan)?;
    refuse_unobserved(plan)?;
    steps::check(workspace, plan).await
}

/// Refuses a plan where something was not looked at, for whoever requires that.
pub fn require_observed(
    workspace: &Workspace,
    plan: &Plan,
    request: &Request,
) -> Result<(), Report> {
    let unobserved = plan.steps.iter().filter(|step| !step.observed);
    let mut steps: Vec<String> = unobserved.map(|step| step.id.to_string()).collect();
    let absent = workspace.unseen_absent(request);
    steps.extend(absent.iter().map(|it| StepId::deploy(&it.model).to_string()));
    if steps.is_empty() {
        return Ok(());
    }
    let mut reasons = plan.steps.iter().flat_map(|step| &step.reasons);
    let reason = reasons.find(|reason| reason.kind == ReasonKind::Unobserved);
    let why = reason.and_then(|reason| reason.field.as_deref());
    let help = match why.or(absent.first().map(|it| it.help.as_str())) {
        Some(why) => format!("{why}; or plan without --require-observed"),
        None => "plan without --no-refresh, or without --require-observed".to_owned(),
    };
    Err(Refused::Unobserved { steps, help }.into())
}

/// Refuses to apply where something could not be looked at: what runs has to know what it replaces.
fn refuse_unobserved(plan: &Plan) -> Result<(), Refused> {
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
pub fn refuse_conflicts(workspace: &Workspace, plan: &Plan) -> Result<(), Report> {
    let conflicts = plan.steps.iter().filter(|step| step.action == Action::Conflict);
    let told = |step: &PlannedStep| {
        let owner = step.reasons.iter().find_map(|reason| reason.field.as_deref());
        format!("{} ({})", step.id, owner.unwrap_or("unknown"))
    };
    let steps: Vec<String> = conflicts.clone().map(told).collect();
    let before = |step: &PlannedStep| {
        let what = step.reasons.iter().find(|reason| reason.kind == ReasonKind::Before)?;
        Some(format!("{}: {}", told(step), what.field.as_deref()?))
    };
    let waiting: Vec<String> = conflicts.clone().filter_map(before).collect();
    let ours = |step: &PlannedStep| {
        step.reasons.iter().any(|reason| reason.kind == ReasonKind::OtherEnvironment)
    };
    if steps.is_empty() {
        Ok(())
    } else if !waiting.is_empty() {
        Err(Refused::BeforeAdoption { steps: waiting }.into())
    } else if conflicts.clone().all(ours) {
        let environment = workspace.project.environment.as_ref();
        let environment = environment.map_or("NAME", EnvironmentName::as_str).to_owned();
        // Entries of one gateway file: deployments tell their environments apart themselves.
        let gateway = workspace.project.gateway.as_ref().map(|gateway| gateway.kind);
        let file = gateway.map(|kind| {
            format!(
                "a gateway file of its own, `[environment.{environment}.gateway.{}] {}`, or ",
                kind.name(),
                kind.example()
            )
        });
        let help = format!(
            "give environment {environment} {}other aliases, `[environment.{environment}.gateway] alias-suffix = \"-{environment}-local\"`. Nothing was changed",
            file.unwrap_or_default()
        );
        Err(Refused::Environments { steps, help }.into())
    } else if conflicts.into_iter().all(|step| step.kind.serves()) {
        Err(Refused::Deployed { steps }.into())
    } else {
        Err(Refused::Conflict { steps }.into())
    }
}
