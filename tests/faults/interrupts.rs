//! Ctrl-C: exit 130, things in order, and what is done is kept.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::server::{Answer, Server};
use super::{built, downloaded};
use crate::support::installed;
use crate::support::project::{Project, eventually};

#[test]
fn an_interrupted_build_says_what_is_kept_and_goes_on_later() {
    let Some(project) = downloaded() else { return };
    let mut apply = project.start(&["apply", "--json"]);
    assert!(
        apply.until(|event| event["event"] == "step_finished" && event["id"] == "wheels:tiny/pip")
    );
    apply.signal(Signal::SIGINT);
    let began = Instant::now();
    let output = apply.finish();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let output = output.fails(130, &["stopping; what is done is kept"]);
    assert!(output.stdout.contains("apply_finished"), "{output:?}");
    project.run(&["apply", "--only", "wheels:tiny/pip"]).ran_nothing();
}

#[test]
fn interrupting_a_replacement_leaves_the_old_server_running_again() {
    let Some(project) = built() else { return };
    project.run(&["apply"]).exits(0);
    let (old, port) = project.serving().expect("it serves");
    let entry = project.read("litellm.yaml");
    project.serve_env(&[("START_SECONDS", "60")]);
    let mut apply = project.start(&["apply", "--json"]);
    assert!(apply.until_started("deploy:tiny"));
    eventually("the new one starts", || {
        project.serving().is_some_and(|(pid, _)| pid != old) && project.servers() > 0
    });
    std::thread::sleep(Duration::from_millis(300));
    apply.signal(Signal::SIGINT);
    let output = apply.finish().fails(130, &["stopping"]);
    assert!(output.stdout.contains("the old server runs again"), "{output:?}");
    let (_, again) = project.serving().expect("it serves");
    assert_eq!((again, project.servers(), project.read("litellm.yaml")), (port, 1, entry));
    let health = std::net::TcpStream::connect(("127.0.0.1", port));
    assert!(health.is_ok(), "the old server answers");
    project.serve_env(&[]);
    project.run(&["apply"]).exits(0);
    assert_eq!((project.servers(), project.serving().expect("it serves").1), (1, port));
}

#[test]
fn a_second_interrupt_stops_at_once() {
    let Some(project) = built() else { return };
    project.serve_env(&[("START_SECONDS", "5")]);
    project.run(&["apply"]).exits(0);
    project.serve_env(&[("START_SECONDS", "60")]);
    let (old, port) = project.serving().expect("it serves");
    let mut apply = project.start(&["apply", "--json"]);
    assert!(apply.until_started("deploy:tiny"));
    eventually("the new one starts", || project.serving().is_some_and(|(pid, _)| pid != old));
    apply.signal(Signal::SIGINT);
    // The old server takes five seconds to be healthy again: nobody wants to wait for that.
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    apply.signal(Signal::SIGINT);
    apply.finish().fails(130, &["stopping at once"]);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    project.serve_env(&[]);
    project.run(&["apply"]).exits(0);
    assert_eq!((project.servers(), project.serving().expect("it serves").1), (1, port));
}

