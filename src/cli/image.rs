//! `goatbuild image …`: what was built, for a look and for handing on.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::frontend::Terminal;
use super::{Exit, Global};
use crate::container::ContainerEngine;
use crate::exec::Interrupt;
use crate::ops::handing::{self, Archive};
use crate::ops::images;
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

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The image
    image: String,
    /// Who takes it; the one that answers, Docker first, without it
    into: Option<Engine>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Engine {
    Docker,
    Podman,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The image
    image: String,
    /// The archive to write; `-` is standard output
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The image
    image: String,
    /// Where to, as HOST/PATH:TAG; below `[target.modal] registry` without it
    reference: Option<String>,
}

/// An archive is nothing for a terminal.
#[derive(Debug, Error, Diagnostic)]
#[error("an archive on a terminal is of no use")]
#[diagnostic(code(goatbuild::usage::terminal), help("name a file, or pipe it to a program"))]
struct OnTerminal;

pub(crate) async fn run(
    global: &Global,
    command: &ImageCommand,
    interrupt: &Interrupt,
) -> Result<Exit, Report> {
    let (site, terminal) = (global.site()?, Terminal::default());
    match command {
        ImageCommand::Inspect(InspectArgs { image, json }) => {
            let (_, found) = images::find(&site, &terminal, image).await?;
            ui::print_image(image, &found.layout.image(found.digest)?, *json);
        }
        ImageCommand::Verify(VerifyArgs { image }) => {
            let found = handing::verify(&site, &terminal, image, interrupt).await?;
            let known = if found.is_locked { "as locked" } else { "the lock does not know it" };
            ui::checked(Some(true), image, &format!("{}, {known}", found.digest), None);
        }
        ImageCommand::Load(LoadArgs { image, into }) => {
            let kind = into.map(|engine| match engine {
                Engine::Docker => ContainerEngine::Docker,
                Engine::Podman => ContainerEngine::Podman,
            });
            ui::print_line(&handing::load(&site, &terminal, image, kind, interrupt).await?);
        }
        ImageCommand::Push(PushArgs { image, reference }) => {
            let pushed =
                handing::push(&site, &terminal, image, reference.as_deref(), interrupt).await?;
            ui::print_line(&pushed.to_string());
        }
        ImageCommand::Export(ExportArgs { image, file }) => {
            let out = std::io::stdout();
            let to = match file == Path::new("-") {
                true if out.is_terminal() => return Err(OnTerminal.into()),
                true => Archive::Stream(Box::new(out)),
                false => Archive::File(file.clone()),
            };
            handing::export(&site, &terminal, image, to, interrupt).await?;
        }
    }
    Ok(Exit::Done)
}
