//! Whether this machine can run sandboxes: by making one, rather than by guessing from settings.

use std::path::Path;

use super::error::{PID_NAMESPACE_HELP, user_namespaces_help};
use super::messages::{Failure, Processes};
use super::{Check, Report, SCRATCH, launch};
use crate::leftovers::Scratch;

/// Tries out what a sandbox needs, in a directory of its own under `scratch`.
///
/// Takes some hundredths of a second, needs no network and executes nothing but `supervisor`.
pub fn check(scratch: &Path, supervisor: &Path) -> Report {
    let probe = |processes| {
        let root = Scratch::make(scratch, SCRATCH)
            .map_err(|error| format!("{}: {error}", scratch.display()))?;
        launch::probe(root.path(), processes, supervisor).map_err(|error| error.to_string())
    };
    let passed =
        |name, detail: &str| Check { name, ok: Some(true), detail: detail.to_owned(), help: None };
    let tried = match launch::isolation(probe) {
        Ok(tried) => tried,
        Err(reason) => return Report { checks: vec![unsupervised(reason)] },
    };
    let checks = match tried.failure {
        Some(Failure::UserNamespaces { reason }) => vec![Check {
            name: "user namespaces",
            ok: Some(false),
            detail: reason,
            help: Some(user_namespaces_help()),
        }],
        Some(Failure::PidNamespace { reason }) => vec![
            passed("user namespaces", "available"),
            Check {
                name: "processes",
                ok: Some(false),
                detail: format!("a pid namespace is refused ({reason}): a server of root's could end every process of root's"),
                help: Some(PID_NAMESPACE_HELP.to_owned()),
            },
        ],
        Some(failure) => vec![
            passed("user namespaces", "available"),
            Check {
                name: "mounts",
                ok: Some(false),
                detail: failure.to_string(),
                help: Some("a container or security policy refuses it: start Docker or Podman, or run the container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`".into()),
            },
        ],
        None => vec![
            passed("user namespaces", "available"),
            passed("mounts", "available"),
            processes(tried.processes, tried.refused.as_deref().unwrap_or_default()),
            devices(),
        ],
    };
    Report { checks }
}

/// The supervisor could not even be asked.
fn unsupervised(reason: String) -> Check {
    Check {
        name: "supervisor",
        ok: Some(false),
        detail: reason,
        help: Some("is the directory writable, and its file system mounted with exec?".to_owned()),
    }
}

/// How far a server's processes are kept apart.
fn processes(processes: Processes, refused: &str) -> Check {
    let (ok, detail, help) = match processes {
        Processes::Isolated => (Some(true), "isolated".to_owned(), None),
        Processes::Hidden => (
            Some(true),
            format!("isolated, without a view of themselves: a procfs is refused ({refused})"),
            None,
        ),
        Processes::Shared => (
            None,
            format!(
                "warning: shared with this machine, since a pid namespace is refused ({refused}): a server sees every process of yours, and before Linux 6.12 can end it"
            ),
            Some(PID_NAMESPACE_HELP.to_owned()),
        ),
    };
    Check { name: "processes", ok, detail, help }
}

/// The nodes without which Python and the engines don't start.
fn devices() -> Check {
    let missing: Vec<&str> = ["/dev/null", "/dev/urandom", "/dev/zero"]
        .into_iter()
        .filter(|node| !Path::new(node).exists())
        .collect();
    Check {
        name: "devices",
        ok: Some(missing.is_empty()),
        detail: if missing.is_empty() {
            "present".to_owned()
        } else {
            format!("missing: {}", missing.join(", "))
        },
        help: (!missing.is_empty())
            .then(|| "mount a complete /dev into this container or chroot".to_owned()),
    }
}
