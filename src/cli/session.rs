//! What every command starts with: the project, its lock, its graph, its plan.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::settings::{is_locked, settings};
use super::{Global, Selection, WishArgs, pushed, reach};
use crate::event::Reporter;
use crate::fingerprint::Key;
use crate::graph::Graph;
use crate::locking::{self, Changes, LockOptions, Renew, Scope};
use crate::plan::{self, Plan, PlannedModel, ReasonKind, Wishes};
use crate::project;
use crate::spec::{self, EnvironmentName, Model, ModelName, Sources, nearest};
use crate::step::{Facts, StepId, StepKind};
use crate::steps;
use crate::store::{Remembered, WriterLock};
use crate::targets::{deploy_id, local};
use crate::ui;
use crate::workspace::{SharedWorkspace, Workspace};

/// What the command line names that is not there.
#[derive(Debug, Error, Diagnostic)]
pub(crate) enum UsageError {
    /// A model, step or environment.
    #[error("there is no {kind} `{name}`")]
    #[diagnostic(code(goatbuild::usage::unknown_name))]
    Unknown {
        kind: &'static str,
        name: String,
        #[help]
        help: String,
    },
    /// A saved plan, and something that it would have to say itself.
    #[error("the saved plan {file} says itself what it covers")]
    #[diagnostic(
        code(goatbuild::usage::plan_and_more),
        help(
            "apply it alone; models, --only, --replace, --adopt, --prune and --no-refresh belong to `goatbuild plan -o`"
        )
    )]
    PlanAndMore { file: String },
    /// A saved plan that isn't there.
    #[error("there is no saved plan {file}")]
    #[diagnostic(
        code(goatbuild::usage::no_plan),
        help(
            "`goatbuild plan -o {file}` saves one; a word with `/` or `.plan` at its end is taken for a plan, any other for a model"
        )
    )]
    NoPlan { file: String },
    /// Two things that say different things about what is covered.
    #[error("{one} and {other} can't be had together")]
    #[diagnostic(
        code(goatbuild::usage::contrary),
        help(
            "models and --only name a part of the project, and not both; --prune is about all of it"
        )
    )]
    Contrary { one: &'static str, other: &'static str },
    /// A step to replace that is not covered.
    #[error("{step} is no part of what was asked for")]
    #[diagnostic(
        code(goatbuild::usage::outside),
        help("name a model or step that needs it, or leave --replace out")
    )]
    Outside { step: String },
    /// A variable holds something else than it should.
    #[error("{variable} is `{value}`, expected {expected}")]
    #[diagnostic(code(goatbuild::usage::variable))]
    Variable { variable: &'static str, value: String, expected: &'static str },
}

/// An error for a name that isn't there, with what could have been meant.
pub(crate) fn unknown<'a>(
    kind: &'static str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> UsageError {
    let known: Vec<&str> = known.into_iter().collect();
    // A model or an image in place of the step that makes it.
    let of_it = |kind: &&str| known.contains(&format!("{kind}:{name}").as_str());
    let help = match ["deploy", "image", "weights"].iter().find(|kind| of_it(kind)) {
        Some(kind) => format!("did you mean `{kind}:{name}`?"),
        None => nearby(name, &known),
    };
    UsageError::Unknown { kind, name: name.to_owned(), help }
}

/// What could have been meant by a name, or what there is.
fn nearby(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there are none".to_owned(),
        None => format!("there are: {}", some_of(known)),
    }
}

/// The first of many names, and how many more there are.
pub(super) fn some_of(names: &[&str]) -> String {
    const TOLD: usize = 12;
    let told = names.iter().take(TOLD).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(TOLD) {
        0 => told,
        more => format!("{told} … and {more} more"),
    }
}

/// The files of the project that the command is about.
pub(crate) struct Files {
    pub(crate) root: PathBuf,
    pub(crate) sources: Sources,
    pub(crate) environment: Option<EnvironmentName>,
}

