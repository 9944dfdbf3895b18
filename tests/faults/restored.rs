//! A new server that doesn't get healthy: what becomes of the one before, and of the next plan.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::built;
use crate::support::project::{Project, Ran, Running, eventually};

const BAD: &str = "../state/table-4c19d2/default/volumes/table-4c19d2-model-cache/bad";

/// A project that serves, with this startup timeout.
fn serving(timeout: &str) -> Option<Project> {
    let project = built()?;
    project.append("specs/tiny.toml", &format!("\n[serve]\nstartup-timeout = \"{timeout}\"\n"));
    project.run(&["apply"]).exits(0);
    Some(project)
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
    project.run(&["apply"]).exits(0);
    assert_eq!(project.servers(), 1);
}

fn failed_within(output: Ran, began: Instant, seconds: u64, words: &str) -> Ran {
    assert!(began.elapsed() < Duration::from_secs(seconds), "{:?}", began.elapsed());
    output.fails(1, &["answered HTTP 503", words])
}

#[test]
fn a_dead_server_that_would_fail_alike_is_not_started_again() {
    let Some(project) = serving("4s") else { return };
    project.write(BAD, "");
    let (pid, _) = project.serving().expect("it serves");
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL).expect("ours");
    eventually("it is gone", || project.servers() == 0);
    let began = Instant::now();
    let output = project.run(&["apply"]);
    let output = failed_within(output, began, 12, "within 4 s;");
    assert!(!output.stderr.contains("old server"), "{output:#?}");
    assert_eq!(project.servers(), 0);
    assert_deploys_again(&project);
}

#[test]
fn an_old_server_that_gets_no_healthier_is_stopped_and_never_called_healthy() {
    let Some(project) = serving("4s") else { return };
    project.write(BAD, "");
    // The new one's patience is not the old one's.
    project.edit("specs/tiny.toml", "\"4s\"", "\"5s\"");
    project.serve_env(&[("TURN", "1")]);
    let began = Instant::now();
    let output = project.run(&["apply"]);
    failed_within(output, began, 20, "within 5 s (the old server could not be started again");
    assert_eq!(project.servers(), 0);
    project.serve_env(&[]);
    assert_deploys_again(&project);
}

/// A project whose apply is putting the old server back, which does not get healthy.
fn restoring() -> Option<(Project, Running)> {
    let project = serving("60s")?;
    project.write(BAD, "");
    project.serve_env(&[("MODE", "crash")]);
    let mut apply = project.start(&["apply", "--json"]);
    let tells = |event: &serde_json::Value| {
        event["message"] == "the old server of tiny: waiting for /health"
    };
    assert!(apply.until(tells), "it tells what it waits for");
    project.serve_env(&[]);
    Some((project, apply))
}

#[test]
fn putting_the_old_server_back_can_be_interrupted() {
    let Some((project, apply)) = restoring() else { return };
    let began = Instant::now();
    apply.signal(Signal::SIGINT);
    let output = apply.finish();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let output = output.fails(130, &["stopping"]);
    let told = "interrupted while the old server was starting again";
    assert!(output.stdout.contains(told), "{output:#?}");
    let status = project.run(&["status"]).stdout;
    assert!(status.contains("starting") && status.contains("not healthy yet"), "{status}");
    assert_deploys_again(&project);
}

#[test]
fn a_kill_while_the_old_server_comes_back_leads_to_a_deployment() {
    let Some((project, apply)) = restoring() else { return };
    apply.kill();
    assert_deploys_again(&project);
}

#[test]
fn the_old_server_comes_back_with_the_weights_that_it_had() {
    let Some(project) = serving("60s") else { return };
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
    let spec = project.read("specs/tiny.toml");
    // A new version of the weights that doesn't start, or starts only with another command line.
    for (program, flag) in [("raise SystemExit('no')", "{port}"), ("", "no-{port}")] {
        let weights = project.read("model/server.py");
        let changed = weights.replace("\"hello\"", "\"new\"");
        project.write("model/server.py", &format!("{program}\n{changed}"));
        project.write("specs/tiny.toml", &spec.replace("\"{port}\"", &format!("\"{flag}\"")));
        project.run(&["apply"]).fails(1, &["the old server runs again"]);
        assert_eq!(project.ask("tiny").as_deref(), Some("hello"), "{flag}");
        // Back to what was: it is served, and only has to be tested once more.
        project.write("model/server.py", &weights);
        project.write("specs/tiny.toml", &spec);
        project.run(&["apply"]).exits(0);
        assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
        project.run(&["apply"]).ran_nothing();
    }
    // What works replaces it, and leaves one directory to work in.
    let weights = project.read("model/server.py");
    project.write("model/server.py", &weights.replace("\"hello\"", "\"new\""));
    project.run(&["apply"]).exits(0);
    assert_eq!(project.ask("tiny").as_deref(), Some("new"));
    let works = std::fs::read_dir(project.environment().join("work/tiny"));
    assert_eq!(works.expect("a directory").count(), 1);
}
