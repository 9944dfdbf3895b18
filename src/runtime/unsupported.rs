//! The same functions on systems without Linux namespaces.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::{Check, Instance, Output, Report, RuntimeError, Sandbox};
use crate::event::Reporter;

/// Refuses: this is not Linux.
pub fn spawn(_: &Sandbox, _: &str, _: &Path) -> Result<Instance, RuntimeError> {
    Err(RuntimeError::Unsupported)
}

/// Refuses: this is not Linux.
pub async fn run(_: &Sandbox, _: Duration, _: &Path, _: &Reporter) -> Result<Output, RuntimeError> {
    Err(RuntimeError::Unsupported)
}

/// Never made here.
#[derive(Debug)]
pub struct Attached {
    /// What runs.
    pub instance: Instance,
}

/// Refuses: this is not Linux.
pub fn attach(_: &Sandbox, _: &str, _: &Path) -> Result<Attached, RuntimeError> {
    Err(RuntimeError::Unsupported)
}

/// Handles nothing.
pub fn supervise(_: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    None
}

/// Nothing runs here.
pub fn is_alive(_: &Instance) -> bool {
    false
}

/// Nothing ran here since any start of this machine.
pub fn is_of_this_boot(_: &Instance) -> bool {
    true
}

/// Nothing runs here that could be stopped.
pub fn is_stopped(_: &Instance) -> bool {
    false
}

/// Nothing was ever started.
pub fn find(_: &str) -> Option<Instance> {
    None
}

/// Nothing can be told.
pub fn mounted(_: &Instance, targets: &[&Path]) -> Vec<Option<(u64, u64)>> {
    vec![None; targets.len()]
}

/// Has nothing to stop.
pub async fn stop(_: &Instance, _: Duration) -> Result<(), RuntimeError> {
    Ok(())
}

/// Refuses: this is not Linux.
pub fn prepare_root(_: &Path) -> Result<(), RuntimeError> {
    Err(RuntimeError::Unsupported)
}

/// Says that this is not Linux.
pub fn check(_: &Path, _: &Path) -> Report {
    Report {
        checks: vec![Check {
            name: "operating system",
            ok: Some(false),
            detail: "the embedded runtime needs Linux".to_owned(),
            help: Some("start Docker or Podman".to_owned()),
        }],
    }
}
