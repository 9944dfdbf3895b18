//! `goatbuild show`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global, completions};
use crate::ops::show;
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The model
    #[arg(add = ArgValueCandidates::new(completions::models))]
    model: String,
    /// Print what is started in the image instead: environment variables and command line
    #[arg(long)]
    command: bool,
}

pub(crate) async fn run(global: &Global, arguments: &ShowArgs) -> Result<Exit, Report> {
    let ShowArgs { model, command } = arguments;
    let site = global.site()?;
    if *command {
        let started = show::command(&site, &Terminal::default(), model).await?;
        ui::print_text(&ui::command_text(&started.environment, &started.command));
    } else {
        ui::print_text(&show::values(&site.files()?, model)?);
    }
    Ok(Exit::Done)
}
