//! `goatbuild release`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global, completions};
use crate::ops::rollback;

#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The model
    #[arg(add = ArgValueCandidates::new(completions::models))]
    model: String,
}

pub(crate) async fn run(global: &Global, arguments: &ReleaseArgs) -> Result<Exit, Report> {
    rollback::release(&global.site()?, &Terminal::default(), &arguments.model).await?;
    Ok(Exit::Done)
}
