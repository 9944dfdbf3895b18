//! goatbuild: a declarative build tool for LLM serving.

pub mod debian;
pub mod event;
pub mod exec;
pub mod fetch;
pub mod fingerprint;
pub mod graph;
pub mod litellm;
pub mod lock;
pub mod oci;
pub mod plan;
pub mod platform;
pub mod python;
pub mod runtime;
pub mod spec;
pub mod step;
pub mod store;
pub mod wheel;
pub mod workspace;
pub mod targets;
pub mod steps;
pub mod project;
pub mod openai;
pub mod hub;
pub mod gateway;
pub mod engines;
