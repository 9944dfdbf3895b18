//! From the start of a container to its end.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::create::explain;
use super::program::{DEED, QUESTION, ask, command, told, unstarted};
use super::{Container, ContainerEngine, ContainerError, INSTANCE, MODEL, Recipe, STATE};

/// How a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It runs, and was not started by anybody else since.
    Runs,
    /// It is there, holds its port, and is not as it was started; in a word or two.
    Altered(String),
    /// It does not run any more; how it ended.
    Ended(String),
    /// It is not there any more.
    Gone,
}

/// Starts a container that was created; gives it with the time of its start.
pub async fn start(container: &Container, recipe: &Recipe) -> Result<Container, ContainerError> {
    let kind = container.engine;
    let said = ask(kind, &["container", "start", &container.id], DEED).await?;
    if !said.done {
        return Err(explain(recipe, said.refused(kind, "start the server")));
    }
    let found = inspect(kind, &[&container.id]).await?;
    let state = found.first().map(|found| &found["State"]);
    let started_at = state.and_then(|state| state["StartedAt"].as_str()).map(str::to_owned);
    Ok(Container { started_at, ..container.clone() })
}

/// Ends a container, politely for as long as `grace`; one that has ended, or is not there, is fine.
///
/// What can't be ended politely is left to [`remove`].
pub async fn stop(container: &Container, grace: Duration) -> Result<(), ContainerError> {
    let kind = container.engine;
    let seconds = grace.as_secs().to_string();
    let arguments = ["container", "stop", "-t", &seconds, &container.id];
    let said = ask(kind, &arguments, DEED + grace).await?;
    match said.refused(kind, "stop the server") {
        error if !said.done && error.is_silence() => Err(error),
        _ => Ok(()),
    }
}

/// Removes a container at once, whether it runs or not.
pub async fn remove(kind: ContainerEngine, id: &str) -> Result<(), ContainerError> {
    let said = ask(kind, &["container", "rm", "--force", "--volumes", id], DEED).await?;
    if said.done || said.is_missing() {
        return Ok(());
    }
    Err(said.refused(kind, "remove the container"))
}

/// The ids of containers that carry our labels: of one model, or of one instance.
pub async fn find(
    kind: ContainerEngine,
    state: &str,
    model: Option<&str>,
    instance: Option<&str>,
) -> Result<Vec<String>, ContainerError> {
    let mut filters = vec![format!("label={STATE}={state}")];
    filters.extend(model.map(|model| format!("label={MODEL}={model}")));
    filters.extend(instance.map(|instance| format!("label={INSTANCE}={instance}")));
    let mut arguments = vec!["container", "ls", "--all", "--quiet", "--no-trunc"];
    for filter in &filters {
        arguments.extend(["--filter", filter]);
    }
    let listed = told(kind, "list its containers", &arguments, QUESTION).await?;
    Ok(listed.split_whitespace().map(str::to_owned).collect())
}

/// How one container is.
pub async fn condition(container: &Container) -> Result<Condition, ContainerError> {
    let all = conditions(container.engine, &[container]).await?;
    Ok(all.get(&container.id).cloned().unwrap_or(Condition::Gone))
}

/// How containers are, by id.
pub async fn conditions(
    kind: ContainerEngine,
    containers: &[&Container],
) -> Result<BTreeMap<String, Condition>, ContainerError> {
    let ids: Vec<&str> = containers.iter().map(|container| container.id.as_str()).collect();
    let found = inspect(kind, &ids).await?;
    let judged = containers.iter().map(|container| {
        let mut found = found.iter().filter(|found| found["Id"] == container.id.as_str());
        (container.id.clone(), judge(container, found.next()))
    });
    Ok(judged.collect())
}

/// Compares a container with what was found under its id.
pub(super) fn judge(container: &Container, found: Option<&Value>) -> Condition {
    let Some(found) = found else { return Condition::Gone };
    let state = &found["State"];
    let is = |field: &str| state[field].as_bool().unwrap_or(false);
    // Docker counts a paused container among those that run, Podman does not.
    if is("Paused") || state["Status"] == "paused" {
        return Condition::Altered("paused".to_owned());
    }
    if !is("Running") {
        let code = state["ExitCode"].as_i64().unwrap_or_default();
        let memory = if is("OOMKilled") { ", out of memory" } else { "" };
        return Condition::Ended(format!("ended with status {code}{memory}"));
    }
    if state["StartedAt"].as_str() != container.started_at.as_deref() {
        return Condition::Altered("started again by somebody else".to_owned());
    }
    Condition::Runs
}

/// What the engine has of these ids; those that are not there are left out.
async fn inspect(kind: ContainerEngine, ids: &[&str]) -> Result<Vec<Value>, ContainerError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut arguments = vec!["container", "inspect"];
    arguments.extend(ids);
    let said = ask(kind, &arguments, QUESTION).await?;
    if !said.done && !said.is_missing() {
        return Err(said.refused(kind, "look at its containers"));
    }
    Ok(serde_json::from_str(said.stdout.trim()).unwrap_or_default())
}

/// Copies what a container says into its log, until it ends: a process that outlives this one.
#[derive(Debug)]
pub struct Tail(Child);

impl Tail {
    /// Waits a moment for the last lines of a container that has ended.
    pub async fn finish(mut self) {
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline && matches!(self.0.try_wait(), Ok(None)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Starts to copy what a container says to the end of its log.
pub fn follow(container: &Container, recipe: &Recipe) -> Result<Tail, ContainerError> {
    let failed = |source| ContainerError::Log { path: recipe.log.clone(), source };
    let mut options = OpenOptions::new();
    let log = options.append(true).create(true).mode(0o600).open(&recipe.log).map_err(failed)?;
    let also = log.try_clone().map_err(failed)?;
    let mut command = command(container.engine);
    command.args(["container", "logs", "--follow", &container.id]).stdout(log).stderr(also);
    // In a group of its own: what ends the caller from a terminal does not end it.
    let child = command.process_group(0).spawn();
    child.map(Tail).map_err(|error| unstarted(container.engine, &error))
}

/// Removes a container when it is dropped, or when this process dies.
#[derive(Debug)]
pub struct Guard {
    /// Kept open: when it closes, the container is removed.
    _stdin: Option<ChildStdin>,
}

/// Ties a container to this process: a shell waits for its end, and then removes the container.
pub fn guard(container: &Container) -> Result<Guard, ContainerError> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", "cat > /dev/null; exec \"$@\"", "goatbuild"])
        .args([container.engine.program(), "container", "rm", "--force", "--volumes"])
        .arg(&container.id)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| unstarted(container.engine, &error))?;
    Ok(Guard { _stdin: child.stdin.take() })
}
