//! The embedded runtime, with the real binary, real namespaces and a static program as the server.
//!
//! As root, all of it is run again as an ordinary user and as in an unprivileged container.
#![cfg(target_os = "linux")]

mod fixture;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fixture::{
    Fixture, environments_of, eventually, free_port, fresh_id, greeting, processes_of, spawn,
    supervisor,
};
use goatbuild::event::Reporter;
use goatbuild::runtime::{self, Instance, Output, RuntimeError};

use crate::support::peers::skipped;

#[tokio::test]
async fn a_server_is_reachable_and_stop_leaves_nothing() {
    let fixture = Fixture::new();
    let (id, port) = (fresh_id(), free_port());
    let instance =
        spawn(&fixture.sandbox(&["tool", "serve", &port.to_string()]), &id).expect("starts");
    eventually("a greeting", || greeting(port).as_deref() == Some("hello\n")).await;
    assert!(runtime::is_alive(&instance));
    assert!(fixture.log().contains("listening"));
    let all = "supervisors, the server and what it forked";
    eventually(all, || processes_of(&id) >= 5).await;

    runtime::stop(&instance, Duration::from_secs(5)).await.expect("stops");
    assert!(!runtime::is_alive(&instance));
    assert_eq!(processes_of(&id), 0);
    assert_eq!(greeting(port), None);
    runtime::stop(&instance, Duration::from_secs(5)).await.expect("stops again");
}

#[tokio::test]
async fn a_server_that_ignores_sigterm_is_killed_after_the_grace() {
    let fixture = Fixture::new();
    let id = fresh_id();
    let instance = spawn(&fixture.sandbox(&["tool", "stubborn"]), &id).expect("starts");
    eventually("it ignores", || fixture.log().contains("ignoring")).await;
    let start = Instant::now();
    runtime::stop(&instance, Duration::from_millis(300)).await.expect("stops");
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(processes_of(&id), 0);
}

#[tokio::test]
async fn hangups_and_interrupts_of_the_terminal_leave_it_running() {
    let fixture = Fixture::new();
    let id = fresh_id();
    let instance = spawn(&fixture.sandbox(&["tool", "stubborn"]), &id).expect("starts");
    let pid = nix::unistd::Pid::from_raw(instance.pid);
    assert_eq!(nix::unistd::getsid(Some(pid)).expect("a session"), pid, "no terminal's session");
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).expect("a signal");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(runtime::is_alive(&instance));
    runtime::stop(&instance, Duration::ZERO).await.expect("stops");
}

