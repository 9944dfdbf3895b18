//! `goatbuild apply`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::session::Planned;
use super::{
    Exit, Global, Selection, WishArgs, completions, consent, image_built, out_file, part, plan,
    pushed, reach, saved, session, settings,
};
use crate::debian::DebianError;
use crate::exec::{self, Executor, Interrupt};
use crate::lock::Built;
use crate::locking::Renew;
use crate::plan::{Action, Plan, PlannedStep, ReasonKind};
use crate::python::PythonError;
use crate::spec::{Model, ModelName, TargetKind};
use crate::step::{Class, StepId, StepKind};
use crate::steps::NotPassed;
use crate::store::WriterLock;
use crate::targets::local::Move;
use crate::targets::modal::{Lease, Modal};
use crate::targets::{Live, Target, deploy_id};
use crate::ui::{self, Mode};
use crate::workspace::{SharedWorkspace, Workspace};

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
    /// Begin only what can't cost more than this for GPU time, in US dollars
    #[arg(long, value_name = "USD")]
    max_cost: Option<f64>,
    /// List every step of the plan, the fresh ones too
    #[arg(long, short)]
    verbose: bool,
    /// Write what ran when, as a Chrome trace
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

pub(crate) async fn run(
    global: &Global,
    arguments: &ApplyArgs,
    interrupt: &Interrupt,
) -> Result<Exit, Report> {
    let mut lease = None;
    let ended = apply(global, arguments, interrupt, &mut lease).await;
    give_back(lease).await;
    ended
}

/// Gives the lease back, if there is one.
async fn give_back(lease: Option<Lease>) {
    if let Some(lease) = lease
        && let Err(error) = lease.end().await
    {
        // What was done is done, and told.
        ui::note(&format!("the lease is free in two minutes: it can't be given back: {error}"));
    }
}

/// What an apply has to itself.
struct Begun {
    workspace: SharedWorkspace,
    selection: Selection,
    saved: Option<saved::Saved>,
    lock: [WriterLock; 2],
}

/// Waits for the lock. Everything is read again once it is held: a waiter plans what is true now.
async fn begin(global: &Global, arguments: &ApplyArgs) -> Result<Begun, Report> {
    let waiting = part::open_part(global, &arguments.models)?;
    let given = Selection { models: arguments.models.clone(), wishes: arguments.wishes.clone() };
    let saved = match saved::named(&waiting.workspace, &given)? {
        Some(path) => Some(saved::read(&waiting.workspace, &path)?),
        None => None,
    };
    let selection = saved.as_ref().map_or(given, saved::Saved::selection);
    waiting.check(&selection)?;
    reach::check_targets(&waiting.workspace, &selection).await?;
    let lock = session::lock(&waiting.workspace, global, "apply").await?;
    let told = waiting.workspace.project.left_out.clone();
    drop(waiting);
    let part = part::open_part(global, &selection.models)?;
    if part.workspace.project.left_out != told {
        part.check(&selection)?;
    }
    Ok(Begun { workspace: part.workspace, selection, saved, lock })
}

async fn apply(
    global: &Global,
    arguments: &ApplyArgs,
    interrupt: &Interrupt,
    lease: &mut Option<Lease>,
) -> Result<Exit, Report> {
    let began = Instant::now();
    let mode = if arguments.json { Mode::Json } else { Mode::for_terminal() };
    if let Some(path) = &arguments.trace {
        out_file::may_write(path, "trace of an apply", ui::Trace::begins)?;
    }
    let Begun { workspace, selection, saved, lock: _lock } = begin(global, arguments).await?;
    let trace = match &arguments.trace {
        Some(path) => Some(Arc::new(ui::Trace::begin(path)?)),
        None => None,
    };
    let mut renew = Renew::Nothing;
    let locked = settings::is_locked(global);
    // A saved plan is of locks that stand.
    let settled = Global { locked: global.locked || saved.is_some(), ..global.clone() };
    let (planned, report, attended) = loop {
        let renewed = renew.clone();
        let planned = replan(&workspace, &settled, &selection, saved.as_ref(), renewed).await?;
        if mode != Mode::Json {
            ui::print_plan_before_apply(&planned.plan, arguments.verbose);
        }
        refuse(&workspace, &planned.plan, &selection).await?;
        if session::settle_open(&workspace, &settled, &selection, &planned.plan).await? {
            continue;
        }
        session::tell_place(&workspace, &planned).await;
        ui::note_moves("this apply moves", &workspace.targets.local().moves(), &workspace.root);
        let agreed = arguments.yes || saved.is_some();
        consent::agree(&workspace, &planned, agreed, arguments.max_cost)?;
        if lease.is_none()
            && let Some((taken, waited)) = take_lease(&workspace, global, &planned).await?
        {
            *lease = Some(taken);
            if waited {
                // Whoever had it may have done what was planned, or something else.
                continue;
            }
            // What is kept there may have changed while nobody answered.
            workspace.look().await?;
        }
        if move_volumes(&workspace).await? {
            continue;
        }
        if planned.wishes.no_refresh {
            // The plan trusted the rows; what runs has to know what it replaces.
            workspace.look().await?;
        }
        let attended = interrupt.attend();
        let report = execute(&workspace, &planned, mode, trace.as_ref(), interrupt).await?;
        workspace.targets.local().remove_moved_originals();
        keep_built(&workspace, &planned, &report, locked)?;
        tag_images(&workspace, &planned, &report)?;
        let gone = report.failed.iter().find_map(withdrawn);
        match gone {
            Some((again, word))
                if !settled.locked && !locked && renew == Renew::Nothing && !interrupt.asked() =>
            {
                ui::note(&word);
                renew = again;
            }
            _ => break (planned, report, attended),
        }
    };
    trace.as_deref().map_or(Ok(()), write_trace)?;
    // Whoever interrupts the steps is told how they ended; a reload command is just dropped.
    let _attended = report.interrupted.then_some(attended);
    let removed = remove(&workspace, &planned, &report).await?;
    give_back(lease.take()).await;
    let reloaded = match &workspace.gateway {
        Some(gateway) if !report.interrupted => gateway.reload().await,
        _ => Ok(None),
    };
    let summary = ui::Applied {
        endpoints: &endpoints(&workspace, &report),
        plan: &planned.plan,
        report: &report,
        removed: &removed,
        reloaded: reloaded.as_ref().ok().and_then(Option::as_deref),
        took: began.elapsed(),
    };
    summary.print(mode);
    // The steps ran all the same, and whoever reads the events waits for the last one.
    if let Err(error) = reloaded {
        ui::print_error(&error);
        return Ok(Exit::Failed);
    }
    Ok(exit_of(&report))
}

