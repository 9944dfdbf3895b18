//! Models on Modal, through the real binary and the real client, against a double of its control
//! plane.

#![cfg(target_os = "linux")]

mod absent;
mod apply;
mod drift;
mod faults;
mod lease;
mod logs;
mod programs;
mod protection;
mod pushed;
mod registry;
mod rollback;
mod runbook;
mod snapshot;
mod warmup;
mod weights;

#[path = "../support/mod.rs"]
mod support;

use support::modal::Remote;
