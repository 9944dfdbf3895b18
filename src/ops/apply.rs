//! An apply from beginning to end: open, check, lock, plan, agree, lease, execute, put away.

use std::time::{Duration, Instant};

use miette::Report;

use super::agreed::Agreed;
use super::consent;
use super::execute::{self, Ended, Ran, Way};
use super::heal::Healing;
use super::open::{self, Alone, Site};
use super::{Frontend, preflight};
use crate::exec::{self, Interrupt};
use crate::locking::Renew;
use crate::plan::Plan;
use crate::plan::saved::Request;
use crate::served::Endpoint;
use crate::step::StepId;
use crate::targets::{Lease, LeaseBroken};

/// What is asked of an apply.
pub struct Asked {
    /// What it covers; or the name of a saved plan alone, which says that itself.
    pub request: Request,
    /// Whether a look at the world was asked for in so many words: a saved plan says that, too.
    pub refresh: bool,
    /// What somebody agreed to.
    pub agreed: Agreed,
    /// Whether what one change reaches in turn is reached even after one that failed.
    pub keep_going: bool,
}

/// What an apply came to.
pub struct Applied {
    /// What was planned.
    pub plan: Plan,
    /// What came of it.
    pub report: exec::Report,
    /// What answers now.
    pub endpoints: Vec<Endpoint>,
    /// Resources that were taken away.
    pub removed: Vec<StepId>,
    /// The gateway's reload command, if it ran. The steps did, even where it failed.
    pub reloaded: Result<Option<String>, Report>,
    /// Whether it had the targets to itself until its end.
    pub undisturbed: Result<(), Report>,
    /// How long it all took.
    pub took: Duration,
}

/// Plans, asks, and runs what is stale.
pub async fn apply(
    site: &Site,
    frontend: &dyn Frontend,
    asked: Asked,
    interrupt: &Interrupt,
) -> Result<Applied, Report> {
    let start = Instant::now();
    let Asked { request, refresh, agreed, keep_going } = asked;
    let begun = open::alone(site, frontend, request, refresh).await?;
    let mut lease = None;
    let ended = run(&begun, site, frontend, (agreed, keep_going), interrupt, &mut lease).await;
    begun.tell_removed(frontend);
    // Nothing is changed at a target any more.
    let freed = match lease {
        Some(lease) => lease.end().await,
        None => Ok(()),
    };
    let undisturbed = match freed {
        Err(error) if error.downcast_ref::<LeaseBroken>().is_some() => Err(error),
        Err(error) => {
            let why = format!("it can't be given back: {error}");
            frontend.note(&format!("the lease is free in two minutes: {why}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    };
    if let (Err(error), Err(broken)) = (&ended, &undisturbed)
        && error.downcast_ref::<LeaseBroken>().is_none()
    {
        // It fails with what came first.
        frontend.note(&broken.to_string());
    }
    let (plan, ran) = ended?;
    // Whoever interrupts the steps is told how they ended; a reload command is just dropped.
    let Ran { report, removed, endpoints, attended: _attended } = ran;
    let reloaded = match &begun.workspace.gateway {
        Some(gateway) if !report.interrupted && undisturbed.is_ok() => gateway.reload().await,
        _ => Ok(None),
    };
    let took = start.elapsed();
    Ok(Applied { plan, report, endpoints, removed, reloaded, undisturbed, took })
}

/// Plans until a plan can be carried out, and carries it out.
async fn run(
    begun: &Alone,
    site: &Site,
    frontend: &dyn Frontend,
    (agreed, keep_going): (Agreed, bool),
    interrupt: &Interrupt,
    lease: &mut Option<Box<dyn Lease>>,
) -> Result<(Plan, Ran), Report> {
    let Alone { workspace, covered, .. } = begun;
    // A saved plan was agreed to when it was applied, and is of locks that stand.
    let is_saved = covered.saved.is_some();
    let mut agreed = Agreed { all: agreed.all || is_saved, ..agreed };
    let may_lock = !workspace.settings.locked && !is_saved;
    let mut renew = Renew::Nothing;
    let mut healing = if is_saved { Healing::TakeAway } else { Healing::MakeAgain };
    loop {
        let planned = covered.plan(workspace, frontend, may_lock, renew.clone()).await?;
        let (plan, request) = (&planned.plan, &covered.request);
        frontend.planned(plan);
        if !preflight::clear(workspace, frontend, plan, request, may_lock).await? {
            continue;
        }
        let bounds = consent::ask(workspace, frontend, &planned, agreed).await?;
        if lease.is_none()
            && let Some(leases) = workspace.targets.leases_for(&workspace.project, plan)
        {
            let waiting = |holder: &str| frontend.waits_for(holder);
            let run = site.ci_run.clone();
            let (taken, waited) = leases.take("apply", run, site.patience, &waiting).await?;
            *lease = Some(taken);
            if waited {
                // Whoever had it may have done what was planned, or something else.
                continue;
            }
            // What is kept there may have changed while nobody answered.
            workspace.look().await?;
        }
        let may_renew = may_lock && renew == Renew::Nothing;
        let way = Way { may_renew, healing, keep_going };
        match execute::carry_out(workspace, frontend, &planned, interrupt, way).await? {
            Ended::PlanAgain(anew, begun) => {
                renew = anew.unwrap_or(renew);
                agreed = agreed.after(&bounds, &begun);
            }
            Ended::Healed(begun) => {
                healing = Healing::Nothing;
                agreed = agreed.after(&bounds, &begun);
            }
            Ended::Ran(ran) => return Ok((planned.plan, *ran)),
        }
    }
}
