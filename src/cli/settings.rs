//! What the command line and the environment say of how to work.

use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use super::Global;
use crate::debian::Mirrors;
use crate::fetch::Patience;
use crate::hub::HubSettings;
use crate::ops::open::Site;
use crate::workspace::Settings;
use crate::{engines, targets};

/// A variable holds something else than it should.
#[derive(Debug, Error, Diagnostic)]
#[error("{variable} is `{value}`, expected {expected}")]
#[diagnostic(code(goatbuild::usage::variable))]
pub(crate) struct WrongVariable {
    variable: &'static str,
    value: String,
    expected: &'static str,
}

impl Global {
    /// Which project the command is about, and how it works there.
    pub(super) fn site(&self) -> Result<Site, WrongVariable> {
        Ok(Site {
            directory: self.directory.clone(),
            environment: self.environment.clone(),
            settings: settings(self)?,
            patience: Duration::from_secs(self.lock_timeout),
            ci_run: ci_run(),
        })
    }
}

/// How a command was started.
fn settings(global: &Global) -> Result<Settings, WrongVariable> {
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
    let (offline, locked) = (global.offline, is_locked(global));
    Ok(Settings {
        offline,
        locked,
        state,
        program,
        epoch,
        patience,
        mirrors,
        credentials,
        engines: engines::built_in(),
        targets: targets::built_in(),
        variable,
        hub,
    })
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

/// The address of the CI run that this is, where its variables tell: those of GitHub Actions and of
/// GitLab.
fn ci_run() -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let github = || {
        let (server, repository) = (variable("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?);
        Some(format!("{server}/{repository}/actions/runs/{}", variable("GITHUB_RUN_ID")?))
    };
    github().or_else(|| variable("CI_JOB_URL"))
}

/// Whether the lock must stay as it is.
fn is_locked(global: &Global) -> bool {
    let ci = std::env::var("CI").is_ok_and(|value| !["", "0", "false"].contains(&value.as_str()));
    global.locked || ci
}
