//! Real peers for tests, and the strict doubles of what cannot be had.

#![cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    allow(dead_code, reason = "many tests run there alone")
)]

pub(crate) mod debian;
pub(crate) mod double;
pub(crate) mod encodings;
pub(crate) mod engines;
pub(crate) mod hub;
pub(crate) mod hubbed;
pub(crate) mod installed;
pub(crate) mod litellm;
pub(crate) mod modal;
pub(crate) mod olah;
pub(crate) mod peers;
pub(crate) mod project;
pub(crate) mod proxy;
pub(crate) mod quickstart;
pub(crate) mod registry;
pub(crate) mod registry_double;
pub(crate) mod stages;
pub(crate) mod workflow;

use std::time::{Duration, Instant};

/// Waits until this is so; fails the test where it takes longer than anything here may.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
