//! The embedded runtime, with the real binary, real namespaces and a static program as the server.
//!
//! As root, all of it is run again as an ordinary user and as in an unprivileged container.
#![cfg(target_os = "linux")]

mod again;
mod fixture;
mod probe;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fixture::{
    Fixture, environments_of, eventually, free_port, fresh_id, greeting, processes_of, spawn,
    supervisor,
};
use goatbuild::event::Reporter;
use goatbuild::runtime::{self, Instance, Output, RuntimeError};

#[tokio::test]
async fn a_server_is_reachable_and_stop_leaves_nothing() {
    use std::os::unix::fs::MetadataExt as _;
    let fixture = Fixture::new();
    let (id, port) = (fresh_id(), free_port());
    let instance =
        spawn(&fixture.sandbox(&["tool", "serve", &port.to_string()]), &id).expect("starts");
    eventually("a greeting", || greeting(port).as_deref() == Some("hello\n")).await;
    assert!(runtime::is_alive(&instance));
    assert!(fixture.log().contains("listening"));
    let log = std::fs::metadata(fixture.path("log")).expect("a log");
    assert_eq!(log.mode() & 0o077, 0, "nobody else reads it");
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
    let seen = u8::from(!is(Surroundings::Masked));
    assert_eq!(output.text, format!("uid=0 self={seen} home=/root secret=hush nnp=1\n"));
    let environment = fixture.run(&["tool", "cat", "/proc/self/environ"]).await.text;
    assert!(!environment.contains("CARGO"), "{environment}");
    let mounts = fixture.run(&["tool", "cat", "/proc/self/mountinfo"]).await.text;
    assert!(!mounts.contains("/run/.host"), "{mounts}");
    let hosts = fixture.run(&["tool", "cat", "/etc/hosts"]).await.text;
    assert_eq!(hosts, std::fs::read_to_string("/etc/hosts").unwrap_or_default());
}

