//! Python packages for an image: a pinned uv, resolution to a lock, and the locked wheels.
//!
//! uv only resolves. What is fetched, and that its bytes are the locked ones, is decided here.

mod error;
mod index;
mod members;
mod resolve;
mod sources;
mod standalone;
mod uv;
mod wheels;

pub use error::PythonError;
pub use members::WheelReader;
pub use resolve::{Resolved, Upgrade, isolate, resolve};
pub use sources::{PackageSources, SourceEntry, SourcesError};
pub use standalone::{archive_of, fetch_standalone, standalone};
pub use uv::{Uv, ensure_uv};
pub use wheels::{fetch_wheels, path_of, wheels_there};

#[cfg(test)]
mod tests;