pub(crate) fn files(global: &Global) -> Result<Files, Report> {
    let from = global.directory.as_deref().unwrap_or(Path::new("."));
    let root = project::find(from)?;
    let sources = project::load(&root)?;
    let environment = match &global.environment {
        Some(name) => Some(environment(&sources, name)?),
        None => None,
    };
    Ok(Files { root, sources, environment })
}

/// The environment that was asked for, which the project has to have.
fn environment(sources: &Sources, name: &str) -> Result<EnvironmentName, UsageError> {
    let known = spec::environments(sources);
    let named = name.parse().ok().filter(|name| match &known {
        Some(known) => known.contains(name),
        // The file has a mistake, and is about to be told.
        None => true,
    });
    let known = known.unwrap_or_default();
    named.ok_or_else(|| unknown("environment", name, known.iter().map(EnvironmentName::as_str)))
}

/// Opens the workspace of the command's project.
pub(crate) fn open(global: &Global) -> Result<SharedWorkspace, Report> {
    let files = files(global)?;
    let project = project::read(&files.sources, files.environment.as_ref())?;
    let settings = settings(global)?;
    let workspace = Workspace::open(files.root, project, settings)?;
    Ok(Arc::new(workspace))
}

/// A plan and all it was made of.
pub(crate) struct Planned {
    pub(crate) graph: Graph,
    pub(crate) wishes: Wishes,
    pub(crate) plan: Plan,
}

/// Locks what is missing, looks at the world unless that is not wished, and plans.
pub(crate) async fn plan(
    workspace: &SharedWorkspace,
    global: &Global,
    selection: &Selection,
    renew: Renew,
) -> Result<Planned, Report> {
    let scope = scope(workspace, selection);
    plan_within(workspace, global, selection, renew, scope).await
}

/// The same, and locks nothing beyond `scope`.
pub(crate) async fn plan_within(
    workspace: &SharedWorkspace,
    global: &Global,
    selection: &Selection,
    renew: Renew,
    scope: Scope,
) -> Result<Planned, Report> {
    // What is wrong here needs no download to be found.
    workspace.check_sources(&selection.models)?;
    if reach::serves(selection) {
        workspace.check_platforms(&selection.models)?;
    }
    let refresh = !selection.wishes.no_refresh;
    if refresh {
        workspace.look().await?;
    }
    let locked = is_locked(global);
    let options = LockOptions { locked, upgrade: renew, complete: false, lenient: true, scope };
    let (reporter, finish) = ui::preparing();
    let mut changes = Changes::default();
    let settled = locking::settle_into(&mut changes, workspace, &options, &reporter).await;
    finish();
    ui::print_lock_changes(&changes);
    settled?;
    for warning in &changes.warnings {
        ui::note(warning);
    }
    if refresh && !changes.resolved.is_empty() {
        // Resolving took its time, in which the world may have moved.
        workspace.look().await?;
    }
    let warnings = workspace.check_engines(&selection.models)?;
    let whole = steps::compile(workspace, &Reporter::silent())?;
    let wishes = wishes(&whole, workspace, &selection.wishes)?;
    let (graph, all) = select(workspace, whole, selection)?;
    let memory = remember(workspace)?;
    if refresh {
        pushed::look(workspace, &graph, &memory).await;
    }
    let mut unwanted =
        if wishes.no_refresh { workspace.unwanted_by(&memory) } else { workspace.unwanted() };
    unwanted.retain(|it| all || it.absent && selection.models.contains(&it.model));
    let mut plan = plan::plan(&graph, &memory, &unwanted, &wishes);
    plan.models = planned_models(workspace, &plan);
    let planned = |model: &String| plan.steps.iter().any(|step| step.models.contains(model));
    plan.warnings = warnings.into_iter().filter(|warning| planned(&warning.model)).collect();
    if refresh {
        plan.warnings.extend(reach::unseen_absent(workspace, selection));
    }
    Ok(Planned { graph, wishes, plan })
}

