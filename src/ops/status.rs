//! What is served right now, beside what the specs want.

use miette::Report;

use super::open::{self, Site};
use super::{Frontend, plan};
use crate::gateways::{Endpoint, Gateway};
use crate::plan::{Action, Plan, PlannedStep, ReasonKind};
use crate::served::{Part, Parts, Spending, StatusRow, Verdict};
use crate::spec::{Auth, Model};
use crate::step::{Fact, Observation, StepError, StepId, Subject};
use crate::targets::Target;
use crate::workspace::{SharedWorkspace, Workspace};

/// How everything that is deployed or wanted is; and what was spent today where a budget is given. No model
/// is asked anything at its target.
pub async fn status(
    site: &Site,
    frontend: &dyn Frontend,
    budget: Option<f64>,
) -> Result<(Vec<StatusRow>, Option<Result<Spending, StepError>>), Report> {
    let (workspace, _) = open::anyway(site, frontend)?;
    let rows = rows(&workspace).await?;
    let Some(budget) = budget else { return Ok((rows, None)) };
    Ok((rows, Some(spending(&workspace, budget).await)))
}

async fn spending(workspace: &Workspace, budget: f64) -> Result<Spending, StepError> {
    let mut spent = Vec::new();
    for bills in workspace.targets.all().filter_map(Target::bills) {
        spent.push(bills.spent().await?);
    }
    Ok(Spending { budget, spent })
}

async fn rows(workspace: &SharedWorkspace) -> Result<Vec<StatusRow>, Report> {
    workspace.look().await?;
    workspace.ask(&[]).await?;
    let live: Vec<_> = workspace.targets.all().flat_map(Target::live).collect();
    // What is served is known without a lock; whether it is what the specs want is not.
    let planned = plan::quietly(workspace).await.ok();
    let left_out = &workspace.project.left_out;
    let step = |id: StepId| planned.as_ref().and_then(|planned| planned.plan.get(&id));
    let mut rows: Vec<StatusRow> = live
        .into_iter()
        .map(|live| {
            let deploy = step(StepId::deploy(&live.model));
            let smoke = step(StepId::smoke(&live.model));
            let wanted = deploy.and_then(|step| step.key);
            let known = workspace.project.models.contains_key(live.model.as_str());
            let verdict = match (deploy, smoke) {
                _ if workspace.project.absent.contains_key(live.model.as_str()) => Verdict::Leaving,
                _ if left_out.models.contains(&live.model) => Verdict::Unknown,
                _ if !known => Verdict::Unwanted,
                (None, _) => Verdict::Unknown,
                (Some(deploy), _) if deploy.held.is_some() => Verdict::Held,
                _ if live.state == "starting" => Verdict::Starting,
                (Some(_), _) if live.state == "stopped" && wanted == live.key => Verdict::Stopped,
                (Some(_), _) if live.state == "silent" && wanted == live.key => Verdict::Silent,
                (Some(deploy), _) if deploy.action != Action::Fresh => Verdict::Differs,
                (_, Some(smoke)) if smoke.is_left_open() => Verdict::Unproven,
                (_, Some(smoke)) if smoke.action != Action::Fresh => Verdict::Untested,
                _ => Verdict::AsSpecified,
            };
            let (alias, auth, parts) = (None, None, Parts::default());
            StatusRow { live, alias, wanted, auth, parts, verdict }
        })
        .collect();
    for model in workspace.project.models.values() {
        let name = model.name.as_str();
        if rows.iter().any(|row| row.live.model == name) {
            continue;
        }
        rows.push(match workspace.targets.of(model).observe_deployment(name) {
            Observation::Unobserved(Some(why)) => StatusRow::unobserved(name, why),
            Observation::Foreign { owner, .. } => StatusRow::foreign(name, owner),
            _ => StatusRow::absent(name),
        });
    }
    for model in workspace.project.absent.keys() {
        if !rows.iter().any(|row| row.live.model == model.as_str()) {
            let row = StatusRow::absent(model.as_str());
            rows.push(StatusRow { verdict: Verdict::AsSpecified, ..row });
        }
    }
    for model in &left_out.models {
        if !rows.iter().any(|row| row.live.model == *model) {
            let why = "its spec or its image has mistakes: `goatbuild check` shows them".to_owned();
            rows.push(StatusRow::unobserved(model, why));
        }
    }
    for row in &mut rows {
        if let Some(planned) = &planned {
            row.parts = parts(&planned.plan, &row.live.model);
        }
        let Some(model) = workspace.project.models.get(row.live.model.as_str()) else { continue };
        let is_open = model.serve.auth == Auth::Open && model.target.auths()[0] == Auth::Open;
        row.auth = Some(model.serve.auth).filter(|_| !is_open || row.live.auth.is_some());
        if let (Some(gateway), Some(entry)) = (workspace.gateway.as_deref(), &model.gateway) {
            row.alias = Some(entry.alias.value.clone());
            row.parts.gateway = entry_of(workspace, gateway, model, &entry.alias.value);
        }
    }
    rows.sort_by(|one, other| one.live.model.cmp(&other.live.model));
    Ok(rows)
}

/// Whether the gateway leads to what is deployed, under the name that the spec gives it; none where
/// nothing is known to be deployed.
fn entry_of(
    workspace: &Workspace,
    gateway: &dyn Gateway,
    model: &Model,
    alias: &str,
) -> Option<Part> {
    let (name, target) = (model.name.as_str(), workspace.targets.of(model));
    let (Observation::Present { facts, .. } | Observation::Held { facts, .. }) =
        target.observe_deployment(name)
    else {
        return None;
    };
    let Some(key) = gateway.key(name) else { return Some(Part::Missing) };
    let wanted = Endpoint {
        alias: alias.to_owned(),
        served_name: Fact::SERVED_NAME.text_of(&facts).to_owned(),
        url: Fact::URL.text_of(&facts).to_owned(),
        headers: target.headers_of_deployed(model),
        api: workspace.api_of(model),
        project: workspace.project.owner(),
        model: name.to_owned(),
        key,
    };
    Some(if gateway.is_as_wanted(&wanted) { Part::AsWanted } else { Part::Drifted })
}

/// What stands around a model, as far as a plan tells.
fn parts(plan: &Plan, model: &str) -> Parts {
    let part = |is_part: &dyn Fn(&StepId) -> bool| {
        let mut steps = plan.steps.iter().filter(|step| {
            is_part(&step.id)
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
            false if all.iter().all(|step| fine(step)) => Some(Part::AsWanted),
            false => Some(Part::Missing),
        }
    };
    let weights = part(&|step| matches!(step.subject(), Subject::Weights(_)));
    Parts { weights, warmup: part(&|step| *step == StepId::warmup(model)), gateway: None }
}
