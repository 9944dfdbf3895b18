//! A root with one program in it, and ways to look at what runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use goatbuild::event::Reporter;
use goatbuild::runtime::{self, Bind, Instance, Output, RuntimeError, Sandbox};

/// One static program that does what the tests need inside.
const TOOL: &str = r#"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv) {
    const char *what = argv[1];
    if (!strcmp(what, "serve")) { /* with a child that ignores SIGTERM, and an orphan */
        if (fork() == 0) { signal(SIGTERM, SIG_IGN); for (;;) pause(); }
        if (fork() == 0) { if (fork() == 0) { setsid(); for (;;) pause(); } exit(0); }
        int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
        setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[2])) };
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (bind(s, (void *)&a, sizeof a) || listen(s, 8)) { perror("listen"); return 1; }
        printf("listening\n"); fflush(stdout);
        for (;;) { int c = accept(s, 0, 0); write(c, "hello\n", 6); close(c); }
    }
    if (!strcmp(what, "stubborn")) {
        signal(SIGTERM, SIG_IGN); printf("ignoring\n"); fflush(stdout);
        for (;;) pause();
    }
    if (!strcmp(what, "fork")) { if (fork() == 0) for (;;) pause(); return atoi(argv[2]); }
    if (!strcmp(what, "write")) {
        int f = open(argv[2], O_WRONLY | O_CREAT, 0644);
        if (f < 0 || write(f, "x", 1) != 1) { printf("%s\n", strerror(errno)); return 1; }
        printf("written\n"); return 0;
    }
    if (!strcmp(what, "cat")) {
        char b[4096]; int n, f = open(argv[2], O_RDONLY);
        if (f < 0) { printf("%s\n", strerror(errno)); return 1; }
        while ((n = read(f, b, sizeof b)) > 0) fwrite(b, 1, n, stdout);
        return 0;
    }
    if (!strcmp(what, "remount")) {
        int r = mount("none", "/", 0, MS_REMOUNT | MS_BIND, 0);
        printf("%s\n", r ? strerror(errno) : "remounted"); return 0;
    }
    if (!strcmp(what, "about")) {
        char link[64] = { 0 }; readlink("/proc/self", link, 63);
        printf("uid=%d self=%d home=%s secret=%s nnp=%d\n", getuid(), atoi(link) == getpid(),
               getenv("HOME"), getenv("SECRET"), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
        return 0;
    }
    return 2;
}
"#;

/// A root that holds the tool, and a path with a space in it; removed at the end.
pub(crate) struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let directory =
            tempfile::Builder::new().prefix("goat build ").tempdir().expect("a directory");
        let root = directory.path().join("root");
        std::fs::create_dir_all(root.join("bin")).expect("bin");
        std::fs::create_dir(directory.path().join("volume")).expect("volume");
        std::fs::copy(tool(), root.join("bin/tool")).expect("the tool");
        runtime::prepare_root(&root).expect("a prepared root");
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn sandbox(&self, arguments: &[&str]) -> Sandbox {
        Sandbox {
            alone: false,
            root: self.path("root"),
            binds: vec![Bind {
                source: self.path("volume"),
                target: "/root/.cache/huggingface".into(),
                read_only: false,
            }],
            env: BTreeMap::from([("SECRET".to_owned(), "hush".to_owned())]),
            command: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            workdir: "/".to_owned(),
            log: self.path("log"),
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        let limit = Duration::from_secs(20);
        runtime::run(&self.sandbox(arguments), limit, &supervisor(), &Reporter::silent())
            .await
            .expect("runs")
    }
}

/// Compiled once per test process.
fn tool() -> PathBuf {
    static PROGRAM: OnceLock<Compiled> = OnceLock::new();
    PROGRAM.get_or_init(|| Compiled::from(TOOL, &[])).program()
}

/// A static program; removed at the end.
pub(super) struct Compiled {
    directory: tempfile::TempDir,
}

impl Compiled {
    pub(super) fn from(text: &str, flags: &[&str]) -> Self {
        let compiled = Self { directory: tempfile::tempdir().expect("a directory") };
        let (source, program) = compiled.paths();
        std::fs::write(&source, text).expect("the source");
        let status = Command::new("cc")
            .args(["-static", "-w"])
            .args(flags)
            .arg("-o")
            .args([&program, &source])
            .status()
            .expect("a C compiler");
        assert!(status.success());
        compiled
    }

    fn paths(&self) -> (PathBuf, PathBuf) {
        (self.directory.path().join("program.c"), self.directory.path().join("program"))
    }

    pub(super) fn program(&self) -> PathBuf {
        self.paths().1
    }
}

/// Where the binary is; somewhere else when these tests run as another user.
pub(crate) fn supervisor() -> PathBuf {
    std::env::var_os("GOATBUILD_TEST_SUPERVISOR")
        .map_or_else(|| env!("CARGO_BIN_EXE_goatbuild").into(), PathBuf::from)
}

pub(crate) fn spawn(sandbox: &Sandbox, id: &str) -> Result<Instance, RuntimeError> {
    runtime::spawn(sandbox, id, &supervisor())
}

pub(crate) fn fresh_id() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let random = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", random(), random())
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

pub(crate) fn greeting(port: u16) -> Option<String> {
    use std::io::Read as _;
    let mut connection = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut text = String::new();
    connection.read_to_string(&mut text).ok()?;
    Some(text)
}

pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many processes carry the id, in their arguments or their environment.
pub(crate) fn processes_of(id: &str) -> usize {
    environments_of(id).len()
}

/// The environment of every process that carries the id, there or in its arguments.
pub(crate) fn environments_of(id: &str) -> Vec<String> {
    let text = |path: PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    std::fs::read_dir("/proc")
        .expect("proc")
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().parse::<i32>().is_ok())
        .map(|entry| (text(entry.path().join("cmdline")), text(entry.path().join("environ"))))
        .filter(|(arguments, environment)| arguments.contains(id) || environment.contains(id))
        .map(|(_, environment)| environment)
        .collect()
}
