//! What moving references resolved to: types and text, no files and no network.

mod file;
pub mod pylock;

pub use file::{Built, LockFile, LockFileError, LockedImage};
