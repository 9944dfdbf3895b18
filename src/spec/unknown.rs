//! Names that are not there, with what could have been meant.

use std::sync::Arc;

use miette::Diagnostic;
use thiserror::Error;

use super::{Model, ModelName, Project, nearest};
use crate::step_id::StepId;

/// A model, image, step or environment that the project does not have.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[error("there is no {kind} `{name}`")]
#[diagnostic(code(goatbuild::usage::unknown_name))]
pub struct Unknown {
    kind: &'static str,
    name: String,
    #[help]
    help: String,
}

/// An error for a name that isn't there, with what could have been meant.
pub fn unknown<'a>(
    kind: &'static str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Unknown {
    let known: Vec<&str> = known.into_iter().collect();
    // A model or an image in place of the step that makes it.
    let of_it = |step: &StepId| known.contains(&step.as_str());
    let help = match StepId::likely(name).into_iter().find(of_it) {
        Some(step) => format!("did you mean `{step}`?"),
        None => nearby(name, &known),
    };
    Unknown { kind, name: name.to_owned(), help }
}

/// What could have been meant by a name, or what there is.
fn nearby(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there are none".to_owned(),
        None => format!("there are: {}", some_of(known)),
    }
}

/// The first of many names, and how many more there are.
pub fn some_of(names: &[&str]) -> String {
    const TOLD: usize = 12;
    let told = names.iter().take(TOLD).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(TOLD) {
        0 => told,
        more => format!("{told} … and {more} more"),
    }
}

impl Project {
    /// The model of this name.
    pub fn model(&self, name: &str) -> Result<&Arc<Model>, Unknown> {
        self.models.get(name).ok_or_else(|| self.no_model(name))
    }

    fn no_model(&self, name: &str) -> Unknown {
        let missing = unknown("model", name, self.models.keys().map(ModelName::as_str));
        if !self.images.contains_key(name) {
            return missing;
        }
        let help = format!("`{name}` is an image, which `--only {}` names", StepId::image(name));
        Unknown { help, ..missing }
    }

    /// The model of this name, be it one that is not to be served.
    pub fn known(&self, name: &str) -> Result<&Arc<Model>, Unknown> {
        self.absent.get(name).map_or_else(|| self.model(name), Ok)
    }
}