/// What has to be locked for what was asked for.
fn scope(workspace: &Workspace, selection: &Selection) -> Scope {
    if selection.models.is_empty() {
        Scope::of_steps(workspace, &selection.wishes.only)
    } else {
        Scope::of_models(workspace, &selection.models)
    }
}

/// How each model will be served that a deployment of the plan is for.
fn planned_models(workspace: &Workspace, plan: &Plan) -> Vec<PlannedModel> {
    let deployed = |model: &&Arc<Model>| plan.get(&deploy_id(model.name.as_str())).is_some();
    let models = workspace.project.models.values().filter(deployed);
    models.map(|model| workspace.targets.of(model).plan_model(model)).collect()
}

/// Locks what the plan left open, or tells why that can't be. Says whether there was anything.
pub(crate) async fn settle_open(
    workspace: &SharedWorkspace,
    global: &Global,
    selection: &Selection,
    plan: &Plan,
) -> Result<bool, Report> {
    let mut reasons = plan.steps.iter().flat_map(|step| &step.reasons);
    if !reasons.any(|reason| reason.kind == ReasonKind::Unlocked) {
        return Ok(false);
    }
    let scope = scope(workspace, selection);
    let options = LockOptions { locked: is_locked(global), scope, ..LockOptions::default() };
    let (reporter, finish) = ui::preparing();
    let settled = locking::settle(workspace, &options, &reporter).await;
    finish();
    ui::print_lock_changes(&settled?);
    Ok(true)
}

/// Says where models are going to be served, when any is.
pub(crate) async fn tell_place(workspace: &Workspace, planned: &Planned) {
    let starts = |step: &&plan::PlannedStep| {
        (step.id.is(StepKind::Warmup) || step.id.is(StepKind::Deploy))
            && matches!(step.action, plan::Action::Run | plan::Action::Pending)
    };
    let models = planned.plan.steps.iter().filter(starts).flat_map(|step| &step.models);
    let models = models.filter_map(|name| workspace.project.models.get(name.as_str()));
    let used: BTreeSet<&str> = models.map(|model| workspace.targets.of(model).name()).collect();
    for target in workspace.targets.all().filter(|target| used.contains(target.name())) {
        if let Some(place) = target.place().await {
            ui::note(&place);
        }
    }
}

/// Says which volumes of this machine the next apply moves, and what it leaves.
pub(crate) fn tell_moves(workspace: &Workspace) {
    let moves = workspace.targets.local().moves();
    ui::note_moves("the next apply moves", &moves, &workspace.root);
    for left in workspace.targets.local().left_over() {
        let left = left.strip_prefix(&workspace.root).unwrap_or(&left).display();
        ui::note(&format!("{left} is no longer used: `goatbuild gc` removes it"));
    }
}

/// A plan of everything as it is locked; changes and prints nothing.
pub(crate) async fn plan_quietly(workspace: &SharedWorkspace) -> Result<Planned, Report> {
    let options = LockOptions { locked: true, lenient: true, ..LockOptions::default() };
    locking::settle(workspace, &options, &Reporter::silent()).await?;
    let graph = steps::compile(workspace, &Reporter::silent())?;
    let wishes = Wishes::default();
    let plan = plan::plan(&graph, &remember(workspace)?, &workspace.unwanted(), &wishes);
    Ok(Planned { graph, wishes, plan })
}

/// The memory of the cache and the lock together.
pub(crate) fn remember(workspace: &Workspace) -> Result<Remembered<'_>, Report> {
    let locked: HashMap<StepId, (Key, Facts)> = workspace.lock(|lock| {
        let built = lock.built.iter();
        built.map(|(id, built)| (id.clone(), (built.key, built.facts.clone()))).collect()
    });
    Ok(workspace.store.remember(locked)?)
}

