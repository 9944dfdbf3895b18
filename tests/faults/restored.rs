//! A new server that doesn't get healthy: what becomes of the one before, and of the next plan.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::project::{Output, Project, eventually};

const BAD: &str = "../state/faults-000001/default/volumes/faults-000001-model-cache/bad";

/// A project that serves, with this startup timeout.
fn serving(timeout: &str) -> Project {
    let project = Project::built();
    project.append("specs/tiny.toml", &format!("\n[serve]\nstartup-timeout = \"{timeout}\"\n"));
    project.run(&["apply"]).succeeds();
    project
}

/// Asserts that a plan has to deploy, and that an apply then serves.
#[track_caller]
fn assert_deploys_again(project: &Project) {
    let plan: serde_json::Value =
        serde_json::from_str(&project.run(&["plan", "--json"]).stdout).expect("a plan");
    let mut steps = plan["steps"].as_array().expect("steps").iter();
    let deploy = steps.find(|step| step["id"] == "deploy:tiny").expect("a step");
    assert_eq!(deploy["action"], "run", "{deploy}");
    std::fs::remove_file(project.path(BAD)).expect("removed");
    project.run(&["apply"]).succeeds();
    assert_eq!(project.servers(), 1);
}

fn failed_within(output: &Output, began: Instant, seconds: u64, words: &str) {
    assert!(began.elapsed() < Duration::from_secs(seconds), "{:?}", began.elapsed());
    output.fails(1, &["answered HTTP 503", words]);
}

#[test]
fn a_dead_server_that_would_fail_alike_is_not_started_again() {
    let project = serving("1s");
    project.write(BAD, "");
    let (pid, _) = project.served().expect("it serves");
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL).expect("ours");
    eventually("it is gone", || project.servers() == 0);
    let began = Instant::now();
    let output = project.run(&["apply"]);
    failed_within(&output, began, 5, "within 1 s;");
    assert!(!output.stderr.contains("old server"), "{output:#?}");
    assert_eq!(project.servers(), 0);
    assert_deploys_again(&project);
}

#[test]
fn an_old_server_that_gets_no_healthier_is_stopped_and_never_called_healthy() {
    let project = serving("1s");
    project.write(BAD, "");
    // The new one's patience is not the old one's.
    project.edit("specs/tiny.toml", "\"1s\"", "\"2s\"");
    project.serve_env(&[("TURN", "1")]);
    let began = Instant::now();
    let output = project.run(&["apply"]);
    failed_within(&output, began, 8, "within 2 s (the old server could not be started again");
    assert_eq!(project.servers(), 0);
    project.serve_env(&[]);
    assert_deploys_again(&project);
}

/// A project whose apply is putting the old server back, which does not get healthy.
fn restoring() -> (Project, super::project::Running) {
    let project = serving("60s");
    project.write(BAD, "");
    project.serve_env(&[("FAIL", "1")]);
    let mut apply = project.start(&["apply", "--json"]);
    let tells = |event: &serde_json::Value| {
        event["message"] == "the old server of tiny: waiting for /health"
    };
    assert!(apply.until(tells), "it tells what it waits for");
    project.serve_env(&[]);
    (project, apply)
}

#[test]
fn putting_the_old_server_back_can_be_interrupted() {
    let (project, apply) = restoring();
    let began = Instant::now();
    apply.signal(Signal::SIGINT);
    let output = apply.finish();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    output.fails(130, &["stopping"]);
    let told = "interrupted while the old server was starting again";
    assert!(output.stdout.contains(told), "{output:#?}");
    let status = project.run(&["status"]).stdout;
    assert!(status.contains("starting") && status.contains("not healthy yet"), "{status}");
    assert_deploys_again(&project);
}

#[test]
fn a_kill_while_the_old_server_comes_back_leads_to_a_deployment() {
    let (project, apply) = restoring();
    apply.kill();
    assert_deploys_again(&project);
}
