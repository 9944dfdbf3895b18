//! The steps of an apply: what moves before they run, running them, and what is kept, told and taken
//! away after that.

use std::collections::BTreeSet;
use std::sync::Arc;

use miette::Report;

use super::heal::{self, Healing};
use super::plan::Planned;
use super::{Frontend, Work};
use crate::debian::DebianError;
use crate::exec::{self, Attended, Executor, Interrupt};
use crate::lock::Built;
use crate::locking::Renew;
use crate::plan::{Action, PlannedStep, ReasonKind};
use crate::python::PythonError;
use crate::served::Endpoint;
use crate::spec::{Model, ModelName};
use crate::step::{Class, Fact, Removal, StepError, StepId};
use crate::steps::NotPassed;
use crate::targets::{Live, Move, Moves, Target};
use crate::workspace::{SharedWorkspace, Workspace};

/// How carrying out a plan ended.
pub(super) enum Ended {
    /// Not as it was planned: it is to be planned again, with this locked anew. These steps were begun.
    PlanAgain(Option<Renew>, BTreeSet<StepId>),
    /// With blobs that were damaged, and are gone: it is to be planned again, once. These steps were begun.
    Healed(BTreeSet<StepId>),
    /// Whatever it came to.
    Ran(Box<Ran>),
}

/// What came of a plan.
pub(super) struct Ran {
    /// What its steps came to.
    pub(super) report: exec::Report,
    /// Resources that were taken away.
    pub(super) removed: Vec<StepId>,
    /// What answers now.
    pub(super) endpoints: Vec<Endpoint>,
    /// Where the steps were interrupted, that is answered by telling how they ended.
    pub(super) attended: Option<Attended>,
}

/// How a plan is carried out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// Whether what was withdrawn may be locked anew.
    pub(super) may_renew: bool,
    /// What is done about blobs that turn out to be damaged.
    pub(super) healing: Healing,
    /// Whether a step takes its turn even after one that failed.
    pub(super) keep_going: bool,
}

/// Moves what is to move, runs the steps of a plan, and takes away what it removes. Volumes that move
/// otherwise than planned end it, and so do packages that were withdrawn, while those may be renewed.
pub(super) async fn carry_out(
    workspace: &SharedWorkspace,
    frontend: &dyn Frontend,
    planned: &Planned,
    interrupt: &Interrupt,
    way: Way,
) -> Result<Ended, Report> {
    if move_volumes(workspace, frontend).await? {
        return Ok(Ended::PlanAgain(None, BTreeSet::new()));
    }
    if planned.wishes.no_refresh {
        // The plan trusted the rows; what runs has to know what it replaces.
        workspace.look().await?;
    }
    let attended = interrupt.attend();
    let report = execute(workspace, frontend, planned, interrupt, way.keep_going).await?;
    if way.may_renew
        && !interrupt.asked()
        && let Some((renew, word)) = report.failed.iter().find_map(withdrawn)
    {
        frontend.note(&word);
        return Ok(Ended::PlanAgain(Some(renew), begun(&report)));
    }
    if !interrupt.asked()
        && heal::were_damaged(workspace, frontend, planned, &report, way.healing).await
        && way.healing == Healing::MakeAgain
    {
        return Ok(Ended::Healed(begun(&report)));
    }
    let attended = report.interrupted.then_some(attended);
    let removed = remove(workspace, frontend, planned, &report).await?;
    let endpoints = endpoints(workspace, &report);
    Ok(Ended::Ran(Box::new(Ran { report, removed, endpoints, attended })))
}

/// The steps that may have cost something, however they ended.
fn begun(report: &exec::Report) -> BTreeSet<StepId> {
    let ended = report.failed.iter().chain(&report.unproven).map(|it| &it.id);
    report.ran.iter().map(|(id, _)| id).chain(ended).cloned().collect()
}

