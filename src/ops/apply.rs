//! An apply from beginning to end: open, check, lock, plan, agree, lease, execute, put away.

use std::time::{Duration, Instant};

use miette::Report;

use super::consent::{self, Agreed};
use super::frontend::Frontend;
use super::open::{self, Site};
use super::plan::{self, Planned};
use super::saved::{self, Saved};
use super::{execute, lease, places, preflight};
use crate::exec::{self, Interrupt};
use crate::locking::{LockOptions, Renew};
use crate::plan::Plan;
use crate::plan::saved::Request;
use crate::served::Endpoint;
use crate::step::StepId;
use crate::store::WriterLock;
use crate::targets::Lease;
use crate::workspace::SharedWorkspace;

/// What is asked of an apply.
pub struct Asked {
    /// What it covers; or the name of a saved plan alone, which says that itself.
    pub request: Request,
    /// Whether a look at the world was asked for in so many words: a saved plan says that, too.
    pub refresh: bool,
    /// What somebody agreed to.
    pub agreed: Agreed,
}

/// What an apply has to itself.
struct Begun {
    workspace: SharedWorkspace,
    request: Request,
    saved: Option<Saved>,
    /// Without one, the locks of the project stand as they are.
    may_lock: bool,
    agreed: Agreed,
    _alone: [WriterLock; 2],
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
    let begun = begin(site, frontend, asked).await?;
    let mut lease = None;
    let ended = run(&begun, site, frontend, interrupt, &mut lease).await;
    lease::give_back(frontend, lease).await;
    Ok(Applied { took: start.elapsed(), ..ended? })
}

/// Waits for the lock. Everything is read again once it is held: a waiter plans what is true now.
async fn begin(site: &Site, frontend: &dyn Frontend, asked: Asked) -> Result<Begun, Report> {
    let Asked { request, refresh, agreed } = asked;
    let waiting = open::part(site, &request.models)?;
    let saved = saved::named(&waiting.workspace, &request, refresh)?;
    let request = saved.as_ref().map_or(request, |saved| saved.request().clone());
    let waiting = waiting.check(frontend, &request)?;
    preflight::check_targets(&waiting, &request).await?;
    let alone = open::lock(&waiting, site, frontend, "apply").await?;
    let told = waiting.project.left_out.clone();
    drop(waiting);
    let part = open::part(site, &request.models)?;
    let is_told = part.workspace.project.left_out == told;
    let workspace = if is_told { part.workspace } else { part.check(frontend, &request)? };
    // A saved plan was agreed to when it was applied, and is of locks that stand.
    let agreed = Agreed { all: agreed.all || saved.is_some(), ..agreed };
    let may_lock = !workspace.settings.locked && saved.is_none();
    Ok(Begun { workspace, request, saved, may_lock, agreed, _alone: alone })
}

/// Plans until a plan can be carried out, and carries it out.
async fn run(
    begun: &Begun,
    site: &Site,
    frontend: &dyn Frontend,
    interrupt: &Interrupt,
    lease: &mut Option<Box<dyn Lease>>,
) -> Result<Applied, Report> {
    let Begun { workspace, request, may_lock, agreed, .. } = begun;
    let mut renew = Renew::Nothing;
    let (planned, report, attended) = loop {
        let planned = begun.plan(frontend, renew.clone()).await?;
        frontend.planned(&planned.plan);
        preflight::refuse(workspace, frontend, &planned.plan, request).await?;
        if plan::settle_open(workspace, frontend, &planned.plan, request, !may_lock).await? {
            continue;
        }
        places::tell_targets(workspace, frontend, &planned.plan).await;
        places::tell_next(workspace, frontend);
        consent::agree(workspace, frontend, &planned, *agreed)?;
        if lease.is_none()
            && let Some((taken, waited)) =
                lease::of_plan(workspace, site, frontend, &planned).await?
        {
            *lease = Some(taken);
            if waited {
                // Whoever had it may have done what was planned, or something else.
                continue;
            }
            // What is kept there may have changed while nobody answered.
            workspace.look().await?;
        }
        let carried_out = execute::carry_out(workspace, frontend, &planned, interrupt).await?;
        let Some((report, attended)) = carried_out else { continue };
        match report.failed.iter().find_map(execute::withdrawn) {
            Some((again, word)) if *may_lock && renew == Renew::Nothing && !interrupt.asked() => {
                frontend.note(&word);
                renew = again;
            }
            _ => break (planned, report, attended),
        }
    };
    // Whoever interrupts the steps is told how they ended; a reload command is just dropped.
    let _attended = report.interrupted.then_some(attended);
    let removed = execute::remove(workspace, frontend, &planned, &report).await?;
    lease::give_back(frontend, lease.take()).await;
    let reloaded = match &workspace.gateway {
        Some(gateway) if !report.interrupted => gateway.reload().await,
        _ => Ok(None),
    };
    let endpoints = execute::endpoints(workspace, &report);
    let plan = planned.plan;
    Ok(Applied { plan, report, endpoints, removed, reloaded, took: Duration::ZERO })
}

impl Begun {
    /// Plans what is true now; a saved plan has to be the same still.
    async fn plan(&self, frontend: &dyn Frontend, upgrade: Renew) -> Result<Planned, Report> {
        let locked = !self.may_lock;
        let options =
            LockOptions { locked, upgrade, ..plan::settling(&self.workspace, &self.request) };
        let planned = plan::plan(&self.workspace, frontend, &self.request, options).await;
        let Some(saved) = &self.saved else { return planned };
        let planned = planned.map_err(|error| saved.explain(error))?;
        saved.holds(&self.workspace, &planned)?;
        Ok(planned)
    }
}
