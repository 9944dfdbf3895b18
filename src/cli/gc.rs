//! `goatbuild gc`.

use clap::Args;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global};
use crate::ops::gc::{self, Cleaning};
use crate::ui;

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct GcArgs {
    /// Only tell what would be removed
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Keep what the last N runs of each environment made
    #[arg(long, value_name = "N", default_value_t = 3)]
    keep_runs: u32,
    /// Also ask Docker and Podman for images of this project that nothing needs
    #[arg(long)]
    loaded: bool,
    /// List every file and directory
    #[arg(long, short)]
    verbose: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(global: &Global, arguments: &GcArgs) -> Result<Exit, Report> {
    let GcArgs { dry_run, keep_runs, loaded, verbose, json } = *arguments;
    let cleaning = Cleaning { dry_run, keep_runs, loaded };
    let found = gc::clean(&global.site()?, &Terminal::default(), cleaning).await?;
    let cleaned = ui::Cleaned { found: &found.pieces, loaded: found.loaded, removed: !dry_run };
    ui::print_garbage(&cleaned, verbose, json);
    Ok(Exit::Done)
}
