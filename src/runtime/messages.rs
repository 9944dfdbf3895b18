//! What the caller and the supervisor tell each other, whichever process of the row one is.

use std::io::{BufRead as _, Write as _};
use std::process::{Child, ChildStdin};

use serde::{Deserialize, Serialize};

use super::Sandbox;

/// The hidden subcommand.
pub(super) const SUBCOMMAND: &str = "__supervise";

/// What the caller hands to the supervisor, as one line of JSON on standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    pub(super) sandbox: Sandbox,
    pub(super) id: String,
    pub(super) processes: Processes,
    pub(super) purpose: Purpose,
}

/// Which processes a sandbox can reach, and which it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Processes {
    /// Its own: a pid namespace with a fresh procfs.
    Isolated,
    /// Its own, and it sees none: the kernel refuses a fresh procfs where parts of the existing one
    /// are masked, as they are in unprivileged containers, and in that one process ids would not
    /// match. What it tells of the machine is there, and nothing of processes.
    Hidden,
    /// All of the host's, because there is no pid namespace to be had. On kernels without Landlock's
    /// scopes, a server can end whatever the user who runs it could end: never root's.
    Shared,
}

/// Why a sandbox is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// To serve, after the caller is gone too.
    Serve,
    /// For one command, which ends when the caller closes the supervisor's standard input.
    Once,
    /// To find out whether a sandbox can be made; nothing is executed in it.
    Probe,
}

/// Why a sandbox could not be made, as one line of JSON on standard output.
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
pub(super) enum Failure {
    /// The user namespace was refused.
    #[error("{reason}")]
    UserNamespaces { reason: String },
    /// The pid namespace was refused; everything else may still work.
    #[error("creating the pid namespace: {reason}")]
    PidNamespace { reason: String },
    /// The procfs was refused; everything else may still work.
    #[error("mounting a procfs: {reason}")]
    Procfs { reason: String },
    /// Something else was refused.
    #[error("{action}: {reason}")]
    Setup { action: String, reason: String },
    /// Everything is there but the command.
    #[error("`{command}` could not be started: {reason}")]
    Command { command: String, reason: String },
}

impl Failure {
    /// A [`Failure::Setup`], for `map_err`.
    pub(super) fn setup<E: ToString>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |error| Self::Setup { action, reason: error.to_string() }
    }
}

/// Writes the launch to a process's standard input, which closes when it is dropped.
pub(super) fn send_launch(
    child: &mut Child,
    launch: &Launch,
) -> std::io::Result<Option<ChildStdin>> {
    let mut line = serde_json::to_vec(launch)?;
    line.push(b'\n');
    let mut stdin = child.stdin.take();
    stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(&line))?;
    Ok(stdin)
}

/// Reads the launch from this process's own standard input.
pub(super) fn read_launch() -> Result<Launch, Failure> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(Failure::setup("reading what to start"))?;
    serde_json::from_str(&line).map_err(Failure::setup("reading what to start"))
}