/// Plans what is true now; a saved plan has to be the same still.
async fn replan(
    workspace: &SharedWorkspace,
    settled: &Global,
    selection: &Selection,
    saved: Option<&saved::Saved>,
    renew: Renew,
) -> Result<Planned, Report> {
    let planned = session::plan(workspace, settled, selection, renew).await;
    let Some(saved) = saved else { return planned };
    let planned = planned.map_err(|error| saved.explain(error))?;
    saved.holds(workspace, &planned)?;
    Ok(planned)
}

/// Moves volumes of this machine to where they belong; says whether that came otherwise than planned.
async fn move_volumes(workspace: &Workspace) -> Result<bool, Report> {
    let planned = workspace.targets.local().moves();
    let (reporter, finish) = ui::transferring();
    let moved = workspace.targets.local().move_volumes(&workspace.store, &reporter).await;
    finish();
    let moved = moved?;
    ui::note_moves("moved", &moved, &workspace.root);
    if !moved.is_empty() {
        workspace.look().await?;
    }
    let ways = |moves: &[Move]| moves.iter().map(|it| it.way).collect::<Vec<_>>();
    Ok(ways(&planned) != ways(&moved))
}

/// Forgets what the rows say of deployments that were taken back: something else stands, or nothing.
fn forget_taken_back(workspace: &Workspace, report: &exec::Report) -> Result<(), Report> {
    let taken_back = |failed: &&exec::FailedStep| {
        failed.error.downcast_ref::<NotPassed>().is_some_and(NotPassed::is_taken_back)
    };
    for failed in report.failed.iter().filter(taken_back) {
        workspace.store.forget(&deploy_id(failed.id.name()))?;
        workspace.store.forget(&failed.id)?;
    }
    Ok(())
}

fn exit_of(report: &exec::Report) -> Exit {
    if report.interrupted {
        Exit::Interrupted
    } else if report.failed.is_empty() && report.blocked.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    }
}

fn write_trace(trace: &ui::Trace) -> Result<(), Report> {
    trace.write()?;
    ui::note(&format!("{} opens in https://ui.perfetto.dev", trace.path().display()));
    Ok(())
}

/// Refuses a plan that could not be carried out to its end, before any of it is.
async fn refuse(workspace: &Workspace, plan: &Plan, selection: &Selection) -> Result<(), Report> {
    if plan.is_empty() {
        // Nothing to do is no news, unless nobody knows that.
        for warning in reach::unseen_absent(workspace, selection) {
            ui::note(&format!("{}: {}: {}", warning.model, warning.message, warning.help));
        }
    }
    plan::refuse_conflicts(workspace, plan)?;
    plan::refuse_unobserved(plan)?;
    reach::check_weights(workspace, plan)?;
    reach::check_keys(workspace, plan)?;
    pushed::check(workspace, plan).await
}

/// Takes the lease when anything at Modal is going to change; says whether that took waiting.
async fn take_lease(
    workspace: &Workspace,
    global: &Global,
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
        let class = planned.graph.get(&step.id).map_or(Class::Effect, |step| step.class());
        let there = class == Class::Effect && !step.id.is(StepKind::Gateway);
        (runs || removed) && there && step.models.iter().any(at_modal)
    });
    if !changes || modal.is_unseen() {
        return Ok(None);
    }
    Ok(Some(lease(modal, global, "apply").await?))
}

