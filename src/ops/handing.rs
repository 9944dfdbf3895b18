//! Handing an image on: to Docker or Podman, into an archive, to a registry.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::agreed::Agreed;
use super::apply::{self, Asked};
use super::heal::{self, Healing, Suspects};
use super::images::{self, Built};
use super::open::Site;
use super::{Frontend, Work};
use crate::blocking::blocking;
use crate::container::{self, ContainerEngine, image_name};
use crate::durable::{TEMPORARY, Unfinished};
use crate::event::Reporter;
use crate::exec::Interrupt;
use crate::oci::{Image, Layout, OciError, archive_size, write_archive};
use crate::plan::saved::Request;
use crate::spec::{ImageReference, NotAReference};
use crate::step::{StepError, StepId};
use crate::words::bytes;
use crate::workspace::{SharedWorkspace, Workspace};

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

/// Does something with an image; once more, where blobs of it turn out to be damaged, after those were made
/// again.
async fn with_image<T>(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
    interrupt: &Interrupt,
    work: impl AsyncFn(&SharedWorkspace, &Built) -> Result<T, Report>,
) -> Result<T, Report> {
    let (workspace, found) = images::find(site, frontend, name).await?;
    match work(&workspace, &found).await {
        Err(error) if heal::of_blobs(&error).is_some() => {
            make_again(site, frontend, name, interrupt, &found, error).await?;
            let (workspace, found) = images::find(site, frontend, name).await?;
            work(&workspace, &found).await
        }
        ended => ended,
    }
}

/// Makes again what of an image is damaged, by an apply of the image alone, or fails with what was met.
async fn make_again(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
    interrupt: &Interrupt,
    found: &Built,
    met: Report,
) -> Result<(), Report> {
    let suspects =
        Suspects { images: [found.digest].into(), blobs: heal::said_of(heal::of_blobs(&met)) };
    if !heal::take_away(found.layout.clone(), frontend, suspects, Healing::MakeAgain).await {
        return Err(met);
    }
    let request = Request { only: vec![StepId::image(name).to_string()], ..Request::default() };
    let asked = Asked { request, refresh: false, agreed: Agreed::default(), keep_going: false };
    match apply::apply(site, frontend, asked, interrupt).await {
        Ok(applied) if applied.report.interrupted => Err(met),
        Ok(applied) => match applied.report.failed.into_iter().next() {
            Some(failed) => Err(failed.error),
            None => Ok(()),
        },
        Err(error) => {
            frontend.note(&format!("image {name} can't be made again: {error}"));
            Err(met)
        }
    }
}

/// Reads all of an image's bytes and compares them with their digests and with the lock.
pub async fn verify(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
    interrupt: &Interrupt,
) -> Result<Built, Report> {
    let (_, found) = hashed(site, frontend, name, interrupt).await?;
    found.check_tag(site, name)?;
    Ok(found)
}

/// Finds an image, of which all bytes are those of their digests.
async fn hashed(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
    interrupt: &Interrupt,
) -> Result<(SharedWorkspace, Built), Report> {
    with_image(site, frontend, name, interrupt, async |workspace, found| {
        let verified = frontend.showing(Work::Prepares, async |reporter| {
            reporter.message(format!("reading {name}"));
            let (layout, digest, reporter) = (found.layout.clone(), found.digest, reporter.clone());
            blocking(move || layout.verify(digest, &reporter)).await
        });
        verified.await?;
        Ok((Arc::clone(workspace), found.clone()))
    })
    .await
}

/// Hands an image to Docker or Podman, whoever answers without a `kind`; gives what it is called
/// there.
pub async fn load(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
    kind: Option<ContainerEngine>,
    interrupt: &Interrupt,
) -> Result<String, Report> {
    with_image(site, frontend, name, interrupt, async |workspace, found| {
        let image = found.complete(site, name)?;
        let kind = match kind {
            Some(kind) => kind,
            None => whoever_answers().await?,
        };
        let called = image_name(workspace.project.id.as_str(), name, &image);
        let handed = frontend.showing(Work::Prepares, async |reporter| {
            container::hand_over(kind, &found.layout, &image, &called, reporter).await
        });
        let (id, is_new) = handed.await?;
        let verb = if is_new { "has taken" } else { "has" };
        frontend.note(&format!("{kind} {verb} image {name} as {id}"));
        Ok(called)
    })
    .await
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

/// Writes an image as one archive. What was written to a stream can't be taken back: what is damaged is
/// found before anything is.
pub async fn export(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
    to: Archive,
    interrupt: &Interrupt,
) -> Result<(), Report> {
    let path = match to {
        Archive::File(path) => path,
        Archive::Stream(out) => {
            let (workspace, found) = hashed(site, frontend, name, interrupt).await?;
            let (image, called, expected) = archived(site, &workspace, &found, name)?;
            let layout = found.layout.clone();
            let written = frontend.showing(Work::Prepares, async |reporter| {
                reporter.expect(expected);
                let reporter = reporter.clone();
                blocking(move || stream(&layout, &image, &called, out, &reporter)).await
            });
            return Ok(written.await?);
        }
    };
    with_image(site, frontend, name, interrupt, async |workspace, found| {
        let (image, called, expected) = archived(site, workspace, found, name)?;
        let told = format!("{called}: {} in {}", bytes(expected), path.display());
        let (layout, path) = (found.layout.clone(), path.clone());
        let written = frontend.showing(Work::Prepares, async |reporter| {
            reporter.expect(expected);
            let reporter = reporter.clone();
            blocking(move || write_file(&layout, &image, &called, &path, &reporter)).await
        });
        written.await?;
        frontend.note(&told);
        Ok(())
    })
    .await
}

/// An image, what it is called in its archive, and how large that is.
fn archived(
    site: &Site,
    workspace: &Workspace,
    found: &Built,
    name: &str,
) -> Result<(Image, String, u64), Report> {
    let image = found.complete(site, name)?;
    let called = image_name(workspace.project.id.as_str(), name, &image);
    let expected = archive_size(&found.layout, &image)?;
    Ok((image, called, expected))
}

fn stream(
    layout: &Layout,
    image: &Image,
    called: &str,
    out: Box<dyn Write + Send>,
    reporter: &Reporter,
) -> Result<(), OciError> {
    match write_archive(layout, image, called, out, reporter) {
        // Who reads has had enough.
        Err(OciError::Archive { source }) if source.kind() == ErrorKind::BrokenPipe => Ok(()),
        // What was left to write went to somebody who has had enough.
        written => {
            let _ = written?.flush();
            Ok(())
        }
    }
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
    interrupt: &Interrupt,
) -> Result<ImageReference, Report> {
    with_image(site, frontend, name, interrupt, async |workspace, found| {
        let image = found.complete(site, name)?;
        let reference = destination(workspace, name, reference)?;
        let pushed = frontend.showing(Work::Transfers, async |reporter| {
            reporter.message(format!("pushing {name} to {reference}"));
            workspace.registries.push(name, &found.layout, &image, &reference, reporter).await
        });
        let pushed = pushed.await?;
        let (sent, there) = (bytes(pushed.sent), bytes(pushed.there));
        frontend.note(&format!("{reference}: {sent} sent, {there} were there"));
        Ok(reference.at(image.digest))
    })
    .await
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
