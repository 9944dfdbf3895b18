//! `goatbuild destroy`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global, completions};
use crate::ops;

#[derive(Debug, Args)]
pub(crate) struct DestroyArgs {
    /// The model; its spec need not exist any more
    #[arg(add = ArgValueCandidates::new(completions::models))]
    model: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Also remove what only this model has in volumes on Modal: its weights, unless another model
    /// of the project has them too, its compile caches, its earlier versions
    #[arg(long)]
    volumes: bool,
}

pub(crate) async fn run(global: &Global, arguments: &DestroyArgs) -> Result<Exit, Report> {
    let DestroyArgs { model, yes, volumes } = arguments;
    let (site, terminal) = (global.site()?, Terminal::default());
    ops::destroy::destroy(&site, &terminal, model, *volumes, *yes).await?;
    Ok(Exit::Done)
}
