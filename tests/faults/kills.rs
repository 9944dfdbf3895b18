//! `kill -9` at any moment, then run again: the same end as without.

use std::time::Duration;

use serde_json::Value;

use super::{built, downloaded};
use crate::support::project::{Project, eventually};

/// Kills an apply in the middle of a step: so many milliseconds after it started, or earlier if it is
/// done by then. A step that is fresh is made again.
#[track_caller]
fn kill_in(project: &Project, step: &str, delay: u64) {
    for attempt in 0..20 {
        let is_fresh = project.plan("").step(step)["action"] == "fresh";
        let again = if is_fresh { format!("--replace {step}") } else { String::new() };
        let mut apply = project.start(&format!("apply --json {again}"));
        assert!(apply.until_started(step), "{step} never starts");
        std::thread::sleep(Duration::from_millis(delay >> attempt));
        let is_end = |event: &Value| event["event"] == "step_finished" && event["id"] == step;
        if apply.killed().is_some_and(|events| !events.iter().any(is_end)) {
            return;
        }
    }
    panic!("{step} is always done before the kill");
}

/// The end of an undisturbed apply: one server that answers, one entry that names it, no leftovers.
#[track_caller]
fn assert_whole(project: &Project) {
    project.run(&["apply"]).exits(0);
    project.run(&["apply"]).ran_nothing();
    eventually("one server", || project.servers() == 1);
    let (_, port) = project.serving().expect("it serves");
    let entries = project.read("litellm.yaml");
    assert_eq!(entries.matches("model_name: tiny-local").count(), 1, "{entries}");
    assert!(entries.contains(&format!("http://127.0.0.1:{port}/v1")), "{entries}");
    assert!(entries.starts_with("# Kept by hand,"), "{entries}");
    assert_eq!(project.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_first_apply_that_is_killed_again_and_again_ends_like_an_undisturbed_one() {
    let Some(project) = downloaded() else { return };
    project.serve_env(&[("START_SECONDS", "0.4"), ("ANSWER_SECONDS", "0.2")]);
    // In a debug build, the base takes seconds, unpacking half of one; wheels run beside the base.
    for (step, delay) in [
        ("weights:model", 0),
        ("wheels:tiny/pip", 20),
        ("base:tiny", 0),
        ("base:tiny", 700),
        ("base:tiny", 1500),
        ("image:tiny", 0),
        ("image:tiny", 10),
        ("deploy:tiny", 0),
        ("deploy:tiny", 150),
        ("deploy:tiny", 400),
        ("deploy:tiny", 900),
        ("smoke:tiny", 50),
        ("gateway:tiny", 0),
    ] {
        kill_in(&project, step, delay);
        assert!(project.servers() <= 1, "killed {delay} ms after the start of {step}");
    }
    assert_whole(&project);
    assert_eq!(project.read("goatbuild.lock"), Project::undisturbed("goatbuild.lock"));
    let pylock = "images/tiny.pylock.toml";
    assert_eq!(project.read(pylock), Project::undisturbed(pylock));
}

#[test]
fn a_replacement_that_is_killed_at_any_moment_leaves_one_server_on_the_same_port() {
    let Some(project) = built() else { return };
    project.run(&["apply"]).exits(0);
    let (_, port) = project.serving().expect("it serves");
    for (turn, delay) in [0, 20, 60, 100, 150, 220, 320, 500].into_iter().enumerate() {
        project.serve_env(&[("START_SECONDS", "0.3"), ("TURN", &turn.to_string())]);
        kill_in(&project, "deploy:tiny", delay);
        if turn % 3 == 2 {
            assert_whole(&project);
            assert_eq!(project.serving().expect("it serves").1, port, "turn {turn}");
        }
    }
    assert_whole(&project);
    assert_eq!(project.serving().expect("it serves").1, port);
}

#[test]
fn putting_the_old_server_back_can_be_killed_too() {
    let Some(project) = built() else { return };
    project.serve_env(&[("START_SECONDS", "0.6")]);
    project.run(&["apply"]).exits(0);
    let (_, port) = project.serving().expect("it serves");
    for delay in [150, 300, 500, 800] {
        // The new server ends at once; then the old one takes its time to be healthy.
        project.serve_env(&[
            ("START_SECONDS", "0.6"),
            ("MODE", "crash"),
            ("TURN", &delay.to_string()),
        ]);
        kill_in(&project, "deploy:tiny", delay);
        assert!(project.servers() <= 1, "{delay} ms");
    }
    project.serve_env(&[("START_SECONDS", "0.1")]);
    assert_whole(&project);
    assert_eq!(project.serving().expect("it serves").1, port);
}

#[test]
fn a_killed_warm_up_leaves_no_engine_behind() {
    let Some(project) = built() else { return };
    project.serve_env(&[("START_SECONDS", "0.5")]);
    project.edit("specs/tiny.toml", "name = \"command\"", "name = \"command\"\ncompiles = true");
    kill_in(&project, "warmup:tiny", 900);
    eventually("no engine", || project.servers() == 0);
    assert_whole(&project);
}

#[test]
fn what_killed_applies_left_behind_is_removed_by_the_next() {
    let Some(project) = built() else { return };
    project.own_roots();
    project.run(&["apply"]).exits(0);
    project.write("cache/oci/blobs/sha256/.part-abc", "half a layer");
    project.write("cache/oci/.part-def", "half an index");
    project.write("../state/table-4c19d2/default/volumes/table-4c19d2-model-cache/hub/models--a/blobs/.incoming-1", "x");
    let unpacking = project.state().join("roots/.unpacking-1/usr");
    std::fs::create_dir_all(unpacking).expect("a directory");
    project.write(".goatbuild-part-old", "half a lock");
    assert_eq!(project.leftovers().len(), 5);
    assert_whole(&project);
}
