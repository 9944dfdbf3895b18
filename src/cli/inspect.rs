//! `goatbuild show`, `why`, `status` and `logs`.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::session::{UsageError, unknown};
use super::{Exit, Global, Selection, WishArgs, completions, part, session};
use crate::event::Reporter;
use crate::exec::Interrupt;
use crate::gateways::litellm::gateway::Gateway;
use crate::gateways::litellm::{Access, Entry};
use crate::locking::{self, LockOptions, Renew, Scope};
use crate::plan::{Action, Plan, PlannedStep, ReasonKind, gather};
use crate::spec::{self, Model, ModelName, TargetKind};
use crate::step::{Observation, StepId};
use crate::steps;
use crate::ui;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The model
    #[arg(add = ArgValueCandidates::new(completions::models))]
    model: String,
    /// Print what is started in the image instead: environment variables and command line
    #[arg(long)]
    command: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The step, such as `deploy:tiny`
    #[arg(add = ArgValueCandidates::new(completions::steps))]
    step: String,
    /// Trust the last run instead of looking at the world
    #[arg(long)]
    no_refresh: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// A model, or a step such as `wheels:tiny/numpy`
    #[arg(add = ArgValueCandidates::new(completions::logged))]
    name: String,
    /// Go on printing what is added
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "LINES")]
    lines: Option<usize>,
}

/// There is nothing to print.
#[derive(Debug, Error, Diagnostic)]
#[error("{name} has no log yet")]
#[diagnostic(
    code(goatbuild::logs::none),
    help("it never ran here, or `cache/` was deleted; run `goatbuild apply`")
)]
struct NoLog {
    name: String,
}

