//! `goatbuild gateway render` and `goatbuild gateway check`.

use clap::Subcommand;
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::{Exit, Global, session};
use crate::gateways::litellm::gateway::Gateway;
use crate::gateways::litellm::{Access, Entry, Severity};
use crate::targets::Target;
use crate::ui;

#[derive(Debug, Subcommand)]
pub(crate) enum GatewayCommand {
    /// Print the LiteLLM file as it would be with the entries of what is deployed
    Render,
    /// Check the LiteLLM file for what the proxy would stumble over
    Check,
}

#[derive(Debug, Error, Diagnostic)]
#[error("this project has no gateway")]
#[diagnostic(
    code(goatbuild::usage::no_gateway),
    help("add `[gateway.litellm]` with `config = \"litellm.yaml\"` to goatbuild.toml")
)]
struct NoGateway;

pub(crate) async fn run(global: &Global, command: &GatewayCommand) -> Result<Exit, Report> {
    let workspace = session::open(global)?;
    let gateway = workspace.gateway.as_ref().ok_or(NoGateway)?;
    match command {
        GatewayCommand::Render => {
            workspace.look().await?;
            let project = &workspace.project;
            let entries: Vec<Entry> = workspace
                .targets
                .all()
                .flat_map(Target::live)
                .filter_map(|live| {
                    let model = project.models.get(live.model.as_str())?;
                    Some(Entry {
                        alias: model.gateway.as_ref()?.alias.value.clone(),
                        served_name: model.serve.served_names.first().to_owned(),
                        api_base: live.url,
                        access: Access::with(&workspace.targets.of(model).headers(model)),
                        project: project.owner(),
                        key: gateway.key(&live.model).unwrap_or_default(),
                        model: live.model,
                    })
                })
                .collect();
            ui::print_text(&gateway.render(&entries)?);
            Ok(Exit::Done)
        }
        GatewayCommand::Check => Ok(if report(gateway)? { Exit::Done } else { Exit::Failed }),
    }
}

/// Prints what a proxy would stumble over; says whether it would run.
pub(super) fn report(gateway: &Gateway) -> Result<bool, Report> {
    let problems = gateway.problems()?;
    if problems.is_empty() {
        ui::checked(true, "gateway", &format!("{} is in order", gateway.name()), None);
    }
    let mut fine = true;
    for problem in problems {
        let wrong = problem.severity == Severity::Error;
        fine &= !wrong;
        let place = format!("{}:{}: {}", problem.path, problem.line, problem.message);
        ui::checked(!wrong, "gateway", &place, None);
    }
    Ok(fine)
}
