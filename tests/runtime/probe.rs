//! A program that tries what a server must not reach, and a table of what it gets.
//!
//! Each expectation says where it comes from, and holds for root and for ordinary users alike, unless
//! it names where it doesn't.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use goatbuild::event::Reporter;
use goatbuild::runtime::{self, Bind};

use super::fixture::{
    Compiled, Fixture, eventually, free_port, fresh_id, greeting, spawn, supervisor,
};
use super::{Surroundings, is};

/// What is expected: of what, the answer, and where that comes from. Where kernels differ, or an
/// ordinary user is stopped before, there are several.
type Row = (&'static str, &'static str, &'static str);

/// Where nothing else is said, the answer is given by the system call filter, which is older than any
/// right that is missing.
const DOCKER: &str = "refused by Docker's default profile: moby/profiles, seccomp/default.json";
const CAPABILITY: &str = "capabilities(7)";
const NAMESPACE: &str = "ptrace(2), access mode checking: another user namespace's process";
const ROOT: &str = "not in the root: mount_namespaces(7)";

const SET_USER: &str = "systemd.exec(5), RestrictSUIDSGID=";
const SCOPE: &str = "landlock(7), from Linux 6.12 on";

const EXPECTED: [Row; 78] = [
    ("see another server's process", "ESRCH", "pid_namespaces(7)"),
    ("read the environment of another server's process", "ENOENT", "pid_namespaces(7)"),
    ("read the supervisor's environment", "EACCES", NAMESPACE),
    ("read the supervisor's memory", "EACCES", NAMESPACE),
    ("copy the supervisor's memory", "EPERM", NAMESPACE),
    ("trace the supervisor", "EPERM", NAMESPACE),
    ("write to the supervisor's program", "EACCES", NAMESPACE),
    ("read the supervisor's root", "EACCES", NAMESPACE),
    ("kill the first process", "EPERM", SCOPE),
    ("read a file of the host's", "ENOENT", ROOT),
    ("read another model's volume", "ENOENT", ROOT),
    ("write to a volume that is read-only", "EROFS", "mount(2), MS_RDONLY"),
    ("write to what is mounted below one", "EROFS", "mount_setattr(2), AT_RECURSIVE"),
    ("write into the root", "EROFS", "mount(2), MS_RDONLY"),
    ("leave the root", "EPERM", CAPABILITY),
    ("mount", "EPERM", DOCKER),
    ("mount over what is read-only", "EPERM", DOCKER),
    ("unmount", "EPERM", DOCKER),
    ("open a tree of mounts", "EPERM", DOCKER),
    ("change the root's mount", "EPERM", DOCKER),
    ("open a file by its handle", "EPERM", DOCKER),
    ("make a user namespace", "EPERM", DOCKER),
    ("make a mount namespace", "EPERM", DOCKER),
    ("start a process in a user namespace", "EPERM", DOCKER),
    ("start a process with clone3", "ENOSYS", "the same, `errnoRet` 38: glibc then asks `clone`"),
    ("enter a namespace", "EPERM", DOCKER),
    ("queue work with io_uring", "EPERM", DOCKER),
    ("look into the keyring", "EPERM", DOCKER),
    ("add a key", "EPERM", DOCKER),
    ("ask for a key", "EPERM", DOCKER),
    ("load a program into the kernel", "EPERM", DOCKER),
    ("count events", "EPERM", DOCKER),
    ("answer page faults", "EPERM", DOCKER),
    ("load a module", "EPERM", DOCKER),
    ("load a kernel", "EPERM", DOCKER),
    ("restart the machine", "EPERM", DOCKER),
    ("swap", "EPERM", DOCKER),
    ("set the clock", "EPERM", DOCKER),
    ("read the kernel's log", "EPERM", DOCKER),
    ("name the machine", "EPERM", DOCKER),
    ("make addresses predictable", "EPERM", DOCKER),
    ("make a call that nobody knows", "ENOSYS", "runc, libcontainer/seccomp/patchbpf"),
    ("make a device", "EPERM", CAPABILITY),
    ("read a disk", "ENOENT", "not among /dev's nodes"),
    ("read the machine's memory", "ENOENT", "not among /dev's nodes"),
    (
        "read the kernel's memory",
        "ENODATA or ENOENT",
        "masked, as by Docker: moby, daemon/pkg/oci/defaults.go",
    ),
    ("list keys", "ENODATA or ENOENT", "the same"),
    ("list timers", "ENODATA or ENOENT", "the same"),
    ("count interrupts", "ENODATA or ENOENT", "the same"),
    ("list the firmware", "ENOENT", "the same"),
    ("change the kernel's settings", "EROFS or EACCES", "mount(2), MS_RDONLY"),
    ("press SysRq", "EROFS or EACCES or ENOENT", "mount(2), MS_RDONLY"),
    ("change a device's settings", "EROFS or EACCES", "mount(2), MS_RDONLY"),
    ("have a capability", "EPERM", CAPABILITY),
    ("become somebody else", "EINVAL", "user_namespaces(7): nobody else is mapped"),
    ("make a set-user program", "EPERM", SET_USER),
    ("make a set-user program by its name", "EPERM", SET_USER),
    ("make a set-user program at once", "EPERM", SET_USER),
    ("make a set-user program without a name", "EPERM", SET_USER),
    ("make a set-group program", "EPERM", SET_USER),
    ("make a set-group program by its name", "EPERM", SET_USER),
    ("make a set-group program at once", "EPERM", SET_USER),
    ("make a set-group program without a name", "EPERM", SET_USER),
    ("make a set-group node", "EPERM", SET_USER),
    ("ask for a file in a roundabout way", "ENOSYS", SET_USER),
    ("gain by a set-user program", "EPERM", "prctl(2), PR_SET_NO_NEW_PRIVS"),
    ("dump memory", "EPERM", "Linux, fs/coredump.c: a limit of one byte"),
    ("use an inherited file", "EBADF", "closed by the supervisor"),
    ("have a terminal", "ENXIO", "setsid(2)"),
    ("type into a terminal", "EPERM", "CVE-2016-2568, CVE-2017-5226 (bubblewrap)"),
    ("type into a terminal, in a roundabout way", "EPERM", "CVE-2019-10063 (Flatpak)"),
    ("send raw packets", "EPERM", CAPABILITY),
    ("read the wire", "EPERM", CAPABILITY),
    ("talk to the hypervisor", "EPERM", DOCKER),
    ("use the kernel's cryptography", "EPERM", DOCKER),
    // The network is the machine's own: docs/runtimes.md says so.
    ("call another server", "OK", "network_namespaces(7): there is none"),
    ("call an abstract socket of the host's", "EPERM", SCOPE),
    ("be kept in a scope", "OK", SCOPE),
];

/// What is otherwise where the kernel has no scopes.
fn unscoped() -> Vec<Row> {
    let mut rows = vec![
        ("be kept in a scope", "ENOSYS", SCOPE),
        ("call an abstract socket of the host's", "OK", "unix(7): of the network namespace"),
    ];
    if is(Surroundings::Shared) {
        rows.push(("see another server's process", "OK", "kill(2): the same user's"));
    } else {
        rows.push(("kill the first process", "OK", "pid_namespaces(7): the signal is dropped"));
    }
    rows
}

/// What is otherwise in other surroundings.
fn elsewhere() -> Vec<Row> {
    if is(Surroundings::Masked) {
        // There is nothing in /proc but what tells of the machine, and /proc/sys may be the
        // container's own.
        return [
            "read the supervisor's environment",
            "read the supervisor's memory",
            "write to the supervisor's program",
            "read the supervisor's root",
            "read the kernel's memory",
            "list keys",
            "list timers",
            "count interrupts",
            "press SysRq",
        ]
        .map(|what| (what, "ENOENT", "/proc is hidden"))
        .into();
    }
    if is(Surroundings::Shared) {
        return vec![
            ("see another server's process", "EPERM", SCOPE),
            ("kill the first process", "EPERM", "kill(2): somebody else's"),
            ("read the environment of another server's process", "EACCES", NAMESPACE),
        ];
    }
    Vec::new()
}

#[tokio::test]
async fn a_server_reaches_what_the_table_says_and_nothing_else() {
    let fixture = Fixture::new();
    std::fs::copy(probe(), fixture.path("root/bin/probe")).expect("the probe");
    // Should an image bring one along after all.
    let set_user = fixture.path("root/bin/suid");
    std::fs::copy(probe(), &set_user).expect("the probe");
    std::fs::set_permissions(&set_user, Permissions::from_mode(0o4755)).expect("set-user");
    std::fs::create_dir(fixture.path("read-only")).expect("a directory");
    // What is tried on another server's supervisor is what is tried on any process of this user.
    let (another, id, port) = (Fixture::new(), fresh_id(), free_port());
    let other = another.path("volume/weights");
    std::fs::write(&other, "secret").expect("another model's");
    let served = another.sandbox(&["tool", "serve", &port.to_string()]);
    let served = spawn(&served, &id).expect("another server");
    eventually("a greeting", || greeting(port).is_some()).await;
    let name = fresh_id();
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let _listening = UnixListener::bind_addr(&address).expect("an abstract socket");

    let bind = |source: PathBuf, target: &str, read_only| Bind {
        source,
        target: target.into(),
        read_only,
    };
    let mut sandbox = fixture.sandbox(&[
        "probe",
        &served.pid.to_string(),
        other.to_str().expect("a path"),
        &name,
        &port.to_string(),
        supervisor().to_str().expect("a path"),
    ]);
    sandbox.binds = vec![
        bind(fixture.path("volume"), "/volume", false),
        bind(fixture.path("read-only"), "/read-only", true),
        // Anybody may write to its `shm`, which is a file system of its own.
        bind("/dev".into(), "/machine", true),
    ];
    let limit = Duration::from_secs(20);
    let output = runtime::run(&sandbox, limit, &supervisor(), &Reporter::silent()).await;
    let output = output.expect("runs");
    assert!(runtime::is_alive(&served), "nobody ended it");
    assert_eq!(greeting(port).as_deref(), Some("hello\n"));
    runtime::stop(&served, Duration::ZERO).await.expect("stops");

    let got: BTreeMap<&str, &str> =
        output.text.lines().filter_map(|line| line.split_once('\t')).collect();
    let mut expected = EXPECTED.to_vec();
    let scoped = got.get("be kept in a scope") == Some(&"OK");
    let unscoped = if scoped { Vec::new() } else { unscoped() };
    for row in elsewhere().into_iter().chain(unscoped) {
        let known = expected.iter_mut().find(|known| known.0 == row.0).expect("a known row");
        *known = row;
    }
    let mut wrong = Vec::new();
    for (what, answer, source) in &expected {
        let found = got.get(what).copied().unwrap_or("nothing");
        println!("| {what} | {found} | {source} |");
        if !answer.split(" or ").any(|answer| found == answer) {
            wrong.push(format!("{what}: {found}, not {answer} ({source})"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", output.text);
    assert_eq!(got.len(), expected.len(), "{}", output.text);
    assert_eq!(output.status, 0, "{}", output.text);
}

/// Compiled once per test process.
fn probe() -> PathBuf {
    static PROGRAM: OnceLock<Compiled> = OnceLock::new();
    PROGRAM.get_or_init(|| Compiled::from(include_str!("probe.c"), &[])).program()
}
