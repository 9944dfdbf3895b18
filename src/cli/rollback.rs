//! `goatbuild rollback`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global, completions};
use crate::ops::rollback::{self, Rollback};

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The model, served on Modal
    #[arg(add = ArgValueCandidates::new(completions::models))]
    model: String,
    /// Modal's number of the version, such as `v3`; the one before what stands when not given
    #[arg(value_parser = version)]
    version: Option<u32>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

fn version(text: &str) -> Result<u32, String> {
    text.strip_prefix('v').unwrap_or(text).parse().map_err(|_| "expected one like v3".to_owned())
}

pub(crate) async fn run(global: &Global, arguments: RollbackArgs) -> Result<Exit, Report> {
    let RollbackArgs { model, version, yes: agreed } = arguments;
    let rollback = Rollback { model, version, agreed };
    rollback::roll_back(&global.site()?, &Terminal::default(), &rollback).await?;
    Ok(Exit::Done)
}
