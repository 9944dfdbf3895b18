//! Registries and foreign layouts: bases come from them, built images go to them.
//!
//! - No blob has its name before its digest and size are verified.
//! - No credential is in a file, an argument, a message or a key, and none goes to the host that a
//!   redirect leads to: downloads are often served by another one.
//! - No registry but loopback and those that the project names is spoken to without TLS.

mod challenge;
mod client;
mod credentials;
mod error;
mod layout;
mod manifest;
mod pull;
mod push;
mod seen;

pub use self::client::RegistrySettings;
pub use self::error::RegistryError;
pub use self::manifest::{BaseConfig, BaseManifest, BlobRef};
pub use self::pull::{BaseOrigin, Puller, Resolved, pulled, remembered};
pub use self::push::{Destination, Pushed, push};
pub use self::seen::{Found, find, may_push};
