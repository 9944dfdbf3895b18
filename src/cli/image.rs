//! `goatbuild image …`: what was built, for a look and for handing on.

use clap::{Args, Subcommand};
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::image_export::{self, ExportArgs, LoadArgs};
use super::image_push::{self, PushArgs};
use super::session::{self, unknown};
use super::{Exit, Global};
use crate::blocking::blocking;
use crate::oci::{Image, Layout, OciError};
use crate::step::StepId;
use crate::ui;
use crate::workspace::Workspace;

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

/// Why an image can't be looked at or handed on.
#[derive(Debug, Error, Diagnostic)]
enum ImageError {
    /// It was never built here, or `cache/` was deleted.
    #[error("image {image} is not built")]
    #[diagnostic(
        code(goatbuild::image::not_built),
        help("run `goatbuild apply --only image:{image}`")
    )]
    NotBuilt {
        /// The image.
        image: String,
    },
    /// The cache has another image than the lock.
    #[error("image {image} is {found} in the cache, and {locked} in goatbuild.lock")]
    #[diagnostic(
        code(goatbuild::image::not_as_locked),
        help("run `goatbuild apply --only image:{image}`, which builds what is locked")
    )]
    NotAsLocked {
        /// The image.
        image: String,
        /// In the cache.
        found: String,
        /// In the lock.
        locked: String,
    },
}

pub(crate) async fn run(global: &Global, command: &ImageCommand) -> Result<Exit, Report> {
    match command {
        ImageCommand::Inspect(arguments) => inspect(global, arguments),
        ImageCommand::Verify(arguments) => verify(global, arguments).await,
        ImageCommand::Load(arguments) => image_export::load(global, arguments).await,
        ImageCommand::Push(arguments) => image_push::push(global, arguments).await,
        ImageCommand::Export(arguments) => image_export::export(global, arguments).await,
    }
}

fn inspect(global: &Global, arguments: &InspectArgs) -> Result<Exit, Report> {
    let (workspace, _) = session::open_anyway(global)?;
    let (layout, digest) = built(&workspace, &arguments.image)?;
    let image = layout.read_image(&digest)?;
    ui::print_image(&arguments.image, &image, arguments.json);
    Ok(Exit::Done)
}

async fn verify(global: &Global, arguments: &VerifyArgs) -> Result<Exit, Report> {
    let (workspace, _) = session::open_anyway(global)?;
    let name = arguments.image.clone();
    let (layout, digest) = built(&workspace, &name)?;
    let (reporter, finish) = ui::preparing();
    reporter.message(format!("reading {name}"));
    let verified = {
        let (layout, digest) = (layout.clone(), digest.clone());
        blocking(move || Ok(layout.verify(&digest, &reporter)?)).await
    };
    finish();
    verified?;
    let id = StepId::new("image", &name);
    let locked = workspace
        .lock(|lock| lock.built.get(&id).and_then(|built| built.facts.get("digest").cloned()));
    match locked {
        Some(locked) if locked != digest => {
            return Err(ImageError::NotAsLocked { image: name, found: digest, locked }.into());
        }
        Some(_) => ui::checked(true, &name, &format!("{digest}, as locked"), None),
        None => ui::checked(true, &name, &format!("{digest}; the lock does not know it"), None),
    }
    Ok(Exit::Done)
}

/// The layout, and the digest of the image that was built last under this name.
fn built(workspace: &Workspace, name: &str) -> Result<(Layout, String), Report> {
    let layout = workspace.layout()?;
    let tags = layout.tags()?;
    let digest = tags.iter().find(|(tag, _)| tag == name).map(|(_, digest)| digest.clone());
    let images = &workspace.project.images;
    match digest {
        Some(digest) if layout.blobs().has(&digest)? => Ok((layout, digest)),
        None if images.get(name).is_none() => {
            let known = images.keys().map(crate::spec::ImageName::as_str);
            Err(unknown("image", name, known).into())
        }
        _ => Err(ImageError::NotBuilt { image: name.to_owned() }.into()),
    }
}

/// The image as it was built here, complete.
pub(super) fn complete(workspace: &Workspace, name: &str) -> Result<(Layout, Image), Report> {
    let images = &workspace.project.images;
    if !images.contains_key(name) {
        let known = images.keys().map(crate::spec::ImageName::as_str);
        return Err(unknown("image", name, known).into());
    }
    let layout = workspace.layout()?;
    match layout.read_image(name) {
        Ok(image) if image.is_complete(&layout) => Ok((layout, image)),
        Ok(_) | Err(OciError::NoImage { .. } | OciError::Missing { .. }) => {
            Err(ImageError::NotBuilt { image: name.to_owned() }.into())
        }
        Err(error) => Err(error.into()),
    }
}
