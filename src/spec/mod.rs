//! Raw TOML with spans → a validated, typed project.
//!
//! Pure: the caller hands in paths and texts, and gets a [`Project`] or every mistake in every
//! file. [`read`] does all of it; [`Shared`], [`read_model`], [`read_image`] and [`assemble_part`]
//! are its parts, for who reads specs in parallel.

mod api;
mod assemble;
mod auth;
mod choosing;
mod context;
mod devices;
mod effective;
mod engine;
mod environment;
mod extension;
mod fields;
mod flags;
mod gateway;
mod hardware;
mod image_file;
mod kinds;
mod labels;
mod left_out;
mod local;
mod model;
mod model_file;
mod name;
mod named;
mod own;
mod package;
mod parse;
mod path;
mod patterns;
mod problem;
mod project_file;
mod read;
mod reference;
mod rollout;
mod schema;
mod secret;
mod secret_table;
mod serve;
mod served_name;
mod source;
mod table;
mod target;
mod unique;
mod unknown;
mod value;

pub use api::Api;
pub use assemble::assemble_part;
pub use auth::*;
pub use choosing::{Choosing, Overlap, PackageIndex, normalised};
pub use devices::Device;
pub use effective::*;
pub use engine::*;
pub use environment::own_variables;
pub use extension::{extended, extends};
pub use fields::Fields;
pub use gateway::*;
pub(crate) use hardware::{CORES, GIB};
pub use kinds::Kinds;
pub use left_out::{FileMistakes, LeftOut};
pub use model::*;
pub use model_file::is_source;
pub use name::*;
pub use named::{NamedRepository, hub_reference};
pub use own::Own;
pub use package::{Package, read_package};
pub use patterns::*;
pub use problem::*;
pub use project_file::known_gpus;
pub use read::*;
pub use reference::*;
pub use rollout::*;
pub use schema::Document;
pub use secret::{HIDDEN, SECRET_WORDS, Secret, SecretSource, is_telling, shown};
pub use serve::*;
pub use served_name::*;
pub use source::*;
pub use target::*;
pub use unknown::{Unknown, some_of, unknown};
pub use value::{FlagValue, Value};
pub(crate) use value::{duration_text, seconds};

#[cfg(test)]
mod tests;
