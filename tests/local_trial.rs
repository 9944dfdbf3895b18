//! A deployment on this machine that fails its smoke test: what it replaced serves again.
#![cfg(target_os = "linux")]

use crate::local_answers::{becomes, moody};
use crate::support;

use serde_json::json;
use support::engines::Engine;
use support::project::Project;

#[track_caller]
fn fails(project: &Project, words: &[&str]) {
    project.run("apply").exits(1).says(words);
}

#[test]
fn what_fails_its_smoke_test_gives_its_place_back() {
    for engine in Engine::all() {
        let Some(mut project) = Project::new() else { return };
        project.served_by(engine);
        project.serve_env(&[]);
        project.apply("").ran();
        let (port, gateway) = (project.port("tiny"), project.read("litellm.yaml"));
        for greeting in ["ciao", "salut"] {
            project.serve_env(&[("MODE", "mute"), ("GREETING", greeting)]);
            fails(&project, &["answered HTTP 500: out of words (the old server runs again)"]);
            assert_eq!(project.ask("tiny").as_deref(), Some("hello"), "{}", engine.name);
            assert_eq!(
                (project.port("tiny"), project.read("litellm.yaml")),
                (port, gateway.clone())
            );
            let why = project.plan("").why("deploy:tiny");
            assert_eq!(why, ["changed env.GREETING", "changed env.MODE", "failed-before"]);
        }
        // The way back is what stands; the test that it passed was another instance's.
        project.serve_env(&[]);
        assert_eq!(project.plan("").why("smoke:tiny"), ["drift instance"]);
        assert_eq!(project.apply("").ran(), ["smoke:tiny"], "{}", engine.name);
        project.serve_env(&[("GREETING", "ciao")]);
        assert_eq!(project.apply("").ran(), ["deploy:tiny", "smoke:tiny"]);
        assert_eq!(project.ask("tiny").as_deref(), Some("ciao"));
        assert_eq!(project.apply("").ran(), [""; 0]);
        let kept = project.served("tiny").expect("it is served");
        assert_eq!((&kept["previous"], kept.get("trial")), (&json!(null), None), "it has passed");
        let containers = engine.containers(&project.environment());
        assert_eq!(containers.len(), usize::from(engine.name != "embedded"), "{}", engine.name);
    }
}

#[test]
fn a_first_deployment_that_fails_its_smoke_test_is_stopped() {
    let Some(project) = Project::new() else { return };
    project.serve_env(&[("MODE", "mute")]);
    fails(
        &project,
        &["answered HTTP 500", "tiny was stopped, since there is nothing to go back to"],
    );
    assert!(!project.run("apply").exits(1).stdout.contains("curl"), "nobody answers there");
    project.run("status").exits(0).says(&["absent"]);
    assert_eq!(project.servers(), 0);
    assert_eq!(project.plan("").why("deploy:tiny"), ["first", "failed-before"]);
    project.serve_env(&[]);
    assert_eq!(project.plan("").why("deploy:tiny"), ["first"]);
    project.apply("").ran();
    assert_eq!(project.apply("").ran(), [""; 0]);
}

#[test]
fn a_server_that_ends_while_it_is_asked_is_at_fault_here() {
    let Some(project) = Project::applied() else { return };
    let server = project.read("model/server.py");
    let ends =
        server.replace("if mode == \"mute\":", "if mode == \"mute\":\n            os._exit(7)");
    project.write("model/server.py", &ends);
    project.serve_env(&[("MODE", "mute")]);
    fails(&project, &["could not be reached", "(the old server runs again)"]);
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"), "with the weights that it had");
}

#[test]
fn a_server_that_has_too_much_to_do_is_asked_again_and_not_taken_back() {
    let Some(project) = Project::applied() else { return };
    project.serve_env(&[("MODE", "busy"), ("GREETING", "ciao")]);
    assert_eq!(project.apply("").ran(), ["deploy:tiny", "smoke:tiny"]);
    assert_eq!(project.ask("tiny").as_deref(), Some("ciao"));
    let instance = project.instance("tiny");
    project.serve_env(&[("MODE", "swamped"), ("GREETING", "salut")]);
    let told = project.run("apply").exits(0);
    assert!(!told.stderr.contains("old server"), "{}", told.stderr);
    told.says(&["not proven", "answered HTTP 429"]);
    assert_ne!(project.instance("tiny"), instance, "the new one stands");
    assert_eq!(project.plan("").ids("run"), ["smoke:tiny"]);
}

