//! `goatbuild image push`: images for other machines to pull.

use clap::Args;
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::{Exit, Global, image_built, part};
use crate::spec::{ImageReference, NotAReference};
use crate::ui;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The image
    image: String,
    /// Where to, as HOST/PATH:TAG; below `[target.modal] registry` without it
    reference: Option<String>,
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

pub(crate) async fn push(global: &Global, arguments: &PushArgs) -> Result<Exit, Report> {
    let name = &arguments.image;
    let (workspace, readable) = part::open_anyway(global)?;
    let found = image_built::find(global, &workspace, readable, name).await?;
    let (layout, image) = found.complete(global, name)?;
    let reference = destination(&workspace, arguments)?;
    let (reporter, finish) = ui::transferring();
    reporter.message(format!("pushing {name} to {reference}"));
    let pushed = workspace.push(name, &layout, &image, &reference, &reporter).await;
    finish();
    let pushed = pushed?;
    let (sent, there) = (ui::bytes(pushed.sent), ui::bytes(pushed.there));
    ui::note(&format!("{reference}: {sent} sent, {there} were there"));
    ui::print_line(&reference.at(&image.digest).to_string());
    Ok(Exit::Done)
}

fn destination(workspace: &Workspace, arguments: &PushArgs) -> Result<ImageReference, PushError> {
    let image = &arguments.image;
    let modal = workspace.project.targets.modal.as_ref().and_then(|modal| modal.registry.as_ref());
    let text = match (&arguments.reference, modal) {
        (Some(text), _) => text.clone(),
        (None, Some(registry)) => format!("{}/{image}", registry.trim_end_matches('/')),
        (None, None) => return Err(PushError::Nowhere { image: image.clone() }),
    };
    let reference: ImageReference =
        text.parse().map_err(|source| PushError::Reference { text: text.clone(), source })?;
    if reference.digest.is_some() {
        return Err(PushError::Pinned { text });
    }
    Ok(reference)
}
