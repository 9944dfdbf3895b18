//! What can be had of a project while some of its files have mistakes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::model::{Image, Model};
use super::name::{ImageName, ModelName};
use super::problem::SpecError;

/// What was left out of a project, since its files have mistakes.
///
/// Nobody knows what these files want: nothing of theirs is unwanted, and no lock may forget them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Models by the names of their files: those with mistakes, and those of such images.
    pub models: BTreeSet<String>,
    /// Images by the names of their files.
    pub images: BTreeSet<String>,
}

impl LeftOut {
    /// Whether all of the project was read.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty() && self.images.is_empty()
    }
}

/// The mistakes that reading single files found, by the names of the files.
#[derive(Debug, Default)]
pub struct Wrong {
    /// Of specs.
    pub models: Vec<(String, Vec<SpecError>)>,
    /// Of images.
    pub images: Vec<(String, Vec<SpecError>)>,
}

impl Wrong {
    /// All of them.
    pub(super) fn errors(&self) -> impl Iterator<Item = &SpecError> {
        self.models.iter().chain(&self.images).flat_map(|(_, errors)| errors)
    }

    /// The names alone.
    pub(super) fn left_out(&self) -> LeftOut {
        let names = |wrong: &[(String, Vec<SpecError>)]| {
            wrong.iter().map(|(name, _)| name.clone()).collect()
        };
        LeftOut { models: names(&self.models), images: names(&self.images) }
    }
}

/// Takes the models and images out that the places of these mistakes are in, and the models of
/// images that are not there. Gives back the mistakes that are in no such file.
pub(super) fn leave_out<'a>(
    models: &mut BTreeMap<ModelName, Arc<Model>>,
    images: &mut BTreeMap<ImageName, Image>,
    left_out: &mut LeftOut,
    errors: &'a [SpecError],
) -> Vec<&'a SpecError> {
    let mut elsewhere = Vec::new();
    for error in errors {
        let mut found = false;
        for place in error.places() {
            let file = &place.file().path;
            let of_image = images.values().find(|image| image.file.place.file().path == *file);
            if let Some(image) = of_image.map(|image| image.name.clone()) {
                left_out.images.insert(image.to_string());
                images.remove(&image);
                found = true;
            }
            let of_model = models.values().find(|model| model.file.place.file().path == *file);
            if let Some(model) = of_model.map(|model| model.name.clone()) {
                left_out.models.insert(model.to_string());
                models.remove(&model);
                found = true;
            }
            // Another mistake may have been there.
            let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            found |= file.starts_with("specs") && left_out.models.contains(stem);
            found |= file.starts_with("images") && left_out.images.contains(stem);
        }
        if !found {
            elsewhere.push(error);
        }
    }
    models.retain(|name, model| {
        let has_image = images.contains_key(&model.image.value);
        if !has_image {
            left_out.models.insert(name.to_string());
        }
        has_image
    });
    elsewhere
}
