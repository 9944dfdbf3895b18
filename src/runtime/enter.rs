//! The last process before the server: builds the view of the file system, then becomes the server.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd;
use rustix::fs::{Mode, OFlags, open, openat};

use super::messages::{Failure, Launch, Purpose, SUBCOMMAND};
use super::mounts::{HOST, bind, mount_or, read_only, read_only_tree, tmpfs};
use super::system::{devices, system};
use super::{INSTANCE_VARIABLE, confine, root};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A bind whose source is resolved on the host, before the root changes.
struct Source {
    path: PathBuf,
    target: PathBuf,
    read_only: bool,
}

/// Goes on as the same program, from a mount of its own through which nobody can write.
///
/// What is executed first in the sandbox may name this very program as its interpreter
/// (`#!/proc/self/exe`) and so get hold of its file, as CVE-2019-5736 did of runc's. That programs that
/// run can't be written to isn't so on every kernel.
pub(super) fn seal(id: &OsStr) -> Result<Infallible, Failure> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(Failure::setup("creating the mount namespace"))?;
    // Nothing mounted here shows outside; what is unmounted outside vanishes here as well.
    mount_or("/".as_ref(), None, MsFlags::MS_REC | MsFlags::MS_SLAVE)?;
    let program = std::env::current_exe().map_err(Failure::setup("looking up this program"))?;
    bind(&program, &program)?;
    read_only(&program)?;
    // What is to be started is still to be read, from standard input.
    let error =
        Command::new(&program).arg0("goatbuild").args([SUBCOMMAND, "inside"]).arg(id).exec();
    Err(Failure::setup("starting `inside`")(error))
}

/// Makes the sandbox and becomes the command; returns only for a probe.
///
/// The mount namespace is this process's own.
pub(super) fn enter(launch: &Launch) -> Result<i32, Failure> {
    // A copy that closes itself when the command is executed, which tells the caller that it runs.
    let report = std::io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map_err(Failure::setup("keeping the report"))?;
    let sources = sources(launch)?;
    change_root(&launch.sandbox.root)?;
    root::prepare_root(Path::new("/")).map_err(|error| Failure::Setup {
        action: "preparing the root".into(),
        reason: error.to_string(),
    })?;
    for directory in ["/tmp", "/root"] {
        tmpfs(directory)?;
    }
    devices()?;
    system(launch.processes)?;
    for source in &sources {
        bind_into(source)?;
    }
    read_only("/")?;
    // The sandbox's own procfs may be hidden, and the host's is out of sight soon.
    let procfs = Path::new(HOST).join("proc");
    let process = this_process(&procfs)?;
    // One more below this one, and none below that: where the system call filter should have a gap.
    // A container may have made it read-only.
    let _ = std::fs::write(procfs.join("sys/user/max_user_namespaces"), "1");
    umount2(HOST, MntFlags::MNT_DETACH).map_err(Failure::setup("leaving the host's root"))?;
    std::fs::remove_dir(HOST).map_err(Failure::setup("leaving the host's root"))?;
    drop_privileges(process)?;
    if launch.purpose == Purpose::Probe {
        return Ok(0);
    }
    let null = File::open("/dev/null").map_err(Failure::setup("opening /dev/null"))?;
    unistd::dup2_stdin(null).map_err(Failure::setup("closing standard input"))?;
    unistd::dup2_stdout(std::io::stderr()).map_err(Failure::setup("opening the log"))?;
    let Err(failure) = become_command(launch);
    let mut report = File::from(report);
    let _ = serde_json::to_writer(&mut report, &failure);
    let _ = writeln!(std::io::stderr(), "goatbuild: {failure}");
    Ok(127)
}

/// Everything to be bound, with the host's name resolution first.
fn sources(launch: &Launch) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    let files = if launch.sandbox.alone { &[][..] } else { &root::FILES };
    for file in files {
        // A host without the file, or with a dangling link, has nothing to offer.
        if let Ok(path) = Path::new("/").join(file).canonicalize() {
            sources.push(Source { path, target: Path::new("/").join(file), read_only: true });
        }
    }
    for bind in &launch.sandbox.binds {
        let path = bind
            .source
            .canonicalize()
            .map_err(Failure::setup(format!("binding {}", bind.source.display())))?;
        sources.push(Source { path, target: bind.target.clone(), read_only: bind.read_only });
    }
    Ok(sources)
}

