//! `goatbuild status`.

use clap::Args;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global};
use crate::ops::status;
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(global: &Global, arguments: &StatusArgs) -> Result<Exit, Report> {
    let rows = status::status(&global.site()?, &Terminal::default()).await?;
    ui::print_status(&rows, arguments.json);
    Ok(Exit::Done)
}
