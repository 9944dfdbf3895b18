//! What moving references resolved to: types and text, no files and no network.

mod base;
mod config;
mod debian;
mod file;
pub mod hub;
mod prices;
pub mod pylock;
mod repository;

pub use base::{BaseSettings, LockedBase, LockedLayer, LockedPython};
pub use config::{ConfigFacts, Quantization};
pub use debian::{BaseLayout, LockedDebian, LockedPackage};
pub use file::{Built, LockFile, LockFileError, LockedImage};
pub use prices::LockedPrices;
pub use repository::LockedRepository;