/// Makes `root` the root; the host's is then at [`HOST`], in a tmpfs on `/run`.
fn change_root(root: &Path) -> Result<(), Failure> {
    let root =
        root.canonicalize().map_err(Failure::setup(format!("entering {}", root.display())))?;
    bind(&root, &root)?;
    let run = root.join("run");
    root::make_directory(&run).map_err(Failure::setup("creating /run in the root"))?;
    let run = run.to_string_lossy();
    tmpfs(&run)?;
    let host = root.join(HOST.trim_start_matches('/'));
    root::make_directory(&host).map_err(Failure::setup("creating a place for the host's root"))?;
    unistd::pivot_root(&root, &host).map_err(Failure::setup("changing the root"))?;
    unistd::chdir("/").map_err(Failure::setup("changing the root"))
}

/// Binds one source of the host, and makes the mount point where that is possible.
fn bind_into(source: &Source) -> Result<(), Failure> {
    let target = source.target.as_path();
    let seen = Path::new(HOST).join(source.path.strip_prefix("/").unwrap_or(&source.path));
    let made = if seen.is_dir() {
        std::fs::create_dir_all(target)
    } else {
        target.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(
            |()| match File::create_new(target) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            },
        )
    };
    made.map_err(Failure::setup(format!("creating the mount point {}", target.display())))?;
    bind(&seen, target)?;
    if source.read_only { read_only_tree(target) } else { Ok(()) }
}

/// This process is killed when the one that started it ends.
pub(super) fn die_with_parent() -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(Failure::setup("binding to the supervisor"))
}

/// This process, as the procfs there tells of it.
pub(super) fn this_process(procfs: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(procfs.join("self"), flags, Mode::empty())
        .map_err(Failure::setup("looking this process up in /proc"))
}

/// Enters a user namespace in which the caller is root, and nobody else exists.
///
/// `process` is the caller's directory in a procfs.
pub(super) fn new_user_namespace(process: &OwnedFd) -> Result<(), Failure> {
    let refused = |action: &str, error: &dyn std::fmt::Display| Failure::UserNamespaces {
        reason: format!("{action}: {error}"),
    };
    let (user, group) = (unistd::geteuid(), unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| match error {
        // The system's words for it are "no space left on device".
        Errno::ENOSPC => refused("unshare", &"their limit, user.max_user_namespaces, is reached"),
        error => refused("unshare", &error),
    })?;
    let write = |file: &str, text: String| {
        openat(process, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(std::io::Error::from)
            .and_then(|opened| File::from(opened).write_all(text.as_bytes()))
            .map_err(|error| (error.kind(), refused(&format!("writing {file}"), &error)))
    };
    // Without this the kernel refuses the group map of a plain user; not every kernel has it.
    match write("setgroups", "deny".to_owned()) {
        Err((kind, failure)) if kind != ErrorKind::NotFound => return Err(failure),
        _ => {}
    }
    let write = |file, text| write(file, text).map_err(|(_, failure)| failure);
    write("uid_map", format!("0 {user} 1"))?;
    write("gid_map", format!("0 {group} 1"))
}

/// Gives up every right over what was made above.
///
/// Inside a second user namespace the server still is root, but not over the first one, which owns
/// the mounts: what is read-only stays read-only. Over the second one it has no rights either.
fn drop_privileges(process: OwnedFd) -> Result<(), Failure> {
    new_user_namespace(&process)?;
    // It would be a way into the host's procfs.
    drop(process);
    confine::limit()?;
    prctl::set_no_new_privs().map_err(Failure::setup("forbidding new privileges"))?;
    confine::scope()?;
    confine::give_up_capabilities()?;
    // After that, since a change of credentials undoes it.
    die_with_parent()?;
    confine::filter_system_calls()
}

fn become_command(launch: &Launch) -> Result<Infallible, Failure> {
    let sandbox = &launch.sandbox;
    unistd::chdir(sandbox.workdir.as_str())
        .map_err(Failure::setup(format!("entering the directory {}", sandbox.workdir)))?;
    let (program, arguments) = sandbox
        .command
        .split_first()
        .ok_or_else(|| Failure::Command { command: String::new(), reason: "it is empty".into() })?;
    let error = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("HOME", "/root")
        .env("PATH", DEFAULT_PATH)
        .envs(&sandbox.env)
        .env(INSTANCE_VARIABLE, &launch.id)
        .exec();
    Err(Failure::Command { command: program.clone(), reason: error.to_string() })
}
