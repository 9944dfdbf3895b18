//! Every test of the real binary, and of what the crate offers, in one program: it is linked once, and
//! no core waits for the last test of a file.

mod architecture;
mod at_3_am;
mod dependencies;
mod docker;
mod environments;
mod faults;
mod gc;
mod graph_peers;
mod guard;
mod hub_client;
mod hub_peer;
mod hub_weights;
mod image_peers;
mod image_tags;
mod import;
mod key_sensitivity;
mod litellm_peer;
mod local_volumes;
mod modal;
mod newcomer;
mod own_ci;
mod pipes;
mod pull_request;
mod quickstart;
mod registry;
mod registry_project;
mod reproducible;
mod runtime;
mod saved_plans;
mod schema_peers;
mod seams;
mod support;
mod upgrade;
mod vllm_cpu;
mod vllm_flags;
