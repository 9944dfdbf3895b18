//! Whether Docker or Podman is here, really answers, and can serve from this machine's own files.

use std::time::Duration;

use serde_json::Value;

use super::program::{ask, last_words};
use super::{ContainerEngine, ContainerError, Network};

/// How long both may take to answer: a daemon that hangs must not hang `plan`.
const PATIENCE: Duration = Duration::from_secs(5);

/// One that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Which of the two.
    pub kind: ContainerEngine,
    /// The daemon's version, or the program's.
    pub version: String,
    /// How its containers are reached from here.
    pub network: Network,
    /// Root in a container is root on this machine, whoever asks for it.
    pub rootful: bool,
}

/// Asks one of the two; `linux` says whether this machine's files are Linux's own.
pub async fn probe(kind: ContainerEngine, linux: bool) -> Result<Engine, ContainerError> {
    match kind {
        ContainerEngine::Docker => {
            let (info, context) = tokio::join!(
                ask(kind, &["info", "--format", "{{json .}}"], PATIENCE),
                ask(
                    kind,
                    &["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"],
                    PATIENCE
                ),
            );
            // Old versions have no contexts; then it is the local socket, or DOCKER_HOST.
            let endpoint = context.map(|said| said.stdout.trim().to_owned()).unwrap_or_default();
            let info = info?;
            let parsed = serde_json::from_str(info.stdout.trim()).unwrap_or_default();
            if !info.done && parsed == Value::Null {
                return Err(ContainerError::Unreachable { kind, reason: last_words(&info.stderr) });
            }
            docker(&parsed, &info.stderr, &endpoint, linux)
        }
        ContainerEngine::Podman => {
            let info = ask(kind, &["info", "--format", "json"], PATIENCE).await?;
            match serde_json::from_str(&info.stdout) {
                Ok(parsed) if info.done => podman(&parsed, linux),
                _ => Err(ContainerError::Unreachable { kind, reason: last_words(&info.stderr) }),
            }
        }
    }
}

/// Reads what `docker info` said.
///
/// Some versions put the daemon's silence into the document, others beside it.
pub(super) fn docker(
    info: &Value,
    stderr: &str,
    endpoint: &str,
    linux: bool,
) -> Result<Engine, ContainerError> {
    let kind = ContainerEngine::Docker;
    let text = |field: &str| info[field].as_str().unwrap_or_default().to_owned();
    let unsuitable = |reason: String, help: &str| ContainerError::Unsuitable {
        kind,
        reason,
        help: help.to_owned(),
    };
    if info["host"].is_object() {
        return Err(unsuitable(
            "`docker` is Podman under another name here".to_owned(),
            "write `runtime = \"podman\"`",
        ));
    }
    if text("ServerVersion").is_empty() {
        let errors = info["ServerErrors"].as_array().into_iter().flatten();
        let said: Vec<&str> = errors.filter_map(Value::as_str).collect();
        let reason = if said.is_empty() { last_words(stderr) } else { said.join("; ") };
        return Err(ContainerError::Unreachable { kind, reason });
    }
    if !endpoint.is_empty() && !endpoint.starts_with("unix://") {
        return Err(unsuitable(
            format!("its daemon is elsewhere ({endpoint}), and this project's volumes are here"),
            "unset DOCKER_HOST, or `docker context use default`",
        ));
    }
    if text("OSType") != "linux" {
        return Err(unsuitable(
            format!("it runs {} containers", text("OSType")),
            "switch it to Linux containers",
        ));
    }
    let options = info["SecurityOptions"].as_array().into_iter().flatten();
    let rootless = options.filter_map(Value::as_str).any(|option| option == "name=rootless");
    // In a virtual machine, whose network and whose users are not this machine's.
    let desktop = !linux || text("OperatingSystem") == "Docker Desktop";
    Ok(Engine {
        kind,
        version: text("ServerVersion"),
        network: if desktop || rootless { Network::Published } else { Network::Host },
        rootful: !desktop && !rootless,
    })
}

/// Reads what `podman info` said.
pub(super) fn podman(info: &Value, linux: bool) -> Result<Engine, ContainerError> {
    let kind = ContainerEngine::Podman;
    let remote = info["host"]["serviceIsRemote"].as_bool().unwrap_or(false);
    if remote && linux {
        return Err(ContainerError::Unsuitable {
            kind,
            reason: "its service is elsewhere, and this project's volumes are here".to_owned(),
            help: "unset CONTAINER_HOST".to_owned(),
        });
    }
    Ok(Engine {
        kind,
        version: info["version"]["Version"].as_str().unwrap_or("unknown").to_owned(),
        network: if linux { Network::Host } else { Network::Published },
        rootful: linux && !info["host"]["security"]["rootless"].as_bool().unwrap_or(false),
    })
}
