//! What locking is for: all of a project, or what a part of it needs.

use std::collections::BTreeSet;

use super::{Renew, hub, wheels};
use crate::plan::saved::Request;
use crate::spec::{Image, ImageName, Model};
use crate::step::{StepError, StepId, Subject};
use crate::workspace::Workspace;

/// What is locked where it is not. All else is taken as the lock has it, or not at all: what can't
/// be locked stops nobody who doesn't need it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of the project.
    #[default]
    Project,
    /// A part.
    Part {
        /// The images.
        images: BTreeSet<ImageName>,
        /// Revisions on a hub, as the lock names them.
        sources: BTreeSet<String>,
    },
}

impl Scope {
    /// What was asked for needs.
    pub fn of_request(workspace: &Workspace, request: &Request) -> Self {
        if request.models.is_empty() {
            Self::of_steps(workspace, &request.only)
        } else {
            Self::of_models(workspace, &request.models)
        }
    }

    /// What these models need; all of the project without any.
    pub fn of_models(workspace: &Workspace, names: &[String]) -> Self {
        if names.is_empty() {
            return Self::Project;
        }
        let mut scope = Self::nothing();
        for model in workspace.project.models.values() {
            if names.iter().any(|name| name == model.name.as_str()) {
                scope.add_model(model);
            }
        }
        scope
    }

    /// What these steps need, as far as their names tell; all of the project without any.
    pub fn of_steps(workspace: &Workspace, names: &[String]) -> Self {
        if names.is_empty() {
            return Self::Project;
        }
        let mut scope = Self::nothing();
        for name in names {
            match StepId::from(name.as_str()).subject() {
                Subject::Image(image) => {
                    scope
                        .add_image(workspace.project.images.keys().find(|it| it.as_str() == image));
                }
                Subject::Weights(repository) => {
                    let models = workspace.project.models.values();
                    let sources = models.flat_map(|model| model.hub_sources());
                    let sources = sources.filter(|source| source.repository == repository);
                    scope.add_sources(sources.map(ToString::to_string));
                }
                Subject::Model(model) => {
                    if let Some(model) = workspace.project.models.get(model) {
                        scope.add_model(model);
                    }
                }
            }
        }
        scope
    }

    /// One image, and no weights.
    pub fn of_image(image: &ImageName) -> Self {
        let mut scope = Self::nothing();
        scope.add_image(Some(image));
        scope
    }

    /// What is to be resolved anew: all of the project unless it is named.
    pub fn of_renewal(workspace: &Workspace, renew: &Renew) -> Result<Self, StepError> {
        let Renew::Named(names) = renew else { return Ok(Self::Project) };
        let mut scope = Self::nothing();
        for image in workspace.project.images.values() {
            if is_named(workspace, image, names)? {
                scope.add_image(Some(&image.name));
            }
        }
        scope.add_sources(hub::renewed(&workspace.project, renew));
        Ok(scope)
    }

    fn nothing() -> Self {
        Self::Part { images: BTreeSet::new(), sources: BTreeSet::new() }
    }

    fn add_model(&mut self, model: &Model) {
        self.add_image(Some(&model.image.value));
        self.add_sources(model.hub_sources().map(ToString::to_string));
    }

    fn add_image(&mut self, image: Option<&ImageName>) {
        if let Self::Part { images, .. } = self {
            images.extend(image.cloned());
        }
    }

    fn add_sources(&mut self, names: impl Iterator<Item = String>) {
        if let Self::Part { sources, .. } = self {
            sources.extend(names);
        }
    }

    pub(super) fn has_image(&self, image: &ImageName) -> bool {
        match self {
            Self::Project => true,
            Self::Part { images, .. } => images.contains(image),
        }
    }

    pub(super) fn has_source(&self, source: &str) -> bool {
        match self {
            Self::Project => true,
            Self::Part { sources, .. } => sources.contains(source),
        }
    }
}

/// Whether an image, or a package that it is locked to, has one of these names.
fn is_named(workspace: &Workspace, image: &Image, names: &[String]) -> Result<bool, StepError> {
    let name = image.name.as_str();
    let base = workspace.lock.read(|lock| {
        let locked = lock.images.get(name);
        locked.is_some_and(|locked| names.iter().any(|name| locked.has(name)))
    });
    if base || names.iter().any(|named| named == name) {
        return Ok(true);
    }
    let locked = wheels::all(workspace, image)?;
    let mut packages = locked.iter().flat_map(|lock| &lock.packages);
    Ok(packages.any(|package| names.contains(&package.name)))
}