/// Takes the lease for a command; says whether that took waiting.
pub(crate) async fn lease(
    modal: &Modal,
    global: &Global,
    command: &str,
) -> Result<(Lease, bool), Report> {
    let timeout = Duration::from_secs(global.lock_timeout);
    let tell = |holder: &str| ui::note(&format!("waiting for another goatbuild: {holder}"));
    modal.take_lease(command, settings::ci_run(), timeout, tell).await
}

/// What answers after this apply.
fn endpoints(workspace: &SharedWorkspace, report: &exec::Report) -> Vec<ui::Endpoint> {
    let live: Vec<Live> = workspace.targets.all().flat_map(Target::live).collect();
    let answers = |(name, model): (&ModelName, &Arc<Model>)| {
        let facts = report.facts.get(&deploy_id(name.as_str()))?;
        let alias = match (&workspace.gateway, &model.gateway) {
            (Some(gateway), Some(entry)) => Some((entry.alias.value.clone(), gateway.name())),
            _ => None,
        };
        Some(ui::Endpoint {
            model: name.to_string(),
            url: facts.get("url")?.clone(),
            headers: workspace.targets.of(model).headers(model),
            served_name: model.serve.served_names.first().to_owned(),
            alias,
            measured: live.iter().find(|it| it.model == name.as_str()).and_then(|it| it.measured),
        })
    };
    workspace.project.models.iter().filter_map(answers).collect()
}

async fn execute(
    workspace: &SharedWorkspace,
    planned: &Planned,
    mode: Mode,
    trace: Option<&Arc<ui::Trace>>,
    interrupt: &Interrupt,
) -> Result<exec::Report, Report> {
    let memory = session::remember(workspace)?;
    let summary = planned.plan.summary();
    let watcher = Arc::new(ui::Watcher::new(mode, summary.run + summary.pending));
    let (told, traced) = (Arc::clone(&watcher), trace.cloned());
    let run = workspace.store.begin_run("apply")?;
    let executor = Executor {
        graph: &planned.graph,
        plan: &planned.plan,
        memory: &memory,
        wishes: &planned.wishes,
        store: &workspace.store,
        run,
        events: Arc::new(move |event| {
            if let Some(trace) = &traced {
                trace.tell(&event);
            }
            told.tell(&event);
        }),
        interrupt,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let report = executor.apply().await?;
    watcher.finish();
    let outcome = match (report.interrupted, report.failed.is_empty()) {
        (true, _) => "interrupted",
        (false, true) => "ok",
        (false, false) => "failed",
    };
    workspace.store.end_run(run, outcome)?;
    forget_taken_back(workspace, &report)?;
    Ok(report)
}

/// Puts what was built into the lock.
fn keep_built(
    workspace: &SharedWorkspace,
    planned: &Planned,
    report: &exec::Report,
    locked: bool,
) -> Result<(), Report> {
    if locked {
        return Ok(());
    }
    let graph = &planned.graph;
    let pure = |id: &StepId| graph.get(id).is_some_and(|step| step.class() == Class::Pure);
    let whole = planned.plan.steps.iter().any(|step| step.id.is(StepKind::Image));
    workspace.change_lock(|lock| {
        // What an apply that was cut short has built is fresh now, and still not in the lock.
        let fresh = planned.plan.steps.iter().filter(|step| step.action == Action::Fresh);
        let fresh = fresh.filter_map(|step| Some((&step.id, step.key?, &step.facts)));
        let ran = report.built.iter().map(|(id, key, facts)| (id, *key, facts));
        for (id, key, facts) in fresh.filter(|(id, ..)| pure(id)).chain(ran) {
            lock.built.insert(id.clone(), Built { key, facts: facts.clone() });
        }
        // Older versions also put what Modal had built here, in place of what was built by us.
        lock.built.retain(|_, built| built.facts.contains_key("digest"));
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
    let fresh = planned.plan.steps.iter().filter(|step| step.action == Action::Fresh);
    let fresh = fresh.map(|step| (&step.id, step.facts.get("digest")));
    let cut_off = report.cut_off.iter();
    let cut_off =
        cut_off.map(|id| (id, report.facts.get(id).and_then(|facts| facts.get("digest"))));
    Ok(image_built::tag(&workspace.layout()?, fresh.chain(cut_off))?)
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
    planned: &Planned,
    report: &exec::Report,
) -> Result<Vec<StepId>, Report> {
    let mut removed = Vec::new();
    if report.interrupted {
        return Ok(removed);
    }
    let is_unwanted = |step: &PlannedStep| {
        step.id.is(StepKind::Deploy)
            && step.reasons.iter().all(|it| it.kind == ReasonKind::Unwanted)
    };
    for step in planned.plan.steps.iter().filter(|step| step.action == Action::Remove) {
        let Some(model) = step.models.first() else { continue };
        // It may be what was to be replaced, under another name, by what failed.
        if !report.failed.is_empty() && is_unwanted(step) && !planned.plan.keeps(step) {
            ui::note(&format!("{} is left as it is, since not all went well", step.id));
            continue;
        }
        match (&workspace.gateway, step.id.known_kind()) {
            (Some(gateway), Some(StepKind::Gateway)) => {
                gateway.remove(model)?;
            }
            (_, Some(StepKind::Deploy)) if !planned.plan.keeps(step) => {
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