#[test]
fn locking_and_waiting_can_be_interrupted() {
    let (Some(mut project), server) = (downloaded(), Server::start()) else { return };
    project.variable("GOATBUILD_DEBIAN_POOL", &server.url(""));
    server.otherwise(Answer::Silent);
    project.edit("images/tiny.toml", "\"python3\"", "\"python3\", \"python3-dev\"");
    let before = project.read("goatbuild.lock");
    for arguments in [&["apply", "--json"][..], &["lock"], &["plan"]] {
        let asked = server.requests("/dists/bookworm/InRelease").len();
        let command = project.start(arguments);
        eventually("it asks", || server.requests("/dists/bookworm/InRelease").len() > asked);
        let began = Instant::now();
        if arguments[0] == "apply" {
            let waiting = project.start(&["apply", "--json"]);
            std::thread::sleep(Duration::from_millis(300));
            waiting.signal(Signal::SIGTERM);
            waiting.finish().fails(130, &["waiting for another goatbuild"]);
        }
        command.signal(Signal::SIGINT);
        command.finish().fails(130, &["stopping", "interrupted"]);
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
    assert_eq!(project.read("goatbuild.lock"), before);
}

/// Runs an apply in a terminal of its own, which `script` of util-linux (every Debian has it) makes; what
/// is shown goes into a file. Whoever runs the tests may do so under `nohup`, which the apply must not inherit.
fn in_terminal(project: &Project, shown: &Path) -> Child {
    let pid = project.directory().join("pid");
    let line = format!(
        "echo $$ > {}; exec env --default-signal=HUP {} apply",
        pid.display(),
        installed::GOATBUILD
    );
    let mut script = Command::new("script");
    project.prepare(&mut script);
    script.env("TERM", "xterm").args(["-qefc", &line]).arg(shown);
    script.stdout(Stdio::null()).stderr(Stdio::null());
    script.spawn().expect("script starts")
}

/// The apply that runs in the terminal.
fn pid(project: &Project) -> Pid {
    let pid = std::fs::read_to_string(project.directory().join("pid")).expect("it started");
    Pid::from_raw(pid.trim().parse().expect("a number"))
}

#[test]
fn a_terminal_that_is_closed_interrupts_and_the_old_server_runs_again() {
    let Some(project) = built() else { return };
    project.run(&["apply"]).exits(0);
    let (old, port) = project.serving().expect("it serves");
    project.serve_env(&[("START_SECONDS", "60")]);
    let mut script = in_terminal(&project, &project.directory().join("shown"));
    eventually("the new one starts", || {
        project.serving().is_some_and(|(pid, _)| pid != old) && project.servers() > 0
    });
    let apply = pid(&project);
    // Its end of the terminal closes with it.
    script.kill().expect("it is our child");
    script.wait().expect("it ends");
    eventually("the apply ends", || kill(apply, None).is_err());
    let served = project.served("tiny").expect("it serves");
    assert!(served["healthy"] == true && served["previous"].is_null(), "{served}");
    assert_eq!((project.servers(), project.serving().expect("it serves").1), (1, port));
}

#[test]
fn an_interruption_is_seen_in_a_terminal_until_all_is_over() {
    let Some(project) = built() else { return };
    project.run(&["apply"]).exits(0);
    let (old, _) = project.serving().expect("it serves");
    project.serve_env(&[("START_SECONDS", "60")]);
    let shown = project.directory().join("shown");
    let mut script = in_terminal(&project, &shown);
    eventually("the new one starts", || project.serving().is_some_and(|(pid, _)| pid != old));
    kill(pid(&project), Signal::SIGINT).expect("it runs");
    assert_eq!(script.wait().expect("it ends").code(), Some(130));
    let shown = std::fs::read_to_string(&shown).expect("a file");
    let told = "stopping; what is done is kept (again: stop at once)\r\n";
    let (_, after) = shown.split_once(told).expect("it is told on a line of its own");
    assert!(after.contains("stopping: 0 of 2 steps"), "{after:?}");
}

#[test]
fn who_asks_three_times_waits_for_nothing() {
    let Some(project) = built() else { return };
    // Nobody reads what it prints, and so it can't go on: `goatbuild schema project | less`.
    for (times, least, most) in [(3, 0, 4), (2, 4, 20)] {
        let mut command = project.command("schema project");
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
        let pipe = child.stdout.take().expect("a pipe");
        fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(4096)).expect("a small one");
        std::thread::sleep(Duration::from_secs(1));
        let began = Instant::now();
        let pid = Pid::from_raw(child.id().cast_signed());
        for _ in 0..times {
            kill(pid, Signal::SIGINT).expect("it runs");
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(child.wait().expect("it ends").code(), Some(130));
        let took = began.elapsed().as_secs();
        assert!((least..most).contains(&took), "{times} times: {took} s");
        drop(pipe);
    }
}
