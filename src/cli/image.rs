//! `goatbuild image …`: what was built, for a look and for handing on.

use clap::Subcommand;
use miette::Report;

use super::image_export::{self, ExportArgs, LoadArgs};
use super::{Exit, Global};

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Hand an image to Docker or Podman
    Load(LoadArgs),
    /// Write an image as one archive that Docker, Podman and skopeo read
    Export(ExportArgs),
}

pub(crate) async fn run(global: &Global, command: &ImageCommand) -> Result<Exit, Report> {
    match command {
        ImageCommand::Load(arguments) => image_export::load(global, arguments).await,
        ImageCommand::Export(arguments) => image_export::export(global, arguments).await,
    }
}
