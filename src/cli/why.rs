//! `goatbuild why`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global, completions};
use crate::ops::why::{self, Explained};
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The step, such as `deploy:tiny`
    #[arg(add = ArgValueCandidates::new(completions::steps))]
    step: String,
    /// Trust the last run instead of looking at the world
    #[arg(long)]
    no_refresh: bool,
}

pub(crate) async fn run(global: &Global, arguments: &WhyArgs) -> Result<Exit, Report> {
    let WhyArgs { step, no_refresh } = arguments;
    let explained = why::why(&global.site()?, &Terminal::default(), step, *no_refresh).await?;
    let Explained { step, fingerprint, evidence, attempt } = &explained;
    ui::print_why(step, fingerprint.as_ref(), evidence.as_ref(), attempt.as_ref());
    Ok(Exit::Done)
}
