//! Handing an image on: to Docker or Podman, into an archive, to a registry.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::open::Site;
use super::{Frontend, Work, images};
use crate::blocking::blocking;
use crate::container::{self, ContainerEngine, image_name};
use crate::durable::{TEMPORARY, Unfinished};
use crate::event::Reporter;
use crate::oci::{Image, Layout, OciError, archive_size, write_archive};
use crate::spec::{ImageReference, NotAReference};
use crate::step::StepError;
use crate::words::bytes;
use crate::workspace::Workspace;

/// The archive can't be written.
#[derive(Debug, Error, Diagnostic)]
#[error("{} can't be written: {source}", path.display())]
#[diagnostic(code(goatbuild::image::file), help("is the disk full? check the permissions"))]
struct Unwritten {
    path: PathBuf,
    source: std::io::Error,
}

/// Why it isn't known where to push to.
#[derive(Debug, Error, Diagnostic)]
enum PushError {
    /// Neither the command nor the project says where to.
    #[error("it isn't said where image {image} is to be pushed")]
    #[diagnostic(
        code(goatbuild::usage::reference),
        help("write it: `goatbuild image push {image} HOST/PATH:TAG`")
    )]
    Nowhere {
        /// The image.
        image: String,
    },
    /// It names no image in a registry.
    #[error("`{text}` is no place for an image: {source}")]
    #[diagnostic(
        code(goatbuild::usage::reference),
        help("write the registry, the path there and a tag: HOST/PATH:TAG")
    )]
    Reference {
        /// As written.
        text: String,
        /// What was expected.
        source: NotAReference,
    },
    /// What a push gets there has its own digest.
    #[error("`{text}` names a digest: a push goes to a tag")]
    #[diagnostic(code(goatbuild::usage::reference), help("leave out the `@` and what follows"))]
    Pinned {
        /// As written.
        text: String,
    },
}

/// Reads all of an image's bytes and compares them with their digests and with the lock.
pub async fn verify(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
) -> Result<images::Built, Report> {
    let (_, found) = images::find(site, frontend, name).await?;
    let verified = frontend.showing(Work::Prepares, async |reporter| {
        reporter.message(format!("reading {name}"));
        let (layout, digest, reporter) = (found.layout.clone(), found.digest, reporter.clone());
        blocking(move || layout.verify(digest, &reporter)).await
    });
    verified.await?;
    found.check_tag(site, name)?;
    Ok(found)
}

/// Hands an image to Docker or Podman, whoever answers without a `kind`; gives what it is called
/// there.
pub async fn load(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
    kind: Option<ContainerEngine>,
) -> Result<String, Report> {
    let (workspace, found) = images::find(site, frontend, name).await?;
    let (layout, image) = found.complete(site, name)?;
    let kind = match kind {
        Some(kind) => kind,
        None => whoever_answers().await?,
    };
    let called = image_name(workspace.project.id.as_str(), name, &image);
    let handed = frontend.showing(Work::Prepares, async |reporter| {
        container::hand_over(kind, &layout, &image, &called, reporter).await
    });
    let (id, is_new) = handed.await?;
    let verb = if is_new { "has taken" } else { "has" };
    frontend.note(&format!("{kind} {verb} image {name} as {id}"));
    Ok(called)
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

/// Where an archive goes.
pub enum Archive {
    /// To whoever reads this.
    Stream(Box<dyn Write + Send>),
    /// Into a file, under its name once it is whole.
    File(PathBuf),
}

/// Writes an image as one archive.
pub async fn export(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
    to: Archive,
) -> Result<(), Report> {
    let (workspace, found) = images::find(site, frontend, name).await?;
    let (layout, image) = found.complete(site, name)?;
    let called = image_name(workspace.project.id.as_str(), name, &image);
    let expected = archive_size(&layout, &image)?;
    let told = match &to {
        Archive::File(path) => Some(format!("{called}: {} in {}", bytes(expected), path.display())),
        Archive::Stream(_) => None,
    };
    let written = frontend.showing(Work::Prepares, async |reporter| {
        reporter.expect(expected);
        let reporter = reporter.clone();
        blocking(move || match to {
            Archive::Stream(out) => match write_archive(&layout, &image, &called, out, &reporter) {
                // Who reads has had enough.
                Err(OciError::Archive { source }) if source.kind() == ErrorKind::BrokenPipe => {
                    Ok(())
                }
                // What was left to write went to somebody who has had enough.
                written => {
                    let _ = written?.flush();
                    Ok(())
                }
            },
            Archive::File(path) => write_file(&layout, &image, &called, &path, &reporter),
        })
        .await
    });
    written.await?;
    if let Some(told) = told {
        frontend.note(&told);
    }
    Ok(())
}

fn write_file(
    layout: &Layout,
    image: &Image,
    called: &str,
    path: &Path,
    reporter: &Reporter,
) -> Result<(), StepError> {
    let failed = |source| Unwritten { path: path.to_owned(), source };
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let archive = Unfinished::begin(parent, TEMPORARY, 0o644).map_err(failed)?;
    let archive = write_archive(layout, image, called, archive, reporter)?;
    Ok(archive.finish(path).map_err(failed)?)
}

/// Sends an image to a registry, the project's own without a `reference`; gives what it can be pulled
/// as.
pub async fn push(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
    reference: Option<&str>,
) -> Result<ImageReference, Report> {
    let (workspace, found) = images::find(site, frontend, name).await?;
    let (layout, image) = found.complete(site, name)?;
    let reference = destination(&workspace, name, reference)?;
    let pushed = frontend.showing(Work::Transfers, async |reporter| {
        reporter.message(format!("pushing {name} to {reference}"));
        workspace.registries.push(name, &layout, &image, &reference, reporter).await
    });
    let pushed = pushed.await?;
    let (sent, there) = (bytes(pushed.sent), bytes(pushed.there));
    frontend.note(&format!("{reference}: {sent} sent, {there} were there"));
    Ok(reference.at(image.digest))
}

fn destination(
    workspace: &Workspace,
    image: &str,
    reference: Option<&str>,
) -> Result<ImageReference, PushError> {
    let text = match (reference, workspace.project.registry()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(registry)) => format!("{}/{image}", registry.trim_end_matches('/')),
        (None, None) => return Err(PushError::Nowhere { image: image.to_owned() }),
    };
    let reference: ImageReference =
        text.parse().map_err(|source| PushError::Reference { text: text.clone(), source })?;
    if reference.digest.is_some() {
        return Err(PushError::Pinned { text });
    }
    Ok(reference)
}
