//! goatbuild: a declarative build tool for LLM serving.

pub mod debian;
pub mod event;
pub mod fetch;
pub mod litellm;
pub mod lock;
pub mod oci;
pub mod platform;
pub mod python;
pub mod runtime;
pub mod spec;
pub mod wheel;