#[tokio::test]
async fn a_killed_supervisor_takes_the_server_with_it() {
    let fixture = Fixture::new();
    let (id, port) = (fresh_id(), free_port());
    let instance =
        spawn(&fixture.sandbox(&["tool", "serve", &port.to_string()]), &id).expect("starts");
    eventually("a greeting", || greeting(port).is_some()).await;
    let pid = nix::unistd::Pid::from_raw(instance.pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("a signal");
    eventually("silence", || greeting(port).is_none()).await;
    assert!(!runtime::is_alive(&instance), "a zombie isn't alive");
    runtime::stop(&instance, Duration::ZERO).await.expect("sweeps");
    assert_eq!(processes_of(&id), 0);
}

#[tokio::test]
async fn two_sandboxes_of_one_root_run_at_the_same_time() {
    let fixture = Fixture::new();
    let ports = [free_port(), free_port()];
    let instances = ports.map(|port| {
        spawn(&fixture.sandbox(&["tool", "serve", &port.to_string()]), &fresh_id()).expect("starts")
    });
    for port in ports {
        eventually("a greeting", || greeting(port).is_some()).await;
    }
    runtime::stop(&instances[0], Duration::from_secs(5)).await.expect("stops");
    assert!(greeting(ports[0]).is_none() && greeting(ports[1]).is_some());
    runtime::stop(&instances[1], Duration::from_secs(5)).await.expect("stops");
}

#[tokio::test]
async fn the_root_is_read_only_and_volumes_are_not() {
    let fixture = Fixture::new();
    let read_only = "Read-only file system\n";
    // What is the machine's own is first of all root's.
    let refused = ["Permission denied\n", read_only];
    for (path, words) in [
        ("/file", &refused[1..]),
        ("/bin/new", &refused[1..]),
        ("/dev/file", &refused[1..]),
        ("/etc/hosts", &refused[..]),
        ("/proc/sys/kernel/hostname", &refused[..]),
    ] {
        let output = fixture.run(&["tool", "write", path]).await;
        assert_eq!(output.status, 1, "{path}");
        assert!(words.contains(&&*output.text), "{path}: {}", output.text);
    }
    for path in ["/tmp/f", "/run/f", "/root/f", "/dev/shm/f", "/dev/null"] {
        assert_eq!(fixture.run(&["tool", "write", path]).await.text, "written\n", "{path}");
    }
    fixture.run(&["tool", "write", "/root/.cache/huggingface/f"]).await;
    assert!(fixture.path("volume/f").is_file());
    assert!(!fixture.path("root/file").exists());
    assert_eq!(fixture.run(&["tool", "remount"]).await.text, "Operation not permitted\n");

    let mut sandbox = fixture.sandbox(&["tool", "write", "/models/g"]);
    sandbox.binds[0].target = "/models".into();
    sandbox.binds[0].read_only = true;
    let limit = Duration::from_secs(20);
    let output =
        runtime::run(&sandbox, limit, &supervisor(), &Reporter::silent()).await.expect("runs");
    assert_eq!(output.text, read_only);
}

#[tokio::test]
async fn inside_one_is_root_without_rights_in_an_environment_of_its_own() {
    let fixture = Fixture::new();
    let output = fixture.run(&["tool", "about"]).await;
    assert_eq!(output.text, "uid=0 self=1 home=/root secret=hush\n");
    let status = fixture.run(&["tool", "cat", "/proc/self/status"]).await.text;
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let environment = fixture.run(&["tool", "cat", "/proc/self/environ"]).await.text;
    assert!(!environment.contains("CARGO"), "{environment}");
    let mounts = fixture.run(&["tool", "cat", "/proc/self/mountinfo"]).await.text;
    assert!(!mounts.contains("/run/.host"), "{mounts}");
    let hosts = fixture.run(&["tool", "cat", "/etc/hosts"]).await.text;
    assert_eq!(hosts, std::fs::read_to_string("/etc/hosts").unwrap_or_default());
}

#[tokio::test]
async fn a_missing_command_is_an_error_and_a_line_in_the_log() {
    let fixture = Fixture::new();
    let error = spawn(&fixture.sandbox(&["vllm", "serve"]), &fresh_id()).expect_err("no vllm");
    assert!(
        matches!(&error, RuntimeError::Command { command, .. } if command == "vllm"),
        "{error}"
    );
    assert!(
        fixture.log().contains("`vllm` could not be started: No such file"),
        "{}",
        fixture.log()
    );

    let mut sandbox = fixture.sandbox(&["tool", "about"]);
    sandbox.workdir = "/nowhere".to_owned();
    let error = spawn(&sandbox, &fresh_id()).expect_err("no directory");
    assert!(error.to_string().contains("/nowhere"), "{error}");
    sandbox.root = fixture.path("missing");
    let error = spawn(&sandbox, &fresh_id()).expect_err("no root");
    assert!(matches!(error, RuntimeError::Path { .. }), "{error}");
}

#[tokio::test]
async fn a_command_returns_its_status_and_leaves_no_child() {
    let fixture = Fixture::new();
    let output = fixture.run(&["tool", "fork", "7"]).await;
    assert_eq!(output, Output { status: 7, text: String::new() });
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed() {
    let fixture = Fixture::new();
    let port = free_port();
    let error = runtime::run(
        &fixture.sandbox(&["tool", "serve", &port.to_string()]),
        Duration::from_millis(700),
        &supervisor(),
        &Reporter::silent(),
    )
    .await
    .expect_err("a server doesn't end");
    assert!(
        matches!(&error, RuntimeError::Timeout { tail, .. } if tail == "listening"),
        "{error:?}"
    );
    eventually("the port is free", || greeting(port).is_none()).await;
}

#[tokio::test]
async fn the_check_passes_and_says_which_processes_are_seen() {
    let fixture = Fixture::new();
    let report = runtime::check(&fixture.path("volume"), &supervisor());
    assert!(report.ok(), "{report:#?}");
    let processes = report.checks.iter().find(|check| check.name == "processes").expect("checked");
    let masked = std::env::var_os("GOATBUILD_TEST_MASKED").is_some();
    assert_eq!(processes.detail.starts_with("shared"), masked, "{processes:?}");
    assert_eq!(fixture.path("volume").read_dir().expect("lists").count(), 0, "cleans up");
}

#[test]
fn the_instance_outlives_the_process_that_spawned_it_and_keeps_nothing_of_its_environment() {
    // A process of its own is the one that spawns: this test binary, with one helper "test".
    let fixture = Fixture::new();
    let id = fresh_id();
    let sandbox = serde_json::to_string(&fixture.sandbox(&["tool", "stubborn"])).expect("JSON");
    let status = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "runtime::spawn_for_another_test", "--ignored"])
        .env("GOATBUILD_TEST_SPAWN", sandbox)
        .env("GOATBUILD_TEST_ID", &id)
        .env("HF_TOKEN", "hf_of_the_user")
        .env("GOATBUILD_TEST_INSTANCE", fixture.path("instance"))
        .stdout(Stdio::null())
        .status()
        .expect("runs");
    assert!(status.success());
    let text = std::fs::read(fixture.path("instance")).expect("written");
    let instance: Instance = serde_json::from_slice(&text).expect("JSON");
    assert!(runtime::is_alive(&instance));
    let told = environments_of(&id);
    assert!(!told.is_empty() && !told.iter().any(|it| it.contains("HF_TOKEN")), "{told:?}");
    let waiting =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio");
    waiting.block_on(runtime::stop(&instance, Duration::ZERO)).expect("stops");
    assert_eq!(processes_of(&id), 0);
}

