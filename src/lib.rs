//! goatbuild: a declarative build tool for LLM serving.
//!
//! A model spec says *what* is to be served. goatbuild compiles all specs of a project into one DAG
//! of steps, each with a key over everything its outcome depends on; shows what would run and why
//! ([`plan`]); and runs only that ([`exec`]). It makes the image itself, puts weights into a volume,
//! warms caches, deploys, tests the endpoint and tells the gateway.
//!
//! # What never happens
//!
//! - The core never touches a file, a process, the network, the environment or a clock, and never
//!   prints: it returns values.
//! - [`plan`] never changes anything. What it calls `run` always runs; what it calls neither `run`
//!   nor `pending` never does.
//! - [`exec`] never knows a step's kind, and [`ui`] never knows a step.
//! - Nothing is recorded as done before it is, and nothing half-made ever has its final name.
//! - No key depends on a host, an absolute path, a mirror, a clock or a secret's value.
//! - Nothing below [`cli`] knows that there is a command line, and [`ops`] prints nothing: it tells and
//!   asks through a [`ops::Frontend`].
//! - No image is made by running what is in it.
//!
//! # Rooms
//!
//! A room imports from the floors below its own, never from its own or from above;
//! `tests/architecture` holds it to that, and to this table.
//!
//! | floor | rooms |
//! |---|---|
//! | command line | [`cli`] |
//! | what commands do, what people see | [`ops`], [`ui`] |
//! | what is done with it | [`locking`], [`steps`], [`garbage`] |
//! | what its steps work with | [`workspace`] |
//! | a project, and a run of it | [`project`], [`exec`], [`served`] |
//! | parts | [`engines`], [`targets`], [`gateways`], [`store`] |
//! | images | [`wheel`], [`container`] |
//! | protocols and formats | [`oci`], [`debian`], [`python`], [`runtime`], [`hub`], [`openai`], [`draw`], [`import`] |
//! | downloads | [`fetch`] |
//! | this machine | `blocking`, [`bounded`], [`clock`], [`disk`], [`durable`], [`exhausted`], [`leftovers`] |
//! | core | [`spec`], [`lock`], [`digest`], [`fingerprint`], [`graph`], [`plan`], [`event`], [`step`], [`step_id`], [`engine`], [`platform`], [`words`] |

mod blocking;
pub mod bounded;
pub mod cli;
pub mod clock;
pub mod container;
pub mod debian;
pub mod digest;
pub mod disk;
pub mod draw;
pub mod durable;
pub mod engine;
pub mod engines;
pub mod event;
pub mod exec;
pub mod exhausted;
pub mod fetch;
pub mod fingerprint;
pub mod garbage;
pub mod gateways;
pub mod graph;
pub mod hub;
pub mod import;
pub mod leftovers;
pub mod lock;
pub mod locking;
pub mod oci;
pub mod openai;
pub mod ops;
pub mod plan;
pub mod platform;
pub mod project;
pub mod python;
pub mod runtime;
pub mod served;
pub mod spec;
pub mod step;
pub mod step_id;
pub mod steps;
pub mod store;
pub mod targets;
#[cfg(test)]
mod testing;
pub mod ui;
pub mod wheel;
pub mod words;
pub mod workspace;
