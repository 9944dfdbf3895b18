//! Runs a command inside a flattened, read-only root, with Linux namespaces alone: without root
//! rights, without a daemon.
//!
//! Four processes in a row, all of this very executable, because a program that starts threads
//! can't enter a user namespace and because nothing may be forked by hand without `unsafe`:
//!
//! ```text
//! goatbuild ── __supervise start ── __supervise init ── __supervise enter → inside → the server
//! (the caller)  session of its own,  first process of    mounts, pivot_root, no rights,
//!               user namespace       the pid namespace   then becomes the server
//! ```
//!
//! What is to be run travels over standard input, never through a file or an argument: it may hold
//! secrets. Standard output reports, until the server runs, why it can't; standard error is the
//! server's log. Each process dies with the one before it, except the first, which outlives the
//! caller.

mod error;
pub use error::RuntimeError;

#[cfg(target_os = "linux")]
mod check;
#[cfg(target_os = "linux")]
mod confine;
#[cfg(target_os = "linux")]
mod enter;
#[cfg(target_os = "linux")]
mod instance;
#[cfg(target_os = "linux")]
mod launch;
#[cfg(target_os = "linux")]
mod messages;
#[cfg(target_os = "linux")]
mod mounted;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod root;
#[cfg(target_os = "linux")]
mod supervise;
#[cfg(target_os = "linux")]
mod syscalls;
#[cfg(target_os = "linux")]
mod system;
#[cfg(target_os = "linux")]
pub use self::{
    check::check,
    instance::{find, is_alive, is_of_this_boot, is_stopped, stop},
    launch::{Attached, attach, run, spawn},
    mounted::mounted,
    root::prepare_root,
    supervise::supervise,
};

#[cfg(not(target_os = "linux"))]
mod unsupported;
#[cfg(not(target_os = "linux"))]
pub use unsupported::{
    Attached, attach, check, find, is_alive, is_of_this_boot, is_stopped, mounted, prepare_root,
    run, spawn, stop, supervise,
};

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the names of directories begin with in which a sandbox is only tried out.
pub const SCRATCH: &str = ".tmp";

/// The environment variable that holds the instance's id in every process of a sandbox.
pub const INSTANCE_VARIABLE: &str = "GOATBUILD_INSTANCE";

/// Everything that is needed to start a command again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sandbox {
    /// The flattened root directory; mounted read-only.
    pub root: PathBuf,
    /// What else is visible inside, in the order of mounting.
    pub binds: Vec<Bind>,
    /// The whole environment, but for `HOME`, `PATH` and the instance's id, which have defaults.
    pub env: BTreeMap<String, String>,
    /// The program and its arguments; a bare name is looked up in `PATH`.
    pub command: Vec<String>,
    /// The working directory, inside.
    pub workdir: String,
    /// Standard output and error are appended here.
    pub log: PathBuf,
    /// It has no network, and nothing that says where it runs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub alone: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A directory or file of the host that is visible inside a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bind {
    /// On the host; must exist.
    pub source: PathBuf,
    /// The absolute path inside.
    pub target: PathBuf,
    /// Writing inside is refused.
    pub read_only: bool,
}

/// Identifies a running sandbox across reboots and reuse of process ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Instance {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The supervisor's process id.
    pub pid: i32,
    /// The supervisor's start time in clock ticks since boot: field 22 of `/proc/<pid>/stat`.
    pub start_time: u64,
    /// Chosen by the caller: 128 random bits in hexadecimal.
    pub id: String,
}

/// What a one-off command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit status; 128 and the signal's number when a signal ended it.
    pub status: i32,
    /// Standard output and error, as they came.
    pub text: String,
}

/// Whether this machine can run sandboxes, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// One entry per thing that was tried.
    pub checks: Vec<Check>,
}

impl Report {
    /// True when sandboxes can run here.
    pub fn ok(&self) -> bool {
        !self.checks.iter().any(Check::is_wrong)
    }
}

/// One thing that a sandbox needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// A few words.
    pub name: &'static str,
    /// Whether sandboxes, or whatever it is about, can run as far as this is concerned; none where nobody
    /// could look.
    pub ok: Option<bool>,
    /// What was found.
    pub detail: String,
    /// What to do about it, when there is something to do.
    pub help: Option<String>,
}

impl Check {
    /// Whether something is known not to be in order.
    pub fn is_wrong(&self) -> bool {
        self.ok == Some(false)
    }
}
