//! Where images go that goatbuild builds for Modal.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::{Builder, Image, Model, State, TargetKind, Targets};
use super::name::{EnvironmentName, ImageName, ModelName};
use super::problem::{Problem, SpecError};
use super::reference::ImageReference;
use super::source::{Place, SourceFile};
use super::table::Table;
use super::value::quoted;

/// Reads `registry`: a host and perhaps a path, below which each image has a repository.
pub(super) fn registry(table: &mut Table<'_, '_>) -> Option<String> {
    let text = table.string("registry")?;
    let registry = text.value.trim_end_matches('/');
    let below = format!("{registry}/x").parse::<ImageReference>();
    // What has no host would be below Docker Hub's.
    let is_place = below
        .is_ok_and(|it| format!("{}/{}", it.registry, it.repository) == format!("{registry}/x"));
    if !is_place {
        let expected = "a registry and a path there, like \"docker.io/acme\"";
        table.bad("registry", &quoted(text.value), expected, &text.spot);
    }
    is_place.then(|| registry.to_owned())
}

/// The mistakes of a project that doesn't say where images go that models on Modal need.
pub(super) fn nowhere(
    file: &Arc<SourceFile>,
    environment: Option<&EnvironmentName>,
    targets: &Targets,
    models: &BTreeMap<ModelName, Arc<Model>>,
    images: &BTreeMap<ImageName, Image>,
) -> Vec<SpecError> {
    let Some(modal) = targets.modal.as_ref().filter(|modal| modal.registry.is_none()) else {
        return Vec::new();
    };
    let at_modal =
        models.values().filter(|it| it.target == TargetKind::Modal && it.state == State::Present);
    let images = at_modal.filter_map(|model| images.get(&model.image.value));
    let pushed = images.filter(|image| image.builder.unwrap_or(modal.builder) == Builder::Oci);
    let of_project = |path: &[&str]| Place::of_field(file, path);
    let of_environment =
        || of_project(&["environment", environment?.as_str(), "target", "modal", "registry"]);
    // What is written and none can be used was told where it was read.
    if of_project(&["target", "modal", "registry"]).or_else(of_environment).is_some() {
        return Vec::new();
    }
    let wrong = |image: &Image| {
        let own = Place::of_field(image.file.place.file(), &["builder"]);
        let chosen =
            || of_project(&["environment", environment?.as_str(), "target", "modal", "builder"]);
        let place = own
            .or_else(chosen)
            .or_else(|| of_project(&["target", "modal", "builder"]))
            .unwrap_or_else(|| image.file.place.clone());
        let problem = Problem::MissingField {
            field: "target.modal.registry".to_owned(),
            example:
                "registry = \"docker.io/acme\" in goatbuild.toml's [target.modal]: `builder = \
                      \"oci\"` pushes images there, and Modal takes them from there"
                    .to_owned(),
        };
        SpecError::new(problem, place)
    };
    pushed.map(wrong).collect()
}
