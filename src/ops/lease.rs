//! The lease of what changes things at Modal: which commands need it, taking it and giving it back.

use miette::Report;

use super::consent;
use super::frontend::{Frontend, waiting};
use super::open::{self, Site};
use super::plan::Planned;
use crate::plan::Action;
use crate::spec::TargetKind;
use crate::step::At;
use crate::targets::modal::{Lease, Modal};
use crate::workspace::Workspace;

/// Takes the lease for a command; says whether that took waiting.
pub(super) async fn take(
    modal: &Modal,
    site: &Site,
    frontend: &dyn Frontend,
    command: &str,
) -> Result<(Lease, bool), Report> {
    let tell = waiting(frontend);
    modal.take_lease(command, site.ci_run.clone(), site.patience, tell).await
}

/// Takes it when anything at Modal is going to change; says whether that took waiting.
pub(super) async fn of_plan(
    workspace: &Workspace,
    site: &Site,
    frontend: &dyn Frontend,
    planned: &Planned,
) -> Result<Option<(Lease, bool)>, Report> {
    let Some(modal) = workspace.targets.modal_if_there() else { return Ok(None) };
    let at_modal = |name: &String| match workspace.project.models.get(name.as_str()) {
        Some(served) => served.target == TargetKind::Modal,
        None => modal.has(name),
    };
    let changes = planned.plan.steps.iter().any(|step| {
        let runs = matches!(step.action, Action::Run | Action::Pending);
        let removed = step.action == Action::Remove && !planned.plan.keeps(step);
        // What is built here, and the file of a gateway, is under the locks of this machine.
        (runs || removed) && step.at == At::Target && step.models.iter().any(at_modal)
    });
    if !changes || modal.is_unseen() {
        return Ok(None);
    }
    Ok(Some(take(modal, site, frontend, "apply").await?))
}

/// Takes it where something of the model is at Modal; whoever had it may have changed that.
pub(super) async fn of_model(
    workspace: &Workspace,
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
) -> Result<Option<Lease>, Report> {
    let Some(modal) = workspace.modal_of(name).filter(|modal| !modal.is_unseen()) else {
        return Ok(None);
    };
    let (lease, _) = take(modal, site, frontend, "destroy").await?;
    // Somebody may have changed what is kept since it was read: while nobody answered, say.
    workspace.look().await?;
    Ok(Some(lease))
}

/// Gives it back after what it was taken for, and fails for whichever of both failed first.
pub(super) async fn end<T>(lease: Option<Lease>, done: Result<T, Report>) -> Result<T, Report> {
    let freed = match lease {
        Some(lease) => lease.end().await,
        None => Ok(()),
    };
    let done = done?;
    freed?;
    Ok(done)
}

/// Gives it back, if there is one, where what was done is done and told.
pub(super) async fn give_back(frontend: &dyn Frontend, lease: Option<Lease>) {
    if let Some(lease) = lease
        && let Err(error) = lease.end().await
    {
        let why = format!("it can't be given back: {error}");
        frontend.note(&format!("the lease is free in two minutes: {why}"));
    }
}

/// Breaks the lease of another machine, once somebody agrees.
pub async fn break_off(site: &Site, frontend: &dyn Frontend, agreed: bool) -> Result<(), Report> {
    let (workspace, _) = open::anyway(site, frontend)?;
    let Some(modal) = workspace.targets.modal_if_there() else {
        frontend.note(
            "nothing is served on Modal; a lock on this machine is free once its process ends",
        );
        return Ok(());
    };
    let Some(holder) = modal.lease_holder().await? else {
        frontend.note("nobody has the lease");
        return Ok(());
    };
    frontend.note(&format!("the lease is {holder}'s"));
    let what = format!("the lease of {holder} would be broken");
    let question = "break it, though what it does may still go on?";
    if !consent::confirm(frontend, agreed, &what, question)? {
        return Ok(());
    }
    modal.break_lease(&holder).await?;
    frontend.note("broken");
    Ok(())
}
