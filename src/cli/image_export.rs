//! `goatbuild image load` and `goatbuild image export`: images for others to run.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::{Exit, Global, image_built, part};
use crate::blocking::blocking;
use crate::container::{self, ContainerEngine, image_name};
use crate::durable::{TEMPORARY, Unfinished};
use crate::oci::{OciError, archive_size, write_archive};
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The image
    image: String,
    /// Who takes it; the one that answers, Docker first, without it
    into: Option<Into>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Into {
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

/// Why an image can't be handed on.
#[derive(Debug, Error, Diagnostic)]
enum ExportError {
    /// An archive is nothing for a terminal.
    #[error("an archive on a terminal is of no use")]
    #[diagnostic(code(goatbuild::usage::terminal), help("name a file, or pipe it to a program"))]
    Terminal,
    /// The file can't be written.
    #[error("{} can't be written: {source}", path.display())]
    #[diagnostic(code(goatbuild::image::file), help("is the disk full? check the permissions"))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

pub(crate) async fn load(global: &Global, arguments: &LoadArgs) -> Result<Exit, Report> {
    let (workspace, readable) = part::open_anyway(global)?;
    let found = image_built::find(global, &workspace, readable, &arguments.image).await?;
    let (layout, image) = found.complete(global, &arguments.image)?;
    let kind = match arguments.into {
        Some(Into::Docker) => ContainerEngine::Docker,
        Some(Into::Podman) => ContainerEngine::Podman,
        None => whoever_answers().await?,
    };
    let (reporter, finish) = ui::preparing();
    let name = &arguments.image;
    let called = image_name(workspace.project.id.as_str(), name, &image);
    let handed = container::hand_over(kind, &layout, &image, &called, &reporter).await;
    finish();
    let (id, is_new) = handed?;
    let verb = if is_new { "has taken" } else { "has" };
    ui::note(&format!("{kind} {verb} image {name} as {id}"));
    ui::print_line(&called);
    Ok(Exit::Done)
}

/// Docker, or else Podman, or else what Docker has to say.
async fn whoever_answers() -> Result<ContainerEngine, Report> {
    let linux = std::env::consts::OS == "linux";
    let refused = match container::probe(ContainerEngine::Docker, linux).await {
        Ok(engine) => return Ok(engine.kind),
        Err(refused) => refused,
    };
    match container::probe(ContainerEngine::Podman, linux).await {
        Ok(engine) => Ok(engine.kind),
        Err(_) => Err(refused.into()),
    }
}

pub(crate) async fn export(global: &Global, arguments: &ExportArgs) -> Result<Exit, Report> {
    let (workspace, readable) = part::open_anyway(global)?;
    let found = image_built::find(global, &workspace, readable, &arguments.image).await?;
    let (layout, image) = found.complete(global, &arguments.image)?;
    let file = arguments.file.clone();
    let is_stdout = file == Path::new("-");
    if is_stdout && std::io::stdout().is_terminal() {
        return Err(ExportError::Terminal.into());
    }
    let name = image_name(workspace.project.id.as_str(), &arguments.image, &image);
    let (reporter, finish) = ui::preparing();
    let size = archive_size(&layout, &image)?;
    reporter.expect(size);
    let (path, called) = (file.clone(), name.clone());
    let written = blocking(move || -> Result<(), Report> {
        if is_stdout {
            let out = std::io::stdout().lock();
            return match write_archive(&layout, &image, &called, out, &reporter) {
                // Who reads has had enough.
                Err(OciError::Archive { source }) if source.kind() == ErrorKind::BrokenPipe => {
                    Ok(())
                }
                written => Ok(written.map(drop)?),
            };
        }
        // Under its name once it is whole, like everything else.
        let failed = |source| ExportError::File { path: path.clone(), source };
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let archive = Unfinished::begin(parent, TEMPORARY, 0o644).map_err(failed)?;
        let archive = write_archive(&layout, &image, &called, archive, &reporter)?;
        Ok(archive.finish(&path).map_err(failed)?)
    })
    .await;
    finish();
    written?;
    let _ = std::io::stdout().flush();
    if !is_stdout {
        ui::note(&format!("{name}: {} in {}", ui::bytes(size), file.display()));
    }
    Ok(Exit::Done)
}
