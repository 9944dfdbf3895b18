//! An apply from beginning to end: open, check, lock, plan, agree, lease, execute, put away.

use std::time::{Duration, Instant};

use miette::Report;

use super::consent::{self, Agreed};
use super::frontend::Frontend;
use super::open::{self, Site};
use super::plan::{self, Planned};
use super::saved::{self, Saved};
use super::{execute, lease, moves, preflight};
use crate::exec::{self, Interrupt};
use crate::locking::{LockOptions, Renew};
use crate::plan::Plan;
use crate::plan::saved::Request;
use crate::served::Endpoint;
use crate::step::StepId;
use crate::store::WriterLock;
use crate::targets::modal::Lease;
use crate::workspace::SharedWorkspace;

/// What an apply has to itself.
pub struct Begun {
    began: Instant,
    workspace: SharedWorkspace,
    request: Request,
    saved: Option<Saved>,
    _lock: [WriterLock; 2],
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

/// Waits for the lock. Everything is read again once it is held: a waiter plans what is true now.
///
/// The request may be the name of a saved plan alone, which says itself what it covers and whether
/// to look at the world; `refresh` is whether that was asked for in so many words.
pub async fn begin(
    site: &Site,
    frontend: &dyn Frontend,
    given: Request,
    refresh: bool,
) -> Result<Begun, Report> {
    let began = Instant::now();
    let waiting = open::part(site, &given.models)?;
    let saved = saved::named(&waiting.workspace, &given, refresh)?;
    let request = saved.as_ref().map_or(given, |saved| saved.request().clone());
    let waiting = waiting.check(frontend, &request)?;
    preflight::check_targets(&waiting, &request).await?;
    let lock = open::lock(&waiting, site, frontend, "apply").await?;
    let told = waiting.project.left_out.clone();
    drop(waiting);
    let part = open::part(site, &request.models)?;
    let is_told = part.workspace.project.left_out == told;
    let workspace = if is_told { part.workspace } else { part.check(frontend, &request)? };
    Ok(Begun { began, workspace, request, saved, _lock: lock })
}

impl Begun {
    /// Plans, asks, and runs what is stale.
    pub async fn apply(
        self,
        site: &Site,
        frontend: &dyn Frontend,
        agreed: Agreed,
        interrupt: &Interrupt,
    ) -> Result<Applied, Report> {
        let mut lease = None;
        let ended = self.run(site, frontend, agreed, interrupt, &mut lease).await;
        lease::give_back(frontend, lease).await;
        ended
    }

    async fn run(
        self,
        site: &Site,
        frontend: &dyn Frontend,
        agreed: Agreed,
        interrupt: &Interrupt,
        lease: &mut Option<Lease>,
    ) -> Result<Applied, Report> {
        let Self { workspace, request, saved, .. } = &self;
        // A saved plan was agreed to when it was applied, and is of locks that stand.
        let agreed = Agreed { all: agreed.all || saved.is_some(), ..agreed };
        let locked = workspace.settings.locked || saved.is_some();
        let mut renew = Renew::Nothing;
        let (planned, report, attended) = loop {
            let upgrade = renew.clone();
            let options = LockOptions { locked, upgrade, ..plan::settling(workspace, request) };
            let planned = self.plan(frontend, options).await?;
            frontend.planned(&planned.plan);
            preflight::refuse(workspace, frontend, &planned.plan, request).await?;
            if plan::settle_open(workspace, frontend, &planned.plan, request, locked).await? {
                continue;
            }
            plan::tell_place(workspace, frontend, &planned.plan).await;
            moves::tell(
                frontend,
                "this apply moves",
                &workspace.targets.local().moves(),
                &workspace.root,
            );
            consent::agree(workspace, frontend, &planned, agreed)?;
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
            if moves::carry_out(workspace, frontend).await? {
                continue;
            }
            if planned.wishes.no_refresh {
                // The plan trusted the rows; what runs has to know what it replaces.
                workspace.look().await?;
            }
            let attended = interrupt.attend();
            let report = execute::execute(workspace, frontend, &planned, interrupt).await?;
            match report.failed.iter().find_map(execute::withdrawn) {
                Some((again, word)) if !locked && renew == Renew::Nothing && !interrupt.asked() => {
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
        let (plan, took) = (planned.plan, self.began.elapsed());
        Ok(Applied { plan, report, endpoints, removed, reloaded, took })
    }

    /// Plans what is true now; a saved plan has to be the same still.
    async fn plan(&self, frontend: &dyn Frontend, options: LockOptions) -> Result<Planned, Report> {
        let planned = plan::plan(&self.workspace, frontend, &self.request, options).await;
        let Some(saved) = &self.saved else { return planned };
        let planned = planned.map_err(|error| saved.explain(error))?;
        saved.holds(&self.workspace, &planned)?;
        Ok(planned)
    }
}
