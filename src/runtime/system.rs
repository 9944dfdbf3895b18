//! What a sandbox sees of the machine itself: devices, processes, the kernel's own file systems.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::messages::{Failure, Processes};
use super::mounts::{HOST, bind, read_only, read_only_tree, tmpfs};
use super::root;

/// Nodes that programs expect; each is the host's.
const NODES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

/// Parts of a procfs and sysfs that change the machine rather than tell about it.
const MACHINE: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What tells of more than a server's own, or of its neighbours' work by the way. Docker hides the
/// first twelve (moby, `daemon/pkg/oci/defaults.go`); the others are file systems that a sysfs of
/// Docker's own lacks.
const MASKED: [&str; 18] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/fs/pstore",
    "/sys/kernel/config",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
];

/// What a hidden procfs still tells: of the machine, and nothing of its processes. Python, its
/// libraries and the engines look up processors, memory and kernel there; NVIDIA's libraries what
/// their driver and its devices are.
const TOLD: [&str; 12] = [
    "cpuinfo",
    "devices",
    "driver",
    "filesystems",
    "loadavg",
    "meminfo",
    "modules",
    "stat",
    "sys",
    "uptime",
    "version",
    "vmstat",
];

/// What a hidden procfs tells of any process of a server, since it is the same for all: files, and how
/// their lines begin. libnuma looks up there which processors and memory it may use, and vLLM doesn't
/// start on a processor otherwise; libuv and others, which cgroup limits them.
const OF_ANY_PROCESS: [(&str, &[&str]); 2] =
    [("cgroup", &[""]), ("status", &["Cpus_allowed", "Mems_allowed"])];

/// A few harmless nodes, terminals of its own, shared memory, and graphics processors if any.
pub(super) fn devices() -> Result<(), Failure> {
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
pub(super) fn system(processes: Processes) -> Result<(), Failure> {
    match processes {
        Processes::Isolated => mount(
            Some("proc"),
            "/proc",
            Some("proc"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
            None::<&str>,
        )
        .map_err(|error| Failure::Procfs { reason: error.to_string() })?,
        Processes::Hidden => hidden_procfs(&Path::new(HOST).join("proc"))?,
        Processes::Shared => bind(&Path::new(HOST).join("proc"), "/proc".as_ref())?,
    }
    bind(&Path::new(HOST).join("sys"), "/sys".as_ref())?;
    for path in MACHINE.map(Path::new) {
        if path.exists() {
            bind(path, path)?;
            read_only_tree(path)?;
        }
    }
    read_only_tree("/sys".as_ref())?;
    MASKED.iter().map(Path::new).try_for_each(mask)
}

/// Puts something empty over a file or directory, if there is one.
fn mask(path: &Path) -> Result<(), Failure> {
    match path.metadata() {
        Ok(found) if found.is_dir() => {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            let flags = flags | MsFlags::MS_RDONLY;
            mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some("mode=0555,size=0"))
                .map_err(Failure::setup(format!("masking {}", path.display())))
        }
        Ok(_) => bind("/dev/null".as_ref(), path),
        Err(_) => Ok(()),
    }
}

/// In place of a procfs: what the host's tells of the machine, and it can't be written to.
fn hidden_procfs(host: &Path) -> Result<(), Failure> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), "/proc", Some("tmpfs"), flags, Some("mode=0755"))
        .map_err(Failure::setup("hiding /proc"))?;
    for name in TOLD {
        let (source, target) = (host.join(name), Path::new("/proc").join(name));
        let made = match source.metadata() {
            Ok(found) if found.is_dir() => root::make_directory(&target),
            Ok(_) => File::create(&target).map(drop),
            // Not every kernel has everything.
            Err(_) => continue,
        };
        made.map_err(Failure::setup(format!("creating {}", target.display())))?;
        bind(&source, &target)?;
        read_only_tree(&target)?;
    }
    let of_any = Path::new("/proc/self");
    root::make_directory(of_any).map_err(Failure::setup("creating /proc/self"))?;
    for (name, lines) in OF_ANY_PROCESS {
        let told = std::fs::read_to_string(host.join("self").join(name)).unwrap_or_default();
        let told: String = told
            .split_inclusive('\n')
            .filter(|line| lines.iter().any(|begin| line.starts_with(begin)))
            .collect();
        std::fs::write(of_any.join(name), told)
            .map_err(Failure::setup(format!("creating /proc/self/{name}")))?;
    }
    read_only("/proc")
}
