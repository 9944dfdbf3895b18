//! Ctrl-C: exit 130, things in order, and what is done is kept.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::server::{Answer, Server};
use super::{built, downloaded};
use crate::support::project::eventually;

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