/// Moves volumes of this machine to where they belong; says whether that came otherwise than planned.
async fn move_volumes(workspace: &Workspace, frontend: &dyn Frontend) -> Result<bool, Report> {
    let targets = &workspace.targets;
    let planned: Vec<Move> = targets.moves().flat_map(Moves::planned).collect();
    let moved = frontend.showing(Work::Transfers, async |reporter| {
        let mut moved = Vec::new();
        for moves in targets.moves() {
            moved.extend(moves.carry_out(&*workspace.store, reporter).await?);
        }
        Ok::<_, StepError>(moved)
    });
    let moved = moved.await?;
    for told in Move::told(&moved, &workspace.root) {
        frontend.note(&format!("moved {told}"));
    }
    if !moved.is_empty() {
        workspace.look().await?;
    }
    let ways = |moves: &[Move]| moves.iter().map(|it| it.way).collect::<Vec<_>>();
    Ok(ways(&planned) != ways(&moved))
}

/// Runs the steps of a plan, and keeps what came of them.
async fn execute(
    workspace: &SharedWorkspace,
    frontend: &dyn Frontend,
    planned: &Planned,
    interrupt: &Interrupt,
    keep_going: bool,
) -> Result<exec::Report, Report> {
    let memory = workspace.remember()?;
    let summary = planned.plan.summary();
    let (events, end) = frontend.events(summary.run + summary.pending);
    let executor = Executor {
        graph: &planned.graph,
        plan: &planned.plan,
        memory: &memory,
        wishes: &planned.wishes,
        store: &workspace.store,
        events,
        interrupt,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        keep_going,
    };
    let report = executor.apply().await?;
    end();
    forget_taken_back(workspace, &report)?;
    workspace.targets.moves().for_each(Moves::remove_originals);
    keep_built(workspace, planned, &report)?;
    tag_images(workspace, planned, &report)?;
    Ok(report)
}

/// Forgets what the rows say of deployments that were taken back: something else stands, or nothing.
fn forget_taken_back(workspace: &SharedWorkspace, report: &exec::Report) -> Result<(), Report> {
    for failed in report.failed.iter().filter(|it| is_taken_back(it)) {
        workspace.store.forget(&StepId::deploy(failed.id.name()))?;
        workspace.store.forget(&failed.id)?;
    }
    Ok(())
}

/// Whether what was deployed failed its smoke test, and is deployed no more.
fn is_taken_back(failed: &exec::FailedStep) -> bool {
    failed.error.downcast_ref::<NotPassed>().is_some_and(NotPassed::is_taken_back)
}

/// Puts what was built into the lock.
fn keep_built(
    workspace: &SharedWorkspace,
    planned: &Planned,
    report: &exec::Report,
) -> Result<(), Report> {
    if workspace.settings.locked {
        return Ok(());
    }
    let graph = &planned.graph;
    let pure = |id: &StepId| graph.get(id).is_some_and(|step| step.class() == Class::Pure);
    let whole = planned.plan.steps.iter().any(|step| step.kind.makes_image());
    workspace.lock.change(|lock| {
        // What an apply that was cut short has built is fresh now, and still not in the lock.
        let fresh = planned.plan.steps.iter().filter(|step| step.action == Action::Fresh);
        let fresh = fresh.filter_map(|step| Some((&step.id, step.key?, &step.facts)));
        let ran = report.built.iter().map(|(id, key, facts)| (id, *key, facts));
        for (id, key, facts) in fresh.filter(|(id, ..)| pure(id)).chain(ran) {
            lock.built.insert(id.clone(), Built { key, facts: facts.clone() });
        }
        // Older versions also put what Modal had built here, in place of what was built by us.
        lock.built.retain(|_, built| Fact::DIGEST.of(&built.facts).is_some());
        // What cannot be asked for any more; a part of the project says nothing of the rest.
        let all_read = workspace.project.left_out.is_empty();
        if whole && all_read && graph.len() == planned.plan.steps.len() {
            let images = &workspace.project.images;
            lock.built.retain(|id, _| {
                let image = id.name().split('/').next().unwrap_or_default();
                images.contains_key(image)
            });
        }
    })
}

