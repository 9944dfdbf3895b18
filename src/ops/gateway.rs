//! The gateway's file: as it would be, and what a proxy would stumble over in it.

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::open::{self, Site};
use crate::gateways::{self, Endpoint, Gateway, Severity};
use crate::runtime::Check;
use crate::targets::Target;

#[derive(Debug, Error, Diagnostic)]
#[error("this project has no gateway")]
#[diagnostic(
    code(goatbuild::usage::no_gateway),
    help("add {} to goatbuild.toml", gateways::EXAMPLE)
)]
struct NoGateway;

/// The file as it would be with the entries of what is deployed.
pub async fn render(site: &Site) -> Result<String, Report> {
    let workspace = open::whole(site)?;
    let gateway = workspace.gateway.as_deref().ok_or(NoGateway)?;
    workspace.look().await?;
    let project = &workspace.project;
    let endpoints: Vec<Endpoint> = workspace
        .targets
        .all()
        .flat_map(Target::live)
        .filter_map(|live| {
            let model = project.models.get(live.model.as_str())?;
            let endpoint = |alias: &str, served_name: &str, model_name: String| Endpoint {
                alias: alias.to_owned(),
                served_name: served_name.to_owned(),
                url: live.url.clone(),
                headers: workspace.targets.of(model).headers(model),
                api: workspace.api_of(model),
                project: project.owner(),
                key: gateway.key(&model_name).unwrap_or_default(),
                model: model_name,
            };
            let entry = model.gateway.as_ref()?;
            let own =
                endpoint(&entry.alias.value, model.serve.served_names.first(), live.model.clone());
            let adapters = model.adapters.iter().map(|adapter| {
                let name = &adapter.value;
                endpoint(&entry.adapter_alias(name), name, format!("{}/{name}", live.model))
            });
            Some(std::iter::once(own).chain(adapters).collect::<Vec<_>>())
        })
        .flatten()
        .collect();
    gateway.render(&endpoints)
}

/// What a proxy would stumble over in the project's file.
pub fn check(site: &Site) -> Result<Vec<Check>, Report> {
    let workspace = open::whole(site)?;
    problems(workspace.gateway.as_deref().ok_or(NoGateway)?)
}

/// What a proxy would stumble over, or that all is in order.
pub(super) fn problems(gateway: &dyn Gateway) -> Result<Vec<Check>, Report> {
    let name = "gateway";
    let problems = gateway.problems()?;
    if problems.is_empty() {
        let detail = format!("{} is in order", gateway.name());
        return Ok(vec![Check { name, ok: Some(true), detail, help: None }]);
    }
    let told = problems.into_iter().map(|problem| {
        let detail = format!("{}:{}: {}", problem.path, problem.line, problem.message);
        Check { name, ok: Some(problem.severity != Severity::Error), detail, help: None }
    });
    Ok(told.collect())
}
