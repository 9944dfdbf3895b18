//! `goatbuild status`.

use clap::Args;
use miette::Report;

use super::{Exit, Global, part, session};
use crate::gateways::litellm::gateway::Gateway;
use crate::gateways::litellm::{Access, Entry};
use crate::plan::{Action, Plan, PlannedStep, ReasonKind};
use crate::spec::{Model, TargetKind};
use crate::step::{Observation, StepId};
use crate::targets::Target;
use crate::ui;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(global: &Global, arguments: &StatusArgs) -> Result<Exit, Report> {
    let (workspace, _) = part::open_anyway(global)?;
    workspace.look().await?;
    let live: Vec<_> = workspace.targets.all().flat_map(Target::live).collect();
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
        rows.push(match workspace.targets.of(model).observe_deployment(name) {
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
    let (name, target) = (model.name.as_str(), workspace.targets.of(model));
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
