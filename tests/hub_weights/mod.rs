//! Weights from a hub, through the real binary: planned, locked, fetched, kept, and what goes wrong.

#![cfg(target_os = "linux")]

mod apply;
mod faults;
mod interrupted;
mod lock;
mod peer;
mod volumes;

use crate::support;

use support::hubbed::{CONFIG, Hubbed, LARGE, NEXT, NOTES, SERVER, SPEC, TOKEN, WEIGHTS};
