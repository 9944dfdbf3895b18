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
    let project = serving("4s");
    project.write(BAD, "");
    let (pid, _) = project.served().expect("it serves");
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL).expect("ours");
    eventually("it is gone", || project.servers() == 0);
    let began = Instant::now();
    let output = project.run(&["apply"]);
    failed_within(&output, began, 12, "within 4 s;");
    assert!(!output.stderr.contains("old server"), "{output:#?}");
    assert_eq!(project.servers(), 0);
    assert_deploys_again(&project);
}

#[test]
fn an_old_server_that_gets_no_healthier_is_stopped_and_never_called_healthy() {
    let project = serving("4s");
    project.write(BAD, "");
    // The new one's patience is not the old one's.
    project.edit("specs/tiny.toml", "\"4s\"", "\"5s\"");
    project.serve_env(&[("TURN", "1")]);
    let began = Instant::now();
    let output = project.run(&["apply"]);
    failed_within(&output, began, 20, "within 5 s (the old server could not be started again");
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

/// What the server of the model says in a chat.
fn said(project: &Project) -> String {
    let (_, port) = project.served().expect("it serves");
    let url = format!("http://127.0.0.1:{port}/v1/chat/completions");
    let asked = std::process::Command::new("curl")
        .args(["-sS", "--noproxy", "*", &url, "-d", "{}"])
        .output()
        .expect("curl");
    let answer: serde_json::Value = serde_json::from_slice(&asked.stdout).expect("an answer");
    answer["choices"][0]["message"]["content"].as_str().expect("text").to_owned()
}

#[test]
fn the_old_server_comes_back_with_the_weights_that_it_had() {
    let project = serving("60s");
    assert_eq!(said(&project), "hello");
    let spec = project.read("specs/tiny.toml");
    // A new version of the weights that doesn't start, or starts only with another command line.
    for (program, flag) in [("raise SystemExit('no')", "{port}"), ("", "no-port")] {
        let weights = project.read("model/serve.py");
        let changed = weights.replace("\"hello\"", "\"new\"");
        project.write("model/serve.py", format!("{program}\n{changed}"));
        project.write("specs/tiny.toml", spec.replace("\"{port}\"", &format!("\"{flag}\"")));
        project.run(&["apply"]).fails(1, &["the old server runs again"]);
        assert_eq!(said(&project), "hello", "{flag}");
        // Back to what was: it is served, and only has to be tested once more.
        project.write("model/serve.py", &weights);
        project.write("specs/tiny.toml", &spec);
        project.run(&["apply"]).succeeds();
        assert_eq!(said(&project), "hello");
        project.run(&["apply"]).ran_nothing();
    }
    // What works replaces it, and leaves one directory to work in.
    let weights = project.read("model/serve.py");
    project.write("model/serve.py", weights.replace("\"hello\"", "\"new\""));
    project.run(&["apply"]).succeeds();
    assert_eq!(said(&project), "new");
    let works = std::fs::read_dir(project.state().join("faults-000001/default/work/tiny"));
    assert_eq!(works.expect("a directory").count(), 1);
}
