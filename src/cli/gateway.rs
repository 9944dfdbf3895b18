//! `goatbuild gateway render` and `goatbuild gateway check`.

use clap::Subcommand;
use miette::Report;

use super::{Exit, Global};
use crate::ops::gateway;
use crate::ui;

#[derive(Debug, Subcommand)]
pub(crate) enum GatewayCommand {
    /// Print the LiteLLM file as it would be with the entries of what is deployed
    Render,
    /// Check the LiteLLM file for what the proxy would stumble over
    Check,
}

pub(crate) async fn run(global: &Global, command: &GatewayCommand) -> Result<Exit, Report> {
    let site = global.site()?;
    match command {
        GatewayCommand::Render => ui::print_text(&gateway::render(&site).await?),
        GatewayCommand::Check => {
            let checks = gateway::check(&site)?;
            checks.iter().for_each(ui::print_check);
            if checks.iter().any(crate::runtime::Check::is_wrong) {
                return Ok(Exit::Failed);
            }
        }
    }
    Ok(Exit::Done)
}
