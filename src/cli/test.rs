//! `goatbuild test`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global, completions};
use crate::ops::test;
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The model
    #[arg(add = ArgValueCandidates::new(completions::models))]
    model: String,
    /// Print one JSON object per call
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(global: &Global, arguments: &TestArgs) -> Result<Exit, Report> {
    let TestArgs { model, json } = arguments;
    let mut calls = ui::Calls::new(*json);
    let mut tell = |tried: crate::served::Tried<'_>| calls.tell(&tried);
    test::test(&global.site()?, &Terminal::default(), model, &mut tell).await?;
    Ok(Exit::Done)
}