#[test]
fn a_smoke_test_of_what_stands_switches_nothing_and_is_remembered() {
    let Some(project) = moody() else { return };
    let [tiny, other] = ["tiny", "other"].map(|model| project.instance(model));
    becomes(&project, "tiny", "rude");
    fails_to_pass(&project, "apply --replace smoke:tiny");
    for _ in 0..2 {
        let plan = project.plan("");
        assert_eq!(plan.why("smoke:tiny"), ["drift smoke test", "failed-before"]);
        assert_eq!(
            (&plan.step("deploy:tiny")["action"], plan.ids("run")),
            (&json!("fresh"), vec!["smoke:tiny".to_owned()])
        );
        project.run("status").exits(0).says(&["its smoke test has not passed"]);
        fails_to_pass(&project, "apply");
    }
    // A start of the same over again is nothing to go back from.
    project.kill("tiny");
    fails_to_pass(&project, "apply");
    assert_ne!(project.instance("tiny"), tiny);
    becomes(&project, "tiny", "fine");
    assert_eq!(project.apply("").ran(), ["smoke:tiny"]);
    assert_eq!(project.apply("").ran(), [""; 0]);
    assert_eq!(project.instance("other"), other);
}

#[track_caller]
fn fails_to_pass(project: &Project, command: &str) {
    let ran = project.run(command).exits(1);
    assert!(
        !ran.stderr.contains("old server") && !ran.stderr.contains("was stopped"),
        "{}",
        ran.stderr
    );
    ran.says(&["answered HTTP 500"]);
    assert!(project.served("tiny").is_some());
}

#[test]
fn what_an_apply_left_untested_goes_back_in_the_next_one() {
    let Some(project) = moody() else { return };
    let key = |project: &Project| project.served("tiny").expect("it is served")["key"].clone();
    let old = key(&project);
    becomes(&project, "tiny", "mute");
    project.append("specs/tiny.toml", "\n[env]\nGREETING = \"ciao\"\n");
    let mut apply = project.start("apply --json");
    assert!(apply.until_started("smoke:tiny"));
    apply.kill();
    assert_ne!(key(&project), old);
    becomes(&project, "tiny", "rude");
    assert_eq!(project.plan("").ids("run"), ["smoke:tiny"]);
    fails(&project, &["(the old server runs again)"]);
    assert_eq!(key(&project), old);

    // One that nobody tested is nothing to go back to, either.
    becomes(&project, "tiny", "mute");
    let mut apply = project.start("apply --json");
    assert!(apply.until_started("smoke:tiny"));
    apply.kill();
    project.edit("specs/tiny.toml", "ciao", "salut");
    becomes(&project, "tiny", "rude");
    fails(&project, &["(the old server runs again)"]);
    assert_eq!(key(&project), old);
    assert_eq!(project.served("tiny").expect("it is served")["previous"], json!(null));
}

#[test]
fn a_start_that_fails_goes_back_to_what_ran_just_before_proven_or_not() {
    let Some(project) = moody() else { return };
    let key = |project: &Project| project.served("tiny").expect("it is served")["key"].clone();
    let proven = key(&project);
    becomes(&project, "tiny", "mute");
    let spec = project.read("specs/tiny.toml");
    project.append("specs/tiny.toml", "\n[env]\nGREETING = \"ciao\"\n");
    let mut apply = project.start("apply --json");
    assert!(apply.until_started("smoke:tiny"));
    apply.kill();
    let unproven = key(&project);
    assert_ne!(unproven, proven);

    let untested = project.read("specs/tiny.toml");
    let command = spec.lines().find(|line| line.starts_with("command")).expect("a command");
    project
        .write("specs/tiny.toml", &untested.replace(command, "command = [\"false\", \"{port}\"]"));
    fails(&project, &["the server ended before it answered (the old server runs again)"]);
    let served = project.served("tiny").expect("it is served");
    assert_eq!(served["key"], unproven, "what ran when the new version was applied");
    assert_eq!(served["previous"]["key"], proven, "what it replaced is kept until it passes");

    // It has yet to pass its test, and goes when it doesn't.
    project.write("specs/tiny.toml", &untested);
    assert_eq!(project.plan("").ids("run"), ["smoke:tiny"]);
    becomes(&project, "tiny", "rude");
    fails(&project, &["(the old server runs again)"]);
    let served = project.served("tiny").expect("it is served");
    assert_eq!((&served["key"], &served["previous"]), (&proven, &json!(null)));
}
