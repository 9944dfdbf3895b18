use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::event::Cancelled;

/// Why a sandbox could not be started, run or stopped.
#[derive(Debug, Error, Diagnostic)]
pub enum RuntimeError {
    /// This is not Linux.
    #[error("the embedded runtime needs Linux")]
    #[diagnostic(
        code(goatbuild::runtime::unsupported),
        help("start Docker or Podman, or serve the model with another target")
    )]
    Unsupported,
    /// The kernel or a policy refuses a user namespace.
    #[error("this machine refuses user namespaces: {reason}")]
    #[diagnostic(code(goatbuild::runtime::user_namespaces))]
    UserNamespaces {
        /// Which call failed, and how.
        reason: String,
        /// What this machine's settings suggest.
        #[help]
        help: String,
    },
    /// Root's processes could not be kept apart from the server's.
    #[error(
        "this machine refuses a pid namespace: {reason}; a server of root's could end every process of root's"
    )]
    #[diagnostic(code(goatbuild::runtime::pid_namespace), help("{PID_NAMESPACE_HELP}"))]
    PidNamespace {
        /// What the system said.
        reason: String,
    },
    /// A mount or another part of the sandbox could not be made.
    #[error("the sandbox could not be set up: {action}: {reason}")]
    #[diagnostic(
        code(goatbuild::runtime::setup),
        help(
            "in a container or under a security policy some mounts are refused: start Docker or Podman, or run the container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`"
        )
    )]
    Setup {
        /// What was tried.
        action: String,
        /// What the system said.
        reason: String,
    },
    /// The command can't be executed inside the root.
    #[error("`{command}` could not be started inside {}: {reason}", root.display())]
    #[diagnostic(
        code(goatbuild::runtime::command),
        help("is the program in the image, on its PATH, and built for this machine's processor?")
    )]
    Command {
        /// The program, as given.
        command: String,
        /// Where it was looked for.
        root: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file or directory that the sandbox names can't be used.
    #[error("{} cannot be used as {purpose}: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::runtime::path),
        help("it must exist and be accessible to the user who runs goatbuild")
    )]
    Path {
        /// The file or directory.
        path: PathBuf,
        /// What it is for.
        purpose: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The supervisor could not be started, or ended without a word.
    #[error("the supervisor could not be started: {reason}")]
    #[diagnostic(
        code(goatbuild::runtime::supervisor),
        help("the end of the deployment's log may say more")
    )]
    Supervisor {
        /// What happened.
        reason: String,
    },
    /// The processes are still there after they were killed.
    #[error("instance {id} (process {pid}) does not stop")]
    #[diagnostic(
        code(goatbuild::runtime::stop),
        help(
            "a process may hang in the kernel (a dead network file system?), or belong to another user"
        )
    )]
    Stop {
        /// The instance's id.
        id: String,
        /// The supervisor.
        pid: i32,
    },
    /// A one-off command took too long and was ended.
    #[error("`{command}` did not end within {seconds} s")]
    #[diagnostic(code(goatbuild::runtime::timeout), help("its last output:\n{tail}"))]
    Timeout {
        /// The program.
        command: String,
        /// The limit.
        seconds: u64,
        /// The end of its output.
        tail: String,
    },
    /// The work was asked to stop.
    #[error("interrupted")]
    #[diagnostic(code(goatbuild::interrupted))]
    Cancelled(#[from] Cancelled),
}

/// What to do where a server's processes can't be kept apart from others.
pub(super) const PID_NAMESPACE_HELP: &str = "allow them (`sysctl user.max_pid_namespaces` tells how many there may be), start Docker or Podman, or serve as a user who runs nothing else";

/// What to change so that user namespaces are allowed, from this machine's own settings.
#[cfg(target_os = "linux")]
pub(super) fn user_namespaces_help() -> String {
    let setting = |name: &str| {
        let text =
            std::fs::read_to_string(std::path::Path::new("/proc/sys").join(name.replace('.', "/")));
        text.ok().and_then(|text| text.trim().parse::<i64>().ok())
    };
    for (name, refusing, allowing) in [
        ("kernel.unprivileged_userns_clone", 0, "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", 1, "0"),
        ("user.max_user_namespaces", 0, "15000"),
    ] {
        if setting(name) == Some(refusing) {
            return format!(
                "allow them with `sudo sysctl -w {name}={allowing}` (for good: in /etc/sysctl.d/), or start Docker or Podman"
            );
        }
    }
    "a container or security policy refuses them: start Docker or Podman, or run this container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`; they are also refused inside a chroot, and to a container's root without CAP_SETFCAP".to_owned()
}
