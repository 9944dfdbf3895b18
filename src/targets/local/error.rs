//! Why something could not be done on this machine.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::compiled;
use crate::event::Cancelled;

/// Why something could not be done on this machine.
#[derive(Debug, Error, Diagnostic)]
pub enum LocalError {
    /// Sandboxes can't run here.
    #[error("this machine can't run images without Docker: {reason}")]
    #[diagnostic(code(goatbuild::local::runtime))]
    Runtime {
        /// The first check that failed.
        reason: String,
        /// What to do about it.
        #[help]
        help: String,
    },
    /// What the setting names can't be had.
    #[error("`[target.local] runtime` can't be had: {reason}")]
    #[diagnostic(code(goatbuild::local::wished))]
    Wished {
        /// What is in the way.
        reason: String,
        /// What to do about it.
        #[help]
        help: Option<String>,
    },
    /// This system has no embedded runtime.
    #[error("serving on {system} needs Docker or Podman: {refused}")]
    #[diagnostic(
        code(goatbuild::local::needs_docker),
        help(
            "start Docker, or a machine of Podman's; everything but serving works without: `goatbuild plan`, `goatbuild apply --only image:NAME`"
        )
    )]
    NeedsEngine {
        /// The system.
        system: String,
        /// What each of them said.
        refused: String,
    },
    /// Who runs the server does not answer, and something holds its port.
    #[error("port {port} is in use, maybe still by the server there: {reason}")]
    #[diagnostic(
        code(goatbuild::local::unreachable),
        help("start what ran it, or stop what uses the port; nothing was stopped")
    )]
    Unreachable {
        /// The port.
        port: u16,
        /// What was tried.
        reason: String,
    },
    /// The port is taken.
    #[error("port {port} is in use by another program")]
    #[diagnostic(
        code(goatbuild::local::port),
        help(
            "stop that program (`ss -ltnp` names it), or give the model another `[serve] port`; nothing was stopped"
        )
    )]
    Port {
        /// The port.
        port: u16,
    },
    /// The server ended before it answered.
    #[error("{model}: the server ended before it answered{outcome}; the end of its log:\n{log}")]
    #[diagnostic(
        code(goatbuild::local::ended),
        help("`goatbuild logs {model}` shows the whole log{}", weights(log))
    )]
    Ended {
        /// The model.
        model: String,
        /// What became of the one before.
        outcome: String,
        /// The log's last lines.
        log: String,
    },
    /// The server did not answer in time.
    #[error("{model}: the server {heard} within {seconds} s{outcome}; the end of its log:\n{log}")]
    #[diagnostic(code(goatbuild::local::unhealthy))]
    Unhealthy {
        /// The model.
        model: String,
        /// The startup timeout.
        seconds: u64,
        /// What it did instead.
        heard: String,
        /// What to do.
        #[help]
        help: String,
        /// What became of the one before.
        outcome: String,
        /// The log's last lines.
        log: String,
    },
    /// It would have answered anybody.
    #[error("{model}: the server answered HTTP {status} to a request without the key{outcome}")]
    #[diagnostic(
        code(goatbuild::local::open),
        help(
            "with `auth = \"api-key\"` it has to answer 401 or 403 then. The key is in its variable GOATBUILD_API_KEY; a server that reads another one gets it there by `secret-env`"
        )
    )]
    Open {
        /// The model.
        model: String,
        /// What it answered.
        status: u16,
        /// What became of the one before.
        outcome: String,
    },
    /// The start was interrupted.
    #[error("interrupted{outcome}")]
    #[diagnostic(code(goatbuild::interrupted))]
    Interrupted {
        /// What became of the one before.
        outcome: String,
        /// Who asked for it.
        source: Cancelled,
    },
    /// A file or directory can't be used.
    #[error("{} can't be used: {source}", path.display())]
    #[diagnostic(code(goatbuild::local::file), help("is the disk full? check the permissions"))]
    File {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The second start compiled again.
    #[error("{model}: the second start compiled again: {again}")]
    #[diagnostic(code(goatbuild::local::cold), help("{}", crate::targets::WAY_OUT))]
    Cold {
        /// The model.
        model: String,
        /// How that is known.
        again: compiled::Again,
    },
}

/// Why a volume stays where it is.
#[derive(Debug, Error, Diagnostic)]
pub(super) enum MoveError {
    /// It has no room on the other file system.
    #[error(
        "{} has no room for the volumes that move there: {needed} bytes are needed, {available} are free",
        path.display()
    )]
    #[diagnostic(
        code(goatbuild::local::move_room),
        help(
            "free some space, or set GOATBUILD_STATE_DIR to a directory on another disk; volumes that have not moved yet stay usable where they are"
        )
    )]
    NoRoom {
        /// Where they belong.
        path: PathBuf,
        /// Bytes to copy.
        needed: u64,
        /// Free bytes.
        available: u64,
    },
    /// Something can't be read or written.
    #[error("a volume can't be moved: {}: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::local::move_volume),
        help(
            "check the permissions and the free space; no data is lost, and the next apply goes on. GOATBUILD_STATE_DIR names another place for volumes"
        )
    )]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was written is not what was read.
    #[error("the copy at {} differs from its original", path.display())]
    #[diagnostic(
        code(goatbuild::local::move_differs),
        help(
            "the disk may be failing; the volume stays in cache/volumes, and the next apply tries again"
        )
    )]
    Differs {
        /// The copy.
        path: PathBuf,
    },
}

pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> MoveError {
    let path = path.to_owned();
    move |source| MoveError::Unusable { path, source }
}

/// What is to be done about weights that a server couldn't read, as the end of its log has it: in the words of
/// the safetensors library, or of `PyTorch`'s reader of archives.
fn weights(log: &str) -> &'static str {
    let words = ["Error while deserializing header", "PytorchStreamReader failed"];
    if words.iter().any(|words| log.contains(words)) {
        "; `goatbuild check --weights` finds weights that a disk has damaged, and the next apply brings them again"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic as _;

    use super::*;

    #[test]
    fn a_server_that_could_not_read_its_weights_has_them_checked() {
        let help = |log: &str| {
            let (model, outcome, log) = ("m".to_owned(), String::new(), log.to_owned());
            LocalError::Ended { model, outcome, log }.help().unwrap().to_string()
        };
        // vllm-project/vllm#15445.
        let damaged = "safetensors_rust.SafetensorError: Error while deserializing header: \
                       MetadataIncompleteBuffer";
        assert!(help(damaged).contains("`goatbuild check --weights` finds"));
        assert_eq!(help("ValueError: no"), "`goatbuild logs m` shows the whole log");
    }
}
