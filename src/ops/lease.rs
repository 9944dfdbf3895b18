//! The lease of what changes things at a target that machines share: which commands need it, taking
//! it and giving it back.

use miette::Report;

use super::consent;
use super::frontend::{Frontend, waiting};
use super::open::{self, Site};
use super::plan::Planned;
use crate::plan::Action;
use crate::step::At;
use crate::targets::{Lease, Leases, Target};
use crate::workspace::Workspace;

/// The target whose changes need a lease: one at most, since no command takes two.
fn shared(workspace: &Workspace) -> Option<(&dyn Target, &dyn Leases)> {
    let mut shared = workspace.targets.all().filter_map(|it| Some((it, it.leases()?)));
    let (first, second) = (shared.next(), shared.next());
    assert!(second.is_none(), "BUG: two targets have leases, and commands take one");
    first
}

/// Takes the lease for a command; says whether that took waiting.
pub(super) async fn take(
    leases: &dyn Leases,
    site: &Site,
    frontend: &dyn Frontend,
    command: &str,
) -> Result<(Box<dyn Lease>, bool), Report> {
    leases.take(command, site.ci_run.clone(), site.patience, &waiting(frontend)).await
}

/// Takes it when anything at such a target is going to change; says whether that took waiting.
pub(super) async fn of_plan(
    workspace: &Workspace,
    site: &Site,
    frontend: &dyn Frontend,
    planned: &Planned,
) -> Result<Option<(Box<dyn Lease>, bool)>, Report> {
    let Some((target, leases)) = shared(workspace) else { return Ok(None) };
    let is_there = |name: &String| match workspace.project.models.get(name.as_str()) {
        Some(served) => served.target.name() == target.name(),
        None => target.has(name),
    };
    let changes = planned.plan.steps.iter().any(|step| {
        let runs = matches!(step.action, Action::Run | Action::Pending);
        let removed = step.action == Action::Remove && !planned.plan.keeps(step);
        // What is built here, and the file of a gateway, is under the locks of this machine.
        (runs || removed) && step.at == At::Target && step.models.iter().any(is_there)
    });
    if !changes || target.unseen().is_some() {
        return Ok(None);
    }
    Ok(Some(take(leases, site, frontend, "apply").await?))
}

/// Takes it where something of the model is at such a target; whoever had it may have changed that.
pub(super) async fn of_model(
    workspace: &Workspace,
    site: &Site,
    frontend: &dyn Frontend,
    (command, name): (&str, &str),
) -> Result<Option<Box<dyn Lease>>, Report> {
    let mut seen =
        workspace.targets_of(name).into_iter().filter(|target| target.unseen().is_none());
    let Some(leases) = seen.find_map(Target::leases) else { return Ok(None) };
    let (lease, _) = take(leases, site, frontend, command).await?;
    // Somebody may have changed what is kept since it was read: while nobody answered, say.
    workspace.look().await?;
    Ok(Some(lease))
}

/// Gives it back after what it was taken for, and fails for whichever of both failed first.
pub(super) async fn end<T>(
    lease: Option<Box<dyn Lease>>,
    done: Result<T, Report>,
) -> Result<T, Report> {
    let freed = match lease {
        Some(lease) => lease.end().await,
        None => Ok(()),
    };
    let done = done?;
    freed?;
    Ok(done)
}

/// Gives it back, if there is one, where what was done is done and told.
pub(super) async fn give_back(frontend: &dyn Frontend, lease: Option<Box<dyn Lease>>) {
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
    let Some((_, leases)) = shared(&workspace) else {
        let elsewhere = workspace.project.target_types.elsewhere();
        frontend.note(&format!(
            "nothing is served on {elsewhere}; a lock on this machine is free once its process ends",
        ));
        return Ok(());
    };
    let Some(holder) = leases.holder().await? else {
        frontend.note("nobody has the lease");
        return Ok(());
    };
    frontend.note(&format!("the lease is {holder}'s"));
    let what = format!("the lease of {holder} would be broken");
    let question = "break it, though what it does may still go on?";
    if !consent::confirm(frontend, agreed, &what, question)? {
        return Ok(());
    }
    leases.free(&holder).await?;
    frontend.note("broken");
    Ok(())
}
