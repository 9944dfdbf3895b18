//! How a command works, whatever it is: what the command line and the environment say of that.

use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use crate::debian::Mirrors;
use crate::engine::Engines;
use crate::fetch::Patience;
use crate::hub::{HubError, HubSettings};
use crate::targets::Openers;
use crate::{engines, targets};

/// How a command was started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Never use the network.
    pub offline: bool,
    /// Leave the lock as it is.
    pub locked: bool,
    /// Where the local target keeps its state.
    pub state: PathBuf,
    /// This program, for supervising servers.
    pub program: PathBuf,
    /// Seconds since 1970 that every file in a layer has.
    pub epoch: u64,
    /// How patient downloads are.
    pub patience: Patience,
    /// Where Debian packages come from.
    pub mirrors: Mirrors,
    /// Where files are taken from that engines load from addresses of their own, if not from there.
    pub files_mirror: Option<String>,
    /// Docker's configuration files, of which the first that has credentials counts.
    pub credentials: Vec<PathBuf>,
    /// What can serve models.
    pub engines: Engines,
    /// Where models can be served.
    pub targets: Openers,
    /// Reads an environment variable for a target; one that is empty is none.
    pub variable: fn(&str) -> Option<String>,
    /// Reads which hub to ask, and with which token: only once it is asked.
    pub hub: fn() -> Result<HubSettings, HubError>,
}

/// A variable holds something else than it should.
#[derive(Debug, Error, Diagnostic)]
#[error("{variable} is `{value}`, expected {expected}")]
#[diagnostic(code(goatbuild::usage::variable))]
pub struct WrongVariable {
    variable: &'static str,
    value: String,
    expected: &'static str,
}

impl Settings {
    /// What the environment says beside the command line. In CI, too, locks stay as they are.
    pub fn read(offline: bool, locked: bool) -> Result<Self, WrongVariable> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let directory = |name: &str| variable(name).map(PathBuf::from);
        let state = directory("GOATBUILD_STATE_DIR")
            .or_else(|| directory("XDG_STATE_HOME").map(|home| home.join("goatbuild")))
            .or_else(|| directory("HOME").map(|home| home.join(".local/state/goatbuild")))
            .unwrap_or_else(|| PathBuf::from("/var/tmp/goatbuild"));
        let state = std::path::absolute(&state).unwrap_or(state);
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
        let epoch = number("SOURCE_DATE_EPOCH")?.unwrap_or(0);
        let mut patience = Patience::default();
        if let Some(attempts) = number("GOATBUILD_HTTP_ATTEMPTS")? {
            patience.attempts = u32::try_from(attempts).unwrap_or(u32::MAX).max(1);
        }
        if let Some(seconds) = number("GOATBUILD_HTTP_TIMEOUT")? {
            patience.stall = Duration::from_secs(seconds.max(1));
        }
        let mut mirrors = Mirrors::default();
        if let Some(pool) = variable("GOATBUILD_DEBIAN_POOL") {
            mirrors.pool = pool;
        }
        if let Some(snapshot) = variable("GOATBUILD_DEBIAN_SNAPSHOT") {
            mirrors.snapshot = Some(snapshot);
        }
        mirrors.mirror = variable("GOATBUILD_DEBIAN_MIRROR").or(mirrors.mirror);
        let files_mirror = variable("GOATBUILD_ENCODINGS");
        let credentials = [
            directory("DOCKER_CONFIG")
                .or_else(|| directory("HOME").map(|home| home.join(".docker")))
                .map(|docker| docker.join("config.json")),
            directory("REGISTRY_AUTH_FILE").or_else(|| {
                directory("XDG_RUNTIME_DIR").map(|runtime| runtime.join("containers/auth.json"))
            }),
        ];
        let credentials = credentials.into_iter().flatten().collect();
        let hub = || HubSettings::read(|name| std::env::var_os(name));
        let ci = variable("CI").is_some_and(|value| !["0", "false"].contains(&value.as_str()));
        Ok(Self {
            offline,
            locked: locked || ci,
            state,
            program,
            epoch,
            patience,
            mirrors,
            files_mirror,
            credentials,
            engines: engines::built_in(),
            targets: targets::built_in(),
            variable,
            hub,
        })
    }
}

fn number(variable: &'static str) -> Result<Option<u64>, WrongVariable> {
    match std::env::var(variable) {
        Ok(value) if !value.is_empty() => value.parse().map(Some).map_err(|_| WrongVariable {
            variable,
            value,
            expected: "a whole number",
        }),
        _ => Ok(None),
    }
}