pub(crate) async fn show(global: &Global, arguments: &ShowArgs) -> Result<Exit, Report> {
    if arguments.command {
        return show_command(global, &arguments.model).await;
    }
    let files = session::files(global)?;
    let known: Vec<String> = files
        .sources
        .specs
        .iter()
        .filter_map(|file| file.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .collect();
    let missing = || unknown("model", &arguments.model, known.iter().map(String::as_str));
    let model: ModelName = arguments.model.parse().map_err(|_| missing())?;
    let environment = files.environment.as_ref();
    let values = spec::effective(&files.sources, environment, &model)?.ok_or_else(missing)?;
    ui::print_text(&spec::render_effective(&values));
    Ok(Exit::Done)
}

/// What is started, as far as the lock says: what it leaves open is told.
async fn show_command(global: &Global, name: &str) -> Result<Exit, Report> {
    /// Where the target chooses another.
    const PORT: u16 = 8000;
    let workspace = part::open_part(global, &[name.to_owned()])?.of_model(name)?;
    session::model(&workspace, name)?;
    let model = &workspace.project.models[name];
    let scope = Scope::of_models(&workspace, &[name.to_owned()]);
    let options = LockOptions { locked: true, lenient: true, scope, ..LockOptions::default() };
    locking::settle(&workspace, &options, &Reporter::silent()).await?;
    let started = steps::foreseen(&workspace, model, &Reporter::silent())?;
    for source in model.sources().filter_map(|source| source.hub()) {
        if workspace.commit(source).is_none() {
            ui::note(&format!("hf:{source} is not locked: a commit will stand for it"));
        }
    }
    let host = match model.target {
        TargetKind::Local => "127.0.0.1",
        TargetKind::Modal => "0.0.0.0",
    };
    let port = model.serve.port.as_ref().map_or(PORT, |port| port.value);
    let command = (started.command)(model.serve.served_names.first(), host, port);
    ui::print_text(&ui::command_text(&started.environment, &command));
    Ok(Exit::Done)
}

pub(crate) async fn why(global: &Global, arguments: &WhyArgs) -> Result<Exit, Report> {
    let part = part::open_part(global, &[])?;
    let only = WishArgs { only: vec![arguments.step.clone()], ..WishArgs::default() };
    part.check(&Selection { wishes: only, ..Selection::default() })?;
    let workspace = part.workspace;
    let wishes = WishArgs { no_refresh: arguments.no_refresh, ..WishArgs::default() };
    let selection = Selection { wishes, ..Selection::default() };
    // Nothing is asked of a hub that this step doesn't need.
    let scope = Scope::of_steps(&workspace, std::slice::from_ref(&arguments.step));
    let renew = Renew::Nothing;
    let planned = session::plan_within(&workspace, global, &selection, renew, scope).await?;
    let id = StepId::from(arguments.step.as_str());
    let found = planned.plan.get(&id);
    let step = found.ok_or_else(|| {
        unknown("step", &arguments.step, planned.plan.steps.iter().map(|step| step.id.as_str()))
    })?;
    let facts = |id: &StepId| planned.plan.get(id).map(|step| &step.facts);
    let fingerprint = planned
        .graph
        .get(&id)
        .and_then(|step| gather(&**step, facts).ok().map(|inputs| step.describe(&inputs)));
    let evidence = match &step.key {
        Some(key) => workspace.store.evidence(&id, key)?,
        None => None,
    };
    let attempt = workspace.store.last_attempt(&id)?;
    ui::print_why(step, fingerprint.as_ref(), evidence.as_ref(), attempt.as_ref());
    Ok(Exit::Done)
}

pub(crate) async fn status(global: &Global, arguments: &StatusArgs) -> Result<Exit, Report> {
    let (workspace, _) = part::open_anyway(global)?;
    workspace.look().await?;
    let live: Vec<_> = workspace.targets().iter().flat_map(|target| target.live()).collect();
    // What is served is known without a lock; whether it is what the specs want is not.
    let planned = session::plan_quietly(&workspace).await.ok();
    let left_out = &workspace.project.left_out;
    let step = |id: StepId| planned.as_ref().and_then(|planned| planned.plan.get(&id));
    let mut rows: Vec<ui::StatusRow> = live
        .into_iter()
        .map(|live| {
            let deploy = step(crate::targets::deploy_id(&live.model));
            let smoke = step(StepId::new("smoke", &live.model));
            let wanted = deploy.and_then(|step| step.key);
            let known = workspace.project.models.contains_key(live.model.as_str());
            let verdict = match (deploy, smoke) {
                _ if workspace.project.absent.contains_key(live.model.as_str()) => {
                    ui::Verdict::Leaving
                }
                _ if left_out.models.contains(&live.model) => ui::Verdict::Unknown,
                _ if !known => ui::Verdict::Unwanted,
                (None, _) => ui::Verdict::Unknown,
                (Some(deploy), _) if deploy.held.is_some() => ui::Verdict::Held,
                _ if live.state == "starting" => ui::Verdict::Starting,
                (Some(_), _) if live.state == "stopped" && wanted == live.key => {
                    ui::Verdict::Stopped
                }
                (Some(deploy), _) if deploy.action != Action::Fresh => ui::Verdict::Differs,
                (_, Some(smoke)) if smoke.action != Action::Fresh => ui::Verdict::Untested,
                _ => ui::Verdict::AsSpecified,
            };
            let (alias, auth, parts) = (None, None, ui::Parts::default());
            ui::StatusRow { live, alias, wanted, auth, parts, verdict }
        })
        .collect();
    for model in workspace.project.models.values() {
        let name = model.name.as_str();
        if rows.iter().any(|row| row.live.model == name) {
            continue;
        }
        rows.push(match workspace.target(model).observe_deployment(name) {
            Observation::Unobserved(Some(why)) => ui::StatusRow::unobserved(name, why),
            Observation::Foreign { owner, .. } => ui::StatusRow::foreign(name, owner),
            _ => ui::StatusRow::absent(name),
        });
    }
    for model in workspace.project.absent.keys() {
        if !rows.iter().any(|row| row.live.model == model.as_str()) {
            let row = ui::StatusRow::absent(model.as_str());
            rows.push(ui::StatusRow { verdict: ui::Verdict::AsSpecified, ..row });
        }
    }
    for model in &left_out.models {
        if !rows.iter().any(|row| row.live.model == *model) {
            let why = "its spec or its image has mistakes: `goatbuild check` shows them".to_owned();
            rows.push(ui::StatusRow::unobserved(model, why));
        }
    }
    for row in &mut rows {
        if let Some(planned) = &planned {
            row.parts = parts(&planned.plan, &row.live.model);
        }
        let Some(model) = workspace.project.models.get(row.live.model.as_str()) else { continue };
        row.auth = Some(model.serve.auth).filter(|_| model.target == TargetKind::Modal);
        if let (Some(gateway), Some(entry)) = (&workspace.gateway, &model.gateway) {
            row.alias = Some(entry.alias.value.clone());
            row.parts.gateway = entry_of(&workspace, gateway, model, &entry.alias.value);
        }
    }
    rows.sort_by(|one, other| one.live.model.cmp(&other.live.model));
    ui::print_status(&rows, arguments.json);
    Ok(Exit::Done)
}

/// Whether the gateway leads to what is deployed, under the name that the spec gives it; none where
/// nothing is known to be deployed.
fn entry_of(
    workspace: &Workspace,
    gateway: &Gateway,
    model: &Model,
    alias: &str,
) -> Option<ui::Part> {
    let (name, target) = (model.name.as_str(), workspace.target(model));
    let (Observation::Present { facts, .. } | Observation::Held { facts, .. }) =
        target.observe_deployment(name)
    else {
        return None;
    };
    let Some(key) = gateway.key(name) else { return Some(ui::Part::Missing) };
    let fact = |name: &str| facts.get(name).cloned().unwrap_or_default();
    let wanted = Entry {
        alias: alias.to_owned(),
        served_name: fact("served-name"),
        api_base: fact("url"),
        access: Access::with(&target.headers_of_deployed(model)),
        project: workspace.project.owner(),
        model: name.to_owned(),
        key,
    };
    let is_wanted = gateway.found(&wanted).is_some_and(|found| found == wanted);
    Some(if is_wanted { ui::Part::AsWanted } else { ui::Part::Drifted })
}

/// What stands around a model, as far as a plan tells.
fn parts(plan: &Plan, model: &str) -> ui::Parts {
    let part = |kind: &str| {
        let mut steps = plan.steps.iter().filter(|step| {
            step.kind == kind
                && step.action != Action::Remove
                && step.models.iter().any(|it| it == model)
        });
        let first = steps.next()?;
        let unseen = |step: &PlannedStep| {
            step.reasons.iter().any(|reason| reason.kind == ReasonKind::Unobserved)
        };
        let fine = |step: &PlannedStep| step.action == Action::Fresh && step.held.is_none();
        let all: Vec<&PlannedStep> = std::iter::once(first).chain(steps).collect();
        match all.iter().any(|step| unseen(step)) {
            true => None,
            false if all.iter().all(|step| fine(step)) => Some(ui::Part::AsWanted),
            false => Some(ui::Part::Missing),
        }
    };
    ui::Parts { weights: part("weights"), warmup: part("warmup"), gateway: None }
}

pub(crate) async fn logs(
    global: &Global,
    arguments: &LogsArgs,
    interrupt: &Interrupt,
) -> Result<Exit, Report> {
    let _attended = interrupt.attend();
    let (workspace, _) = part::open_anyway(global)?;
    let name = &arguments.name;
    let log = if name.contains(':') {
        let attempt = workspace.store.last_attempt(&StepId::from(name.as_str()))?;
        let log = attempt.map(|attempt| workspace.store.root().join(attempt.log));
        if log.as_ref().is_some_and(|log| !log.exists()) {
            ui::note(&format!("{name} ran and logged nothing"));
            return Ok(Exit::Done);
        }
        log
    } else {
        workspace.look().await?;
        if let Some(modal) = workspace.modal_of(name) {
            if modal.has_no_app(name) {
                return Err(NoLog { name: name.clone() }.into());
            }
            let stop = async {
                while !interrupt.asked() && !ui::is_unread() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            let (lines, follow) = (arguments.lines, arguments.follow);
            modal.print_logs(name, lines, follow, &ui::print_bytes, stop).await?;
            return Ok(Exit::Done);
        }
        let found = workspace.targets().iter().find_map(|target| target.log(name));
        if found.is_none() && !workspace.project.left_out.models.contains(name) {
            session::known(&workspace, name)?;
        }
        found
    };
    let log = log.ok_or_else(|| NoLog { name: name.clone() })?;
    let printed = print_log(&log, arguments, interrupt).await;
    printed.map(|()| Exit::Done).map_err(|source| {
        Report::from(UsageError::Variable {
            variable: "the log",
            value: source.to_string(),
            expected: "a readable file",
        })
    })
}

async fn print_log(log: &Path, arguments: &LogsArgs, interrupt: &Interrupt) -> std::io::Result<()> {
    let mut file = std::fs::File::open(log)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let mut at = text.len() as u64;
    let shown = match arguments.lines {
        Some(count) => {
            let body = text.strip_suffix(b"\n").unwrap_or(&text);
            let breaks = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
            let start =
                count.checked_sub(1).and_then(|skip| breaks.map(|(at, _)| at + 1).nth(skip));
            if count == 0 { &[][..] } else { &text[start.unwrap_or(0)..] }
        }
        None => &text[..],
    };
    ui::print_bytes(shown);
    while arguments.follow && !interrupt.asked() && !ui::is_unread() {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut file = std::fs::File::open(log)?;
        file.seek(SeekFrom::Start(at))?;
        let mut more = Vec::new();
        file.read_to_end(&mut more)?;
        at += more.len() as u64;
        ui::print_bytes(&more);
    }
    Ok(())
}
