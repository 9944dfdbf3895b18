//! Raw TOML with spans → a validated, typed project.
//!
//! Pure: the caller hands in paths and texts, and gets a [`Project`] or every mistake in every
//! file.

mod model;
mod name;
mod source;

pub use model::*;
pub use name::*;
pub use source::*;