fn wishes(graph: &Graph, workspace: &Workspace, asked: &WishArgs) -> Result<Wishes, UsageError> {
    let mut replace = BTreeSet::new();
    for name in &asked.replace {
        replace.insert(step(graph, name)?);
    }
    for name in &asked.adopt {
        model(workspace, name)?;
    }
    let mut only = BTreeSet::new();
    for name in &asked.only {
        only.insert(step(graph, name)?);
    }
    Ok(Wishes {
        replace,
        only,
        adopt: asked.adopt.iter().cloned().collect(),
        no_refresh: asked.no_refresh,
        prune: asked.prune,
    })
}

/// The id of a step that the graph has.
pub(crate) fn step(graph: &Graph, name: &str) -> Result<StepId, UsageError> {
    let id = StepId::from(name);
    match graph.get(&id) {
        Some(_) => Ok(id),
        None => Err(unknown("step", name, graph.in_order().map(|step| step.id().as_str()))),
    }
}

/// Fails unless the project has this model.
pub(crate) fn model(workspace: &Workspace, name: &str) -> Result<(), UsageError> {
    let models = &workspace.project.models;
    match models.get(name) {
        Some(_) => Ok(()),
        None => Err(unknown("model", name, models.keys().map(ModelName::as_str))),
    }
}

/// Fails unless the project has this model, be it one that is not to be served.
pub(crate) fn known(workspace: &Workspace, name: &str) -> Result<(), UsageError> {
    if workspace.project.absent.contains_key(name) { Ok(()) } else { model(workspace, name) }
}

/// The part of the graph that was asked for, and whether that is all of it.
fn select(
    workspace: &Workspace,
    graph: Graph,
    selection: &Selection,
) -> Result<(Graph, bool), UsageError> {
    if selection.models.is_empty() && selection.wishes.only.is_empty() {
        return Ok((graph, true));
    }
    for name in &selection.models {
        known(workspace, name)?;
    }
    let mut only = BTreeSet::new();
    for name in &selection.wishes.only {
        only.insert(step(&graph, name)?);
    }
    let contrary = |one: &'static str, other: &'static str| UsageError::Contrary { one, other };
    match (selection.models.is_empty(), only.is_empty(), selection.wishes.prune) {
        (false, false, _) => return Err(contrary("models", "--only")),
        (false, _, true) => return Err(contrary("models", "--prune")),
        (_, false, true) => return Err(contrary("--only", "--prune")),
        _ => {}
    }
    let part = graph.needed_by(|step| {
        if only.is_empty() {
            step.models().iter().any(|model| selection.models.contains(model))
        } else {
            only.contains(step.id())
        }
    });
    let outside =
        selection.wishes.replace.iter().find(|id| part.get(&StepId::from(&***id)).is_none());
    match outside {
        Some(step) => Err(UsageError::Outside { step: step.clone() }),
        None => Ok((part, false)),
    }
}

/// Where this project keeps its state on this machine, in its environment.
pub(crate) fn state_of(workspace: &Workspace) -> PathBuf {
    let project = &workspace.project;
    let environment = project.environment.as_ref().map_or("", |name| name.as_str());
    local::state_of(&workspace.settings.state, project.id.as_str(), environment)
}

/// Takes the locks of the project's cache and of its state on this machine.
pub(crate) async fn lock(
    workspace: &Workspace,
    global: &Global,
    command: &str,
) -> Result<[WriterLock; 2], Report> {
    let timeout = Duration::from_secs(global.lock_timeout);
    let state = state_of(workspace);
    std::fs::create_dir_all(&state)
        .map_err(|source| crate::store::StoreError::Write { path: state.clone(), source })?;
    let tell = |holder: &str| ui::note(&format!("waiting for another goatbuild: {holder}"));
    let cache = workspace.store.root().join("lock");
    let (first, _) = WriterLock::take(&cache, command, timeout, tell).await?;
    let (second, _) = WriterLock::take(&state.join("lock"), command, timeout, tell).await?;
    workspace.sweep();
    Ok([first, second])
}
