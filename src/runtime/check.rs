//! Whether this machine can run sandboxes: by making one, rather than by guessing from settings.

use std::path::Path;

use super::error::user_namespaces_help;
use super::messages::{Failure, Processes};
use super::{Check, Report, launch};

/// Tries out what a sandbox needs, in a directory of its own under `scratch`.
///
/// Takes some hundredths of a second, needs no network and executes nothing but `supervisor`.
pub fn check(scratch: &Path, supervisor: &Path) -> Report {
    let probe = |processes| {
        let root = tempfile::tempdir_in(scratch)
            .map_err(|error| format!("{}: {error}", scratch.display()))?;
        launch::probe(root.path(), processes, supervisor).map_err(|error| error.to_string())
    };
    let isolated = probe(Processes::Isolated);
    let (outcome, view) = match isolated {
        Ok(Some(Failure::Procfs { reason })) => (
            probe(Processes::Shared),
            format!("shared with this machine: a procfs of its own is refused ({reason})"),
        ),
        outcome => (outcome, "isolated".to_owned()),
    };
    let passed =
        |name, detail: &str| Check { name, ok: Some(true), detail: detail.to_owned(), help: None };
    let checks = match outcome {
        Err(reason) => vec![Check {
            name: "supervisor",
            ok: Some(false),
            detail: reason,
            help: Some("is the directory writable, and its file system mounted with exec?".into()),
        }],
        Ok(Some(Failure::UserNamespaces { reason })) => vec![Check {
            name: "user namespaces",
            ok: Some(false),
            detail: reason,
            help: Some(user_namespaces_help()),
        }],
        Ok(Some(failure)) => vec![
            passed("user namespaces", "available"),
            Check {
                name: "mounts",
                ok: Some(false),
                detail: failure.to_string(),
                help: Some("a container or security policy refuses it: start Docker or Podman, or run the container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`".into()),
            },
        ],
        Ok(None) => vec![
            passed("user namespaces", "available"),
            passed("mounts", "available"),
            passed("processes", &view),
            devices(),
        ],
    };
    Report { checks }
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
