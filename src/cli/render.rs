//! `goatbuild render`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global, completions};
use crate::ops::render;
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// The model, served on Modal
    #[arg(add = ArgValueCandidates::new(completions::models))]
    model: String,
    /// Write the programs below DIR instead: plain `modal deploy` runs them, in any workspace
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(global: &Global, arguments: &RenderArgs) -> Result<Exit, Report> {
    let RenderArgs { model, out } = arguments;
    let site = global.site()?;
    let program = render::render(&site, &Terminal::default(), model, out.as_deref()).await?;
    if let Some(program) = program {
        ui::print_text(&program);
    }
    Ok(Exit::Done)
}