#[test]
#[ignore = "the other half of `the_instance_outlives_the_process_that_spawned_it_and_…`"]
fn spawn_for_another_test() {
    let variable = |name| std::env::var(name).expect("set by the other test");
    let sandbox = serde_json::from_str(&variable("GOATBUILD_TEST_SPAWN")).expect("JSON");
    let instance = spawn(&sandbox, &variable("GOATBUILD_TEST_ID")).expect("starts");
    let text = serde_json::to_vec(&instance).expect("JSON");
    std::fs::write(variable("GOATBUILD_TEST_INSTANCE"), text).expect("written");
}

/// Who runs all tests above once more, and what /proc looks like to them.
#[derive(Clone, Copy, PartialEq)]
enum Again {
    /// A user without any rights.
    User,
    /// The same, and parts of /proc are masked.
    MaskedUser,
    /// Root with the capabilities that container engines leave, and parts of /proc are masked.
    Container,
}

/// Only root can make these environments; for anyone else the first run is the test.
fn again(environment: Again) {
    if !nix::unistd::geteuid().is_root() {
        skipped("another user", "only root can become one");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path();
    let (tests, supervisor_copy) = (place.join("tests"), place.join("goatbuild"));
    std::fs::copy(std::env::current_exe().expect("this binary"), &tests).expect("a copy");
    std::fs::copy(supervisor(), &supervisor_copy).expect("a copy");
    let owner = (environment != Again::Container).then_some(65534);
    std::os::unix::fs::chown(place, owner, owner).expect("chown");
    // The kernel must then refuse a fresh procfs: otherwise this would test nothing.
    let mask = "mount --bind /dev/null /proc/interrupts && ! unshare -Urpf --mount-proc true && ";
    let mask = if environment == Again::User { "" } else { mask };
    let identity = match environment {
        Again::User | Again::MaskedUser => "--reuid 65534 --regid 65534 --clear-groups",
        Again::Container => {
            "--inh-caps=-all --bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,\
             +setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,\
             +audit_write,+setfcap"
        }
    };
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg(format!(
            "{mask}exec setpriv {identity} \"$0\" --test-threads=2 runtime:: --skip {AGAIN}"
        ))
        .arg(&tests)
        .current_dir(place)
        .env("TMPDIR", place)
        .env("GOATBUILD_TEST_SUPERVISOR", &supervisor_copy);
    if !mask.is_empty() {
        command.env("GOATBUILD_TEST_MASKED", "1");
    }
    let output = command.output().expect("unshare");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    // All of them but what runs them again.
    let listed = Command::new(&tests).args(["--list", "runtime::", "--skip", AGAIN]).output();
    let listed = String::from_utf8(listed.expect("a list").stdout).expect("text");
    let all = listed.lines().filter(|line| line.ends_with(": test")).count();
    let ran = text.lines().filter(|line| line.ends_with(" ... ok")).count();
    let left = text.lines().filter(|line| line.contains(" ... ignored")).count();
    assert!(ran + left == all && left == 1 && ran > 5, "{ran} of {all}: {text}");
}

/// What the names of those that run the others begin with.
const AGAIN: &str = "runtime::all_of_it_works";

#[test]
fn all_of_it_works_for_an_ordinary_user() {
    again(Again::User);
}

#[test]
fn all_of_it_works_for_an_ordinary_user_where_proc_is_masked() {
    again(Again::MaskedUser);
}

#[test]
fn all_of_it_works_for_root_in_an_unprivileged_container() {
    again(Again::Container);
}
