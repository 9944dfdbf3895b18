//! The last process before the server: builds the view of the file system, then becomes the server.

use std::convert::Infallible;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd;

use super::messages::{Failure, Launch, Processes, Purpose};
use super::{INSTANCE_VARIABLE, root};

/// Where the host's root is seen while the sandbox is made.
const HOST: &str = "/run/.host";

/// Nodes that programs expect; each is the host's.
const NODES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

/// Parts of a procfs and sysfs that change the machine rather than tell about it.
const MACHINE: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A bind whose source is resolved on the host, before the root changes.
struct Source {
    path: PathBuf,
    target: PathBuf,
    read_only: bool,
}

/// Makes the sandbox and becomes the command; returns only for a probe.
pub(super) fn enter(launch: &Launch) -> Result<i32, Failure> {
    // A copy that closes itself when the command is executed, which tells the caller that it runs.
    let report = std::io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map_err(Failure::setup("keeping the report"))?;
    let sources = sources(launch)?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(Failure::setup("creating the mount namespace"))?;
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
    umount2(HOST, MntFlags::MNT_DETACH).map_err(Failure::setup("leaving the host's root"))?;
    std::fs::remove_dir(HOST).map_err(Failure::setup("leaving the host's root"))?;
    drop_privileges()?;
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
    for file in root::FILES {
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
    // Nothing mounted here shows outside; what is unmounted outside vanishes here as well.
    mount_or("/".as_ref(), None, MsFlags::MS_REC | MsFlags::MS_SLAVE)?;
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

/// A few harmless nodes, terminals of its own, shared memory, and graphics processors if any.
fn devices() -> Result<(), Failure> {
    mount(
        Some("tmpfs"),
        "/dev",
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        Some("mode=0755"),
    )
    .map_err(Failure::setup("mounting /dev"))?;
    let host = Path::new(HOST).join("dev");
    let graphics = std::fs::read_dir(&host)
        .map_err(Failure::setup("listing the host's devices"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("nvidia") || name == "dri" || name == "kfd");
    for name in NODES.into_iter().map(str::to_owned).chain(graphics) {
        let (source, target) = (host.join(&name), Path::new("/dev").join(&name));
        if source.is_dir() {
            root::make_directory(&target)
                .map_err(Failure::setup(format!("creating /dev/{name}")))?;
        } else if source.exists() {
            File::create(&target).map_err(Failure::setup(format!("creating /dev/{name}")))?;
        } else {
            continue;
        }
        bind(&source, &target)?;
    }
    for (link, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(to, Path::new("/dev").join(link))
            .map_err(Failure::setup(format!("linking /dev/{link}")))?;
    }
    for directory in ["/dev/shm", "/dev/pts"] {
        root::make_directory(directory.as_ref())
            .map_err(Failure::setup(format!("creating {directory}")))?;
    }
    tmpfs("/dev/shm")?;
    // Servers need no terminal; some kernels refuse.
    let _ = mount(
        Some("devpts"),
        "/dev/pts",
        Some("devpts"),
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        Some("newinstance,ptmxmode=0666,mode=0620"),
    );
    read_only("/dev")
}

/// The kernel's own file systems, so that they tell but don't obey.
fn system(processes: Processes) -> Result<(), Failure> {
    match processes {
        Processes::Isolated => mount(
            Some("proc"),
            "/proc",
            Some("proc"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
            None::<&str>,
        )
        .map_err(|error| Failure::Procfs { reason: error.to_string() })?,
        Processes::Shared => bind(&Path::new(HOST).join("proc"), "/proc".as_ref())?,
    }
    bind(&Path::new(HOST).join("sys"), "/sys".as_ref())?;
    for path in MACHINE.map(Path::new) {
        if path.exists() {
            bind(path, path)?;
            read_only(path)?;
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")
        .map_err(Failure::setup("reading the mounts"))?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| Path::new(point).starts_with("/sys")) {
        read_only(point)?;
    }
    Ok(())
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
    if source.read_only { read_only(target) } else { Ok(()) }
}

/// This process is killed when the one that started it ends.
pub(super) fn die_with_parent() -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(Failure::setup("binding to the supervisor"))
}

/// Enters a user namespace in which the caller is root, and nobody else exists.
pub(super) fn new_user_namespace() -> Result<(), Failure> {
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
        std::fs::write(Path::new("/proc/self").join(file), text)
            .map_err(|error| refused(&format!("writing {file}"), &error))
    };
    // Without this the kernel refuses the group map of a plain user; not every kernel has it.
    if Path::new("/proc/self/setgroups").exists() {
        write("setgroups", "deny".to_owned())?;
    }
    write("uid_map", format!("0 {user} 1"))?;
    write("gid_map", format!("0 {group} 1"))
}

/// Gives up every right over what was made above.
///
/// Inside a second user namespace the server still is root, but not over the first one, which owns
/// the mounts: what is read-only stays read-only.
fn drop_privileges() -> Result<(), Failure> {
    new_user_namespace()?;
    prctl::set_no_new_privs().map_err(Failure::setup("forbidding new privileges"))?;
    // Last, since a change of credentials undoes it.
    die_with_parent()
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

fn tmpfs(target: &str) -> Result<(), Failure> {
    let mode = if target == "/root" { "mode=0700" } else { "mode=1777" };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(mode))
        .map_err(Failure::setup(format!("mounting a tmpfs on {target}")))
}

/// Binds with everything mounted below: the kernel refuses to show what a mount hides.
fn bind(source: &Path, target: &Path) -> Result<(), Failure> {
    mount_or(target, Some(source), MsFlags::MS_BIND | MsFlags::MS_REC)
}

/// Makes the mount at `target` read-only, and keeps the flags that the kernel insists on.
fn read_only(target: impl AsRef<Path>) -> Result<(), Failure> {
    let target = target.as_ref();
    let kept = statvfs(target)
        .map_err(Failure::setup(format!("inspecting {}", target.display())))?
        .flags();
    let flags = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ]
    .into_iter()
    .filter(|(kept_flag, _)| kept.contains(*kept_flag))
    .fold(MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, |all, (_, flag)| all | flag);
    mount_or(target, None, flags)
}

fn mount_or(target: &Path, source: Option<&Path>, flags: MsFlags) -> Result<(), Failure> {
    mount(source, target, None::<&str>, flags, None::<&str>).map_err(Failure::setup(match source {
        Some(source) => format!("binding {} onto {}", source.display(), target.display()),
        None => format!("changing the mount {}", target.display()),
    }))
}
