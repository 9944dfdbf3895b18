//! goatbuild: a declarative build tool for LLM serving.

pub mod debian;
pub mod engines;
pub mod event;
pub mod exec;
pub mod fetch;
pub mod fingerprint;
pub mod gateway;
pub mod graph;
pub mod hub;
pub mod litellm;
pub mod lock;
pub mod locking;
pub mod oci;
pub mod openai;
pub mod plan;
pub mod platform;
pub mod project;
pub mod python;
pub mod runtime;
pub mod spec;
pub mod step;
pub mod steps;
pub mod store;
pub mod targets;
pub mod wheel;
pub mod workspace;
