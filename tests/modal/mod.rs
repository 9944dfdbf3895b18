//! Models on Modal, through the real binary and the real client, against a double of its control
//! plane.

#![cfg(target_os = "linux")]

mod absent;
mod adoption;
mod apply;
mod asked;
mod builders;
mod ci;
mod client;
mod drift;
mod ends;
mod engine;
mod expected;
mod faults;
mod kills;
mod lease;
mod logs;
mod money;
mod named;
mod prices;
mod programs;
mod proof;
mod protection;
mod proxy;
mod pushed;
mod redirects;
mod registry;
mod rollback;
mod rollout;
mod runbook;
mod secret_env;
mod snapshot;
mod table;
mod taken_back;
mod trial;
mod trixie;
mod turns;
mod warmup;
mod way_over;
mod weights;

use crate::support;

use support::modal::Remote;
