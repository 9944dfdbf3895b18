//! Variables that extend their base's, in images that Modal builds: its client writes every value down as it
//! is, in single quotes (`Image.env` in `modal/_image.py` 1.6.4).

use crate::spec::{
    Image, Model, Place, Problem, SpecError, State, Takes, TargetType, Whole, extends,
};

/// The mistakes of images that `modal` is to build, whose variables it can't extend.
pub(super) fn mistakes(modal: &dyn TargetType, whole: &Whole<'_>) -> Vec<SpecError> {
    let is_used = |image: &&Image| {
        let uses = |model: &Model| {
            model.image.value == image.name
                && model.target.name() == modal.name()
                && model.state == State::Present
        };
        whole.models.values().any(|model| uses(model))
    };
    let built = whole.images.values().filter(is_used);
    let built = built.filter(|image| modal.takes(whole.settings, image) == Takes::Built);
    let wrong = built.flat_map(|image| {
        let extending = image.env.iter().filter(|(name, value)| extends(name, value));
        extending.map(|(name, value)| {
            let place = Place::of_field(image.file.place.file(), &["env", name]);
            let expected = "the whole value, written out, since Modal's client extends none; or \
                            `builder = \"oci\"` in the image's file";
            let problem = Problem::BadValue {
                field: format!("env.{name}"),
                found: format!("`{value}`"),
                expected: expected.to_owned(),
            };
            SpecError::new(problem, place.unwrap_or_else(|| image.file.place.clone()))
        })
    });
    wrong.collect()
}
