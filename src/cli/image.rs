//! `goatbuild image …`: what was built, for a look and for handing on.

use clap::{Args, Subcommand};
use miette::Report;

use super::image_export::{self, ExportArgs, LoadArgs};
use super::image_push::{self, PushArgs};
use super::{Exit, Global, image_built, part};
use crate::blocking::blocking;
use crate::ui;

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Print an image's digest, layers and configuration
    Inspect(InspectArgs),
    /// Read all of an image's bytes and compare them with their digests and with the lock
    Verify(VerifyArgs),
    /// Hand an image to Docker or Podman
    Load(LoadArgs),
    /// Send an image to a registry, and print what it can be pulled as
    Push(PushArgs),
    /// Write an image as one archive that Docker, Podman and skopeo read
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The image
    image: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The image
    image: String,
}

pub(crate) async fn run(global: &Global, command: &ImageCommand) -> Result<Exit, Report> {
    match command {
        ImageCommand::Inspect(arguments) => inspect(global, arguments).await,
        ImageCommand::Verify(arguments) => verify(global, arguments).await,
        ImageCommand::Load(arguments) => image_export::load(global, arguments).await,
        ImageCommand::Push(arguments) => image_push::push(global, arguments).await,
        ImageCommand::Export(arguments) => image_export::export(global, arguments).await,
    }
}

async fn inspect(global: &Global, arguments: &InspectArgs) -> Result<Exit, Report> {
    let (workspace, readable) = part::open_anyway(global)?;
    let found = image_built::find(global, &workspace, readable, &arguments.image).await?;
    let image = found.layout.read_image(&found.digest)?;
    ui::print_image(&arguments.image, &image, arguments.json);
    Ok(Exit::Done)
}

async fn verify(global: &Global, arguments: &VerifyArgs) -> Result<Exit, Report> {
    let (workspace, readable) = part::open_anyway(global)?;
    let name = &arguments.image;
    let found = image_built::find(global, &workspace, readable, name).await?;
    let (reporter, finish) = ui::preparing();
    reporter.message(format!("reading {name}"));
    let verified = {
        let (layout, digest) = (found.layout.clone(), found.digest.clone());
        blocking(move || layout.verify(&digest, &reporter)).await
    };
    finish();
    verified?;
    found.check_tag(global, name)?;
    let known = if found.is_locked { "as locked" } else { "the lock does not know it" };
    ui::checked(true, name, &format!("{}, {known}", found.digest), None);
    Ok(Exit::Done)
}
