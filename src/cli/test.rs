//! `goatbuild test`.

use std::time::Duration;

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
    /// How long each call may take; 120 seconds on this machine, elsewhere long enough for a replica to start
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Print one JSON object per call
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(global: &Global, arguments: &TestArgs) -> Result<Exit, Report> {
    let TestArgs { model, timeout, json } = arguments;
    let patience = timeout.map(Duration::from_secs);
    let mut calls = ui::Calls::new(*json);
    let mut tell = |tried: crate::served::Tried<'_>| calls.tell(&tried);
    test::test(&global.site()?, &Terminal::default(), model, patience, &mut tell).await?;
    Ok(Exit::Done)
}
