//! Which image a name stands for: what its step has made, as a plan says, and its tag in the layout.

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::Frontend;
use super::open::{self, Site};
use crate::digest::Digest;
use crate::graph::Graph;
use crate::locking::{self, Scope};
use crate::oci::{Image, Layout, OciError};
use crate::plan::{Action, PlannedStep, Wishes};
use crate::project;
use crate::spec::{EnvironmentName, ImageName, Takes, TargetType, unknown};
use crate::step::{Class, Fact, StepId};
use crate::steps;
use crate::workspace::{SharedWorkspace, Workspace};

/// Why an image can't be looked at or handed on.
#[derive(Debug, Error, Diagnostic)]
pub enum ImageError {
    /// It was never built here, or `cache/` was deleted.
    #[error("image {image} is not built")]
    #[diagnostic(code(goatbuild::image::not_built), help("run `{command}`"))]
    NotBuilt {
        /// The image.
        image: String,
        /// What builds it.
        command: String,
    },
    /// What was built is another image than its file and the lock now ask for.
    #[error("image {image} is not built as it is described now")]
    #[diagnostic(code(goatbuild::image::not_built), help("run `{command}`"))]
    Outdated {
        /// The image.
        image: String,
        /// What builds it.
        command: String,
    },
    /// The layout calls another image by its name.
    #[error("image {image} is {locked}, and its tag in cache/oci names {found}")]
    #[diagnostic(
        code(goatbuild::image::not_as_locked),
        help("run `{command}`, which tags what is locked")
    )]
    OtherTag {
        /// The image.
        image: String,
        /// What its tag names.
        found: String,
        /// What it is.
        locked: Digest,
        /// What corrects the tag.
        command: String,
    },
    /// Its models' target builds it.
    #[error("image {image} is built by {builder}, and is not on this machine")]
    #[diagnostic(code(goatbuild::image::elsewhere))]
    Elsewhere {
        /// The image.
        image: String,
        /// What people call the target.
        builder: String,
        /// How it is had here.
        #[help]
        help: String,
    },
}

/// The image of a name.
#[derive(Clone)]
pub struct Built {
    /// Where it is.
    pub layout: Layout,
    /// Of its manifest, which the layout has.
    pub digest: Digest,
    /// Whether the lock, and not only this cache, says that this is what its key makes.
    pub is_locked: bool,
}

/// Finds what was built for an image as it is described now.
///
/// A tag is no answer: an edit that was taken back leaves it at what the edit made.
pub async fn find(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
) -> Result<(SharedWorkspace, Built), Report> {
    let (workspace, readable) = open::anyway(site, frontend)?;
    let built = find_in(site, &workspace, readable, name).await?;
    Ok((workspace, built))
}

async fn find_in(
    site: &Site,
    workspace: &SharedWorkspace,
    readable: bool,
    name: &str,
) -> Result<Built, Report> {
    let layout = workspace.cache.layout()?;
    let id = StepId::image(name);
    let locked = workspace.lock.read(|lock| lock.built.get(&id).cloned());
    let not_built = || ImageError::NotBuilt { image: name.to_owned(), command: builds(site, name) };
    if !readable {
        // Nobody can tell what is wanted; this was the last that was.
        let built = locked.ok_or_else(not_built)?;
        let digest = Fact::DIGEST.digest_of(&built.facts).ok_or_else(not_built)?;
        if !layout.blobs().has(digest) {
            return Err(not_built().into());
        }
        return Ok(Built { layout, digest, is_locked: true });
    }
    let images = &workspace.project.images;
    let Some(image) = images.get(name) else {
        return Err(unknown("image", name, images.keys().map(ImageName::as_str)).into());
    };
    let outdated = || ImageError::Outdated { image: name.to_owned(), command: builds(site, name) };
    let scope = Scope::of_image(&image.name);
    if let Err(error) = locking::settle_as_it_is(workspace, scope).await {
        let code = error.code().map(|code| code.to_string());
        let is_edited = code.as_deref() == Some("goatbuild::lock::out_of_date");
        return Err(if is_edited { outdated().into() } else { error });
    }
    let graph = steps::images(workspace)?;
    let Some(step) = graph.get(&id) else {
        return Err(not_built().into());
    };
    if step.class() == Class::Effect {
        return Err(elsewhere(site, workspace, name).into());
    }
    let planned = plan_images(workspace, &graph)?;
    let planned = planned.iter().find(|step| step.id == id);
    let fresh = planned.filter(|step| step.action == Action::Fresh);
    let Some((step, digest)) = fresh.and_then(|it| Some((it, Fact::DIGEST.digest_of(&it.facts)?)))
    else {
        let was_built = locked.is_some() || layout.tags()?.iter().any(|(tag, _)| tag == name);
        return Err(if was_built { outdated() } else { not_built() }.into());
    };
    if !layout.blobs().has(digest) {
        return Err(not_built().into());
    }
    let is_locked = locked.is_some_and(|built| Some(built.key) == step.key);
    Ok(Built { layout, digest, is_locked })
}

fn plan_images(workspace: &Workspace, graph: &Graph) -> Result<Vec<PlannedStep>, Report> {
    let wishes = Wishes { no_refresh: true, ..Wishes::default() };
    Ok(crate::plan::plan(graph, &workspace.remember()?, &[], &wishes).steps)
}

impl Built {
    /// The image with all of its layers.
    pub fn complete(&self, site: &Site, name: &str) -> Result<Image, Report> {
        match self.layout.image(self.digest) {
            Ok(image) if image.is_complete(&self.layout) => Ok(image),
            Ok(_) | Err(OciError::Missing { .. }) => {
                Err(ImageError::NotBuilt { image: name.to_owned(), command: builds(site, name) }
                    .into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Fails when the layout calls another image by this name, as others would take it.
    pub fn check_tag(&self, site: &Site, name: &str) -> Result<(), Report> {
        let tags = self.layout.tags()?;
        let Some((_, found)) = tags.into_iter().find(|(tag, _)| tag == name) else { return Ok(()) };
        let found = match found {
            Ok(found) if found == self.digest => return Ok(()),
            found => found.map_or_else(|other| other.text, String::from),
        };
        Err(ImageError::OtherTag {
            image: name.to_owned(),
            found,
            locked: self.digest,
            command: builds(site, name),
        }
        .into())
    }
}

fn builds(site: &Site, name: &str) -> String {
    site.command(&format!("apply --only image:{name}"))
}

/// Says in which environment goatbuild builds the image, or how it would.
fn elsewhere(site: &Site, workspace: &Workspace, name: &str) -> ImageError {
    let builds_here = |environment: &&EnvironmentName| {
        let Ok(files) = site.in_environment(Some(environment)).files() else { return false };
        let project = project::read(&files.sources, Some(environment));
        project.is_ok_and(|project| {
            let mut models = project.models.values().filter(|it| it.image.value.as_str() == name);
            models.any(|model| project.takes(model) != Takes::Built)
        })
    };
    let help = match workspace.project.environments.iter().find(builds_here) {
        Some(environment) => {
            let command = builds(&site.in_environment(Some(environment)), name);
            format!("with `--env {environment}` goatbuild builds it itself: `{command}`")
        }
        None => format!(
            "write `builder = \"oci\"` in images/{name}.toml to have goatbuild build it itself"
        ),
    };
    let builder = workspace.project.target_types.titles(TargetType::builds_images);
    ImageError::Elsewhere { image: name.to_owned(), builder, help }
}
