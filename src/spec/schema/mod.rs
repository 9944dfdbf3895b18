//! JSON Schemas of the three kinds of files, for editors that complete and check while one types.
//!
//! A schema describes one file, and can't know what other files say: what `[defaults]` may give is
//! never required in a spec, and names of images, models and GPUs of the project's own are plain
//! strings. In all else it takes what the reader takes: the tests ask the reader itself, field by
//! field, what it knows and expects.

mod image;
pub(super) mod parts;
mod project;
mod spec;

use serde_json::{Value, json};

use image::image;
use parts::{map, string};
use project::project;
use spec::spec;

use super::kinds::Kinds;

/// A kind of file that a user writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// `goatbuild.toml`.
    Project,
    /// `specs/MODEL.toml`.
    Spec,
    /// `images/IMAGE.toml`.
    Image,
}

impl Document {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Project, Self::Spec, Self::Image];

    /// What its schema's file is called.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Project => "project.schema.json",
            Self::Spec => "spec.schema.json",
            Self::Image => "image.schema.json",
        }
    }

    /// Its schema: JSON, the same bytes every time, with a line break at its end.
    pub fn schema(self, kinds: &Kinds) -> String {
        let Kinds { engines, targets, .. } = kinds;
        let (title, mut schema) = match self {
            Self::Project => ("goatbuild.toml: a project", project(kinds)),
            Self::Spec => ("specs/MODEL.toml: one model", spec(*engines, targets)),
            Self::Image => ("images/IMAGE.toml: one image", image(targets)),
        };
        // The draft that TOML language servers know best.
        schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
        schema["title"] = json!(title);
        let text = serde_json::to_string_pretty(&schema);
        text.unwrap_or_else(|error| panic!("BUG: a schema is not JSON: {error}")) + "\n"
    }
}

const FILE_NAME: &str = "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$";
const DASHED: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
pub(super) const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
const WORD: &str = "^[A-Za-z0-9_./:@+-]+$";
const SERVED_NAME: &str = "^[A-Za-z0-9_./:@+][A-Za-z0-9_./:@+-]*$";

fn env(value: &str) -> Value {
    map(
        "Environment variables, by name. They are part of keys and files: no secrets.",
        VARIABLE,
        &string(value),
    )
}

#[cfg(test)]
mod tests;
