//! What moving references resolved to: types and text, no files and no network.

mod base;
mod debian;
mod file;
pub mod hub;
pub mod pylock;

pub use base::{LockedBase, LockedLayer, LockedPython};
pub use debian::{LockedDebian, LockedPackage};
pub use file::{Built, LockFile, LockFileError, LockedImage};
