//! `kill -9` at any moment, then run again: the same end as without.

use std::time::Duration;

use super::project::{Project, eventually, warm_file};

/// Starts an apply, kills it this long after a step started. Whether the step started at all.
fn kill_after(project: &Project, step: &str, delay: u64) -> bool {
    let mut apply = project.start(&["apply", "--json"]);
    let started = apply.until_started(step);
    std::thread::sleep(Duration::from_millis(delay));
    apply.kill();
    started
}

/// The end of an undisturbed apply: one server that answers, one entry that names it, no leftovers.
#[track_caller]
fn assert_whole(project: &Project) {
    project.run(&["apply"]).succeeds();
    project.run(&["apply"]).ran_nothing();
    eventually("one server", || project.servers() == 1);
    let (_, port) = project.served().expect("it serves");
    let entries = project.read("litellm.yaml");
    assert_eq!(entries.matches("model_name: tiny-local").count(), 1, "{entries}");
    assert!(entries.contains(&format!("http://127.0.0.1:{port}/v1")), "{entries}");
    assert!(entries.starts_with("# by hand\n"), "{entries}");
    assert_eq!(project.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_first_apply_that_is_killed_again_and_again_ends_like_an_undisturbed_one() {
    let project = Project::downloaded();
    project.serve_env(&[("START_SECONDS", "0.4"), ("ANSWER_SECONDS", "0.2")]);
    // In a debug build, the base takes seconds, unpacking half of one; wheels run beside the base.
    for (step, delay) in [
        ("weights:model", 0),
        ("wheels:small/pip", 20),
        ("base:small", 0),
        ("base:small", 700),
        ("base:small", 1500),
        ("image:small", 0),
        ("image:small", 10),
        ("deploy:tiny", 0),
        ("deploy:tiny", 150),
        ("deploy:tiny", 400),
        ("deploy:tiny", 900),
        ("smoke:tiny", 50),
        ("gateway:tiny", 0),
    ] {
        kill_after(&project, step, delay);
        assert!(project.servers() <= 1, "killed {delay} ms after the start of {step}");
    }
    assert_whole(&project);
    assert_eq!(project.read("goatbuild.lock"), warm_file("goatbuild.lock"));
    let pylock = "images/small.pylock.toml";
    assert_eq!(project.read(pylock), warm_file(pylock));
}

#[test]
fn a_replacement_that_is_killed_at_any_moment_leaves_one_server_on_the_same_port() {
    let project = Project::built();
    project.run(&["apply"]).succeeds();
    let (_, port) = project.served().expect("it serves");
    for (turn, delay) in [0, 20, 60, 100, 150, 220, 320, 500].into_iter().enumerate() {
        project.serve_env(&[("START_SECONDS", "0.3"), ("TURN", &turn.to_string())]);
        assert!(kill_after(&project, "deploy:tiny", delay), "turn {turn}");
        if turn % 3 == 2 {
            assert_whole(&project);
            assert_eq!(project.served().expect("it serves").1, port, "turn {turn}");
        }
    }
    assert_whole(&project);
    assert_eq!(project.served().expect("it serves").1, port);
}

#[test]
fn putting_the_old_server_back_can_be_killed_too() {
    let project = Project::built();
    project.serve_env(&[("START_SECONDS", "0.6")]);
    project.run(&["apply"]).succeeds();
    let (_, port) = project.served().expect("it serves");
    for delay in [150, 300, 500, 800] {
        // The new server ends at once; then the old one takes its time to be healthy.
        project.serve_env(&[("START_SECONDS", "0.6"), ("FAIL", &delay.to_string())]);
        assert!(kill_after(&project, "deploy:tiny", delay));
        assert!(project.servers() <= 1, "{delay} ms");
    }
    project.serve_env(&[("START_SECONDS", "0.1")]);
    assert_whole(&project);
    assert_eq!(project.served().expect("it serves").1, port);
}

#[test]
fn a_killed_warm_up_leaves_no_engine_behind() {
    let project = Project::built();
    project.serve_env(&[("START_SECONDS", "0.5")]);
    project.edit("specs/tiny.toml", "name = \"command\"", "name = \"command\"\ncompiles = true");
    assert!(kill_after(&project, "warmup:tiny", 900));
    eventually("no engine", || project.servers() == 0);
    assert_whole(&project);
}

#[test]
fn what_killed_applies_left_behind_is_removed_by_the_next() {
    let project = Project::built();
    project.run(&["apply"]).succeeds();
    project.write("cache/oci/blobs/sha256/.part-abc", "half a layer");
    project.write("cache/oci/.part-def", "half an index");
    project.write("../state/faults-000001/default/volumes/faults-000001-model-cache/hub/models--a/blobs/.incoming-1", "x");
    let unpacking = project.state().join("roots/.unpacking-1/usr");
    std::fs::create_dir_all(unpacking).expect("a directory");
    project.write(".goatbuild-part-old", "half a lock");
    assert_eq!(project.leftovers().len(), 5);
    assert_whole(&project);
}
