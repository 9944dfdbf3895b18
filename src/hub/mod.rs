//! Model weights: what files they are, and how they lie in a volume.

mod cache;
mod manifest;

pub use cache::{ModelCache, WeightsError};
pub use manifest::{HashCache, Manifest, WeightFile, scan};

#[cfg(test)]
mod tests;
