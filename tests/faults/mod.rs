//! What bad input, bad networks, full disks and kills get: the real binary, in projects of their own.
//!
//! Debian's mirror and PyPI are asked once per checkout, for a base with Python and one wheel; from
//! then on everything is on loopback.
#![cfg(target_os = "linux")]

mod broken;
mod interrupts;
mod kills;
mod machine;
mod network;
mod project;
mod restored;
mod server;
mod shared;
mod specs;
mod uv;
mod wheels;

use crate::support::{installed, peers};