/// A program of no library, since it runs as the loader of another.
#[cfg(target_arch = "x86_64")]
const LOADER: &str = r#"
static long call(long n, long a, long b, long c) {
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return r;
}
void _start(void) {
    long about[32] = { 0 };
    call(137 /* statfs */, (long)"/proc/self/exe", (long)about, 0);
    char text[2] = { '0' + (about[10] & 1 /* ST_RDONLY */), '\n' };
    call(1, 1, (long)text, 2);
    call(60, 0, 0, 0);
}
"#;

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn a_program_that_is_interpreted_by_its_starter_can_not_write_to_it() {
    use std::os::unix::fs::PermissionsExt as _;
    // CVE-2019-5736, against runc. The script has goatbuild as its interpreter; and that has a loader
    // that the image brings along.
    let fixture = Fixture::new();
    let script = fixture.path("root/bin/script");
    std::fs::write(&script, "#!/proc/self/exe\n").expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("a program");
    std::fs::create_dir(fixture.path("root/lib64")).expect("lib64");
    let loader = fixture::Compiled::from(LOADER, &["-nostdlib", "-ffreestanding", "-O1"]);
    std::fs::copy(loader.program(), fixture.path("root/lib64/ld-linux-x86-64.so.2")).expect("ld");
    let limit = Duration::from_secs(20);
    let sandbox = fixture.sandbox(&["script"]);
    let output = runtime::run(&sandbox, limit, &supervisor(), &Reporter::silent()).await;
    if is(Surroundings::Masked) {
        assert!(matches!(output, Err(RuntimeError::Command { .. })), "{output:?}");
    } else {
        assert_eq!(output.expect("runs").text, "1\n", "read-only");
    }
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
async fn a_hidden_procfs_tells_of_the_machine_and_of_no_process() {
    let fixture = Fixture::new();
    // What `free`, Python's `os.cpu_count` and psutil look at; see `src/runtime/system.rs`.
    for file in ["/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm/overcommit_memory"] {
        let told = fixture.run(&["tool", "cat", file]).await;
        assert!(told.status == 0 && !told.text.is_empty(), "{file}: {told:?}");
    }
    // libnuma 2.0.16, `set_task_constraints` and `set_nodemask_size`.
    let status = fixture.run(&["tool", "cat", "/proc/self/status"]).await.text;
    assert!(status.contains("\nCpus_allowed:") || status.starts_with("Cpus_allowed:"), "{status}");
    assert!(status.contains("\nMems_allowed:"), "{status}");
    assert_eq!(status.contains("Pid:"), !is(Surroundings::Masked), "{status}");
    let own = fixture.run(&["tool", "cat", "/proc/self/stat"]).await;
    let of_first = fixture.run(&["tool", "cat", "/proc/1/cmdline"]).await;
    assert_eq!([own.status, of_first.status], [i32::from(is(Surroundings::Masked)); 2]);
}

#[tokio::test]
async fn the_check_says_how_far_processes_are_kept_apart() {
    let fixture = Fixture::new();
    let report = runtime::check(&fixture.path("volume"), &supervisor());
    assert!(report.ok(), "{report:#?}");
    let processes = report.checks.iter().find(|check| check.name == "processes").expect("checked");
    let (ok, detail) = match std::env::var(SURROUNDINGS).as_deref() {
        Err(_) => (Some(true), "isolated"),
        Ok("Masked") => (Some(true), "isolated, without a view of themselves"),
        Ok(_) => (None, "warning: shared with this machine"),
    };
    assert_eq!(processes.ok, ok, "{processes:?}");
    assert!(processes.detail.starts_with(detail), "{processes:?}");
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

#[test]
fn where_no_pid_namespace_is_to_be_had_root_serves_nothing() {
    // Only in a user namespace that this makes: the limit of the machine stays as it is.
    let limited = "echo 0 > /proc/sys/user/max_pid_namespaces && exec \"$0\" \
                   --exact runtime::root_serves_nothing_for_another_test --ignored";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", limited])
        .arg(std::env::current_exe().expect("this binary"))
        .output()
        .expect("unshare");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

#[test]
#[ignore = "the other half of `where_no_pid_namespace_is_to_be_had_root_serves_nothing`"]
fn root_serves_nothing_for_another_test() {
    let fixture = Fixture::new();
    let error = spawn(&fixture.sandbox(&["tool", "about"]), &fresh_id()).expect_err("refused");
    assert!(matches!(error, RuntimeError::PidNamespace { .. }), "{error:?}");
    assert!(error.to_string().contains("user.max_pid_namespaces, is reached"), "{error}");
    assert!(!fixture.log().contains("uid="), "{}", fixture.log());
    let report = runtime::check(&fixture.path("volume"), &supervisor());
    let wrong = report.checks.iter().find(|check| check.is_wrong()).expect("no tick");
    assert_eq!(wrong.name, "processes", "{report:?}");
}

#[test]
fn where_no_core_dump_is_allowed_at_all_a_server_runs() {
    // Only for a process that this makes: whoever lowers the limit can't raise it again.
    let limited = "ulimit -c 0 && exec \"$0\" \
                   --exact runtime::a_server_runs_for_another_test --ignored";
    let output = Command::new("sh")
        .args(["-c", limited])
        .arg(std::env::current_exe().expect("this binary"))
        .output()
        .expect("sh");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

#[tokio::test]
#[ignore = "the other half of `where_no_core_dump_is_allowed_at_all_a_server_runs`"]
async fn a_server_runs_for_another_test() {
    let fixture = Fixture::new();
    let output = fixture.run(&["tool", "write", "/tmp/f"]).await;
    assert_eq!(output, Output { status: 0, text: "written\n".to_owned() });
}

/// The variable that tells tests that run once more where they do.
const SURROUNDINGS: &str = "GOATBUILD_TEST_SURROUNDINGS";

/// What is unlike an ordinary machine.
#[derive(Debug, Clone, Copy)]
enum Surroundings {
    /// Parts of /proc are masked, so that nobody can mount another.
    Masked,
    /// No pid namespace can be made.
    Shared,
}

/// Whether that is where this test runs.
fn is(surroundings: Surroundings) -> bool {
    std::env::var(SURROUNDINGS).is_ok_and(|told| told == format!("{surroundings:?}"))
}
