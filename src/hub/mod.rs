//! Model weights: what files they are, how a hub gives them, and how they lie in a volume.

mod cache;
mod client;
mod digest;
mod download;
mod error;
mod fetch;
mod listing;
mod manifest;
mod part;
mod pinned;
mod read_all;
mod reuse;
mod revision;
mod settings;
mod volume_error;

pub use crate::lock::hub::{DigestKind, FileDigest, RemoteFile, Revision};
pub use cache::{Lapse, ModelCache};
pub use client::Hub;
pub use error::HubError;
pub use fetch::Fetched;
pub use listing::CONFIG_FILE;
pub use manifest::{HashCache, Manifest, WeightFile, scan};
pub use part::PARTIAL;
pub use read_all::ModelRead;
pub use reuse::{keep_verified, verified};
pub use settings::{ENDPOINT, HubSettings, Token};
pub use volume_error::WeightsError;

#[cfg(test)]
mod tests;