/// Has the layout call each image by its name that stands now, though it was built long ago.
fn tag_images(
    workspace: &SharedWorkspace,
    planned: &Planned,
    report: &exec::Report,
) -> Result<(), Report> {
    let images = planned.plan.steps.iter().filter(|step| step.kind.makes_image());
    let made = images.filter_map(|step| {
        let facts = match step.action {
            Action::Fresh => &step.facts,
            _ if report.cut_off.contains(&step.id) => report.facts.get(&step.id)?,
            _ => return None,
        };
        Some((&step.id, facts))
    });
    workspace.cache.tag(made)
}

/// What to lock anew when a step failed because a locked package was withdrawn.
fn withdrawn(failed: &exec::FailedStep) -> Option<(Renew, String)> {
    let package = match failed.error.downcast_ref::<DebianError>() {
        Some(
            DebianError::Gone { package, .. }
            | DebianError::Unavailable { package, superseded: true, .. },
        ) => package.clone(),
        _ => match failed.error.downcast_ref::<PythonError>() {
            Some(PythonError::Gone { package, .. }) => package.clone(),
            _ => return None,
        },
    };
    let image = failed.id.name().split('/').next().unwrap_or_default().to_owned();
    let word = format!("{}; locking image {image} anew, and planning again", failed.error);
    Some((Renew::Gone { image, package }, word))
}

/// Takes away what is ours and no spec wants: entries always, deployments when asked to, by a spec or
/// on the command line.
async fn remove(
    workspace: &SharedWorkspace,
    frontend: &dyn Frontend,
    planned: &Planned,
    report: &exec::Report,
) -> Result<Vec<StepId>, Report> {
    let mut removed = Vec::new();
    if report.interrupted {
        return Ok(removed);
    }
    let is_unwanted = |step: &PlannedStep| {
        step.kind.serves() && step.reasons.iter().all(|it| it.kind == ReasonKind::Unwanted)
    };
    for step in planned.plan.steps.iter().filter(|step| step.action == Action::Remove) {
        let Some(model) = step.models.first() else { continue };
        // It may be what was to be replaced, under another name, by what failed.
        let all_went_well = report.failed.is_empty() && report.unproven.is_empty();
        if !all_went_well && is_unwanted(step) && !planned.plan.keeps(step) {
            frontend.note(&format!("{} is left as it is, since not all went well", step.id));
            continue;
        }
        match (&workspace.gateway, step.kind.removal()) {
            (Some(gateway), Removal::Entry) => {
                gateway.remove(model)?;
            }
            (_, Removal::Deployment) if !planned.plan.keeps(step) => {
                for target in workspace.targets.all() {
                    target.remove(model).await?;
                }
            }
            _ => continue,
        }
        workspace.store.forget(&step.id)?;
        removed.push(step.id.clone());
    }
    Ok(removed)
}

/// What answers after this apply.
fn endpoints(workspace: &SharedWorkspace, report: &exec::Report) -> Vec<Endpoint> {
    let live: Vec<Live> = workspace.targets.all().flat_map(Target::live).collect();
    let answers = |(name, model): (&ModelName, &Arc<Model>)| {
        let smoke = StepId::smoke(name);
        if report.failed.iter().any(|failed| failed.id == smoke && is_taken_back(failed)) {
            return None;
        }
        let facts = report.facts.get(&StepId::deploy(name))?;
        let alias = match (&workspace.gateway, &model.gateway) {
            (Some(gateway), Some(entry)) => Some((entry.alias.value.clone(), gateway.name())),
            _ => None,
        };
        Some(Endpoint {
            model: name.to_string(),
            api: workspace.api_of(model),
            url: Fact::URL.of(facts)?.clone(),
            headers: workspace.targets.of(model).headers(model),
            served_name: model.serve.served_names.first().to_owned(),
            alias,
            measured: live.iter().find(|it| it.model == name.as_str()).and_then(|it| it.measured),
        })
    };
    workspace.project.models.iter().filter_map(answers).collect()
}
