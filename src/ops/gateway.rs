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
            Some(Endpoint {
                alias: model.gateway.as_ref()?.alias.value.clone(),
                served_name: model.serve.served_names.first().to_owned(),
                url: live.url,
                headers: workspace.targets.of(model).headers(model),
                project: project.owner(),
                key: gateway.key(&live.model).unwrap_or_default(),
                model: live.model,
            })
        })
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
        return Ok(vec![Check { name, ok: true, detail, help: None }]);
    }
    let told = problems.into_iter().map(|problem| {
        let detail = format!("{}:{}: {}", problem.path, problem.line, problem.message);
        Check { name, ok: problem.severity != Severity::Error, detail, help: None }
    });
    Ok(told.collect())
}
