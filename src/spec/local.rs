//! `local` in an image's file: a project's own packages.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::Text;
use super::model::{Image, Model, State};
use super::name::{ImageName, ModelName};
use super::path::inside;
use super::problem::{PackageProblem, Problem, SpecError};
use super::source::Located;
use super::table::Table;
use super::target::{Takes, TargetSettings};
use super::value::quoted;

/// Reads the directories of an image's own packages, each relative to the project.
pub(super) fn local(root: &mut Table<'_, '_>) -> Vec<Located<String>> {
    let Some((texts, _)) = root.strings("local") else { return Vec::new() };
    let mut kept: Vec<Located<String>> = Vec::with_capacity(texts.len());
    for Text { value, spot } in texts {
        if let Some(path) = inside(value) {
            kept.push(Located { value: path, place: spot.place() });
        } else {
            let expected = "the path of a directory below the project's own, such as \"./pkg\"";
            root.bad("local", &quoted(value), expected, &spot);
        }
    }
    kept
}

/// Own packages of images that a model's target builds, and so never sees.
pub(super) fn unseen(
    models: &BTreeMap<ModelName, Arc<Model>>,
    images: &BTreeMap<ImageName, Image>,
    settings: &TargetSettings,
) -> Vec<SpecError> {
    let served = models.values().filter(|model| model.state == State::Present);
    let wrong = served.filter_map(|model| {
        let image = images.get(&model.image.value)?;
        let first = image.local.first()?;
        let takes = model.target.takes(settings.of(model.target)?, image);
        let problem = PackageProblem::BuiltElsewhere { builder: model.target.title() };
        let error = || SpecError::new(Problem::Package(problem), first.place.clone());
        (takes == Takes::Built).then(error)
    });
    wrong.collect()
}
