//! `goatbuild import`.

use std::path::PathBuf;

use clap::Args;
use miette::Report;

use super::{Exit, Global, init};
use crate::ops::import::{self, Import};
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The scripts; they are read and never run
    #[arg(required = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    scripts: Vec<PathBuf>,
    /// The LiteLLM file whose entries lead to what they deploy
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    gateway: Option<PathBuf>,
    /// Where to make the project; the current directory without one
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    to: Option<PathBuf>,
    /// Print the files instead of writing them
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(global: &Global, arguments: ImportArgs) -> Result<Exit, Report> {
    let ImportArgs { scripts, gateway, to, dry_run } = arguments;
    let to = to.or_else(|| global.directory.clone()).unwrap_or_else(|| PathBuf::from("."));
    let id = init::fresh_id(&to);
    let asked = Import { scripts, gateway, to, id, is_dry: dry_run };
    let written = import::import(&asked, &global.site()?.settings)?;
    ui::print_imported(&written.files, &written.lost, &written.better, dry_run);
    Ok(Exit::Done)
}
