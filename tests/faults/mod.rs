//! What bad input, bad networks, full disks and kills get: the real binary, in projects of their own.
//!
//! Debian's mirror is asked for what the fixture lacks; everything else is on loopback.
#![cfg(target_os = "linux")]

mod blobs;
mod broken;
mod campaign;
mod foreign;
mod full;
mod hostile;
mod indexes;
mod interrupts;
mod kills;
mod machine;
mod network;
mod restored;
mod server;
mod shared;
mod specs;
mod state;
mod unwritable;
mod uv;
mod wheels;

use crate::support::project::Project;

/// The fixture with its image built; what it serves is found by a mark.
fn built() -> Option<Project> {
    Project::new().map(marked)
}

/// The same, and nothing is built yet.
fn downloaded() -> Option<Project> {
    Project::downloaded().map(marked)
}

fn marked(mut project: Project) -> Project {
    project.variable("GOATBUILD_HTTP_ATTEMPTS", "2");
    project.serve_env(&[]);
    project
}
