//! Exit codes, switches, and what people read.

use std::fs::File;

use super::SPEC;
use super::support::project::Project;

/// Hides what differs from run to run.
fn masked(project: &Project, text: &str) -> String {
    let port = project.port("tiny").to_string();
    let text = text.replace(&port, "PORT").replace(&project.instance("tiny"), "INSTANCE");
    let words = text.split_inclusive(|letter: char| letter.is_whitespace());
    let mask = |word: &str| {
        let bare = word.trim_end();
        let masked = if bare.starts_with("gb1-") {
            "KEY"
        } else if bare.starts_with("20") && bare.trim_end_matches(',').ends_with('Z') {
            "TIME"
        } else {
            bare
        };
        format!("{masked}{}", &word[bare.len()..])
    };
    words.map(mask).collect()
}

#[test]
fn exit_codes_tell_what_happened() {
    let Some(project) = Project::applied() else { return };
    project.run("plan").exits(0);
    project.run("plan --detailed-exitcode").exits(0);
    project.append(SPEC, "[env]\nGREETING = \"ciao\"\n");
    project.run("plan").exits(0);
    project.run("plan --detailed-exitcode").exits(2);
    project.run("plan --json --detailed-exitcode").exits(2);
    project.run("plan --nonsense").exits(64);
    project
        .run("plan tinny")
        .exits(64)
        .says(&["there is no model `tinny`", "did you mean `tiny`?"]);
    project.run("plan --only deploy:tinny").exits(64).says(&["did you mean `deploy:tiny`?"]);
    project.run("why deploy:tinny").exits(64);
    project.run("logs nobody").exits(64);
    project.run("show nobody").exits(64);
    project.append(SPEC, "GREETNG = 3\n");
    project.run("plan").exits(65).says(&["specs/tiny.toml"]);
    project.run("check").exits(65);
}

#[test]
fn a_missing_lock_is_refused_where_locks_must_not_change() {
    let Some(project) = Project::new() else { return };
    project.run("plan --locked").exits(0);
    std::fs::remove_file(project.root().join("goatbuild.lock")).unwrap();
    let refused = project.run("plan --locked").exits(65);
    refused.says(&["the base of image tiny is not locked", "goatbuild lock"]);
    project.run("apply --locked").exits(65);
    project.run_with("plan", &[("CI", "true")]).exits(65);
    project.run_with("apply", &[("CI", "true")]).exits(65);
    assert!(!project.root().join("goatbuild.lock").exists());
}

#[test]
fn an_edited_request_is_refused_where_locks_must_not_change() {
    let Some(project) = Project::new() else { return };
    project.edit("images/tiny.toml", "requirements = []", "requirements = [\"iniconfig\"]");
    project.run("plan --locked").exits(65).says(&["images/tiny.pylock.toml is not locked"]);
}

#[test]
fn offline_works_with_a_cache_and_says_what_it_lacks() {
    let Some(project) = Project::new() else { return };
    project.run("plan --offline").exits(0);
    project.run("apply --offline").exits(0);
    project.edit("images/tiny.toml", "[\"python3\"]", "[\"python3\", \"libgomp1\"]");
    project.run("plan --offline").exits(1).says(&["offline"]);
}

#[test]
fn a_held_lock_is_waited_for_and_its_holder_named() {
    let Some(project) = Project::applied() else { return };
    let lock =
        File::options().read(true).write(true).open(project.root().join("cache/lock")).unwrap();
    lock.lock().unwrap();
    let holder = r#"{"pid":7,"command":"apply","since":"2026-01-01T00:00:00Z"}"#;
    project.write("cache/lock", holder);
    let late = project.run("apply --lock-timeout 1").exits(75);
    late.says(&["another goatbuild is at work here", "process 7"]);
    for reader in ["plan", "status", "why deploy:tiny", "logs tiny"] {
        project.run(&format!("{reader} --lock-timeout 0")).exits(0);
    }
    drop(lock);
    project.run("apply --lock-timeout 0").exits(0);
}

#[test]
fn only_a_step_runs_what_it_needs_and_no_more() {
    let Some(project) = Project::new() else { return };
    assert_eq!(project.apply("--only weights:model").ran(), ["weights:model"]);
    assert_eq!(project.apply("--only deploy:tiny").ran(), ["deploy:tiny"]);
    assert_eq!(project.apply("tiny").ran(), ["gateway:tiny", "smoke:tiny"]);
}

#[test]
fn wishes_that_contradict_each_other_are_wrong_usage() {
    let Some(project) = Project::new() else { return };
    for arguments in ["tiny --only deploy:tiny", "tiny --prune", "--only deploy:tiny --prune"] {
        for command in ["plan", "apply"] {
            let ran = project.run(&format!("{command} {arguments}")).exits(64);
            ran.says(&["can't be had together"]);
        }
    }
    let outside = project.run("plan --only weights:model --replace deploy:tiny").exits(64);
    outside.says(&["deploy:tiny is no part of what was asked for"]);
    project.run("plan --replace deploy:tinny").exits(64).says(&["did you mean `deploy:tiny`?"]);
    project.run("plan --adopt tinny").exits(64).says(&["did you mean `tiny`?"]);
    let replaced = project.plan("tiny --replace weights:model");
    assert_eq!(replaced.why("weights:model"), ["replaced"]);
}

#[test]
fn a_plan_for_people_names_each_step_and_field() {
    let Some(project) = Project::applied() else { return };
    assert_eq!(project.run("plan").stdout, "0 to run, 0 pending, 7 fresh\n");
    project.append(SPEC, "[env]\nGREETING = \"ciao\"\n");
    let plan = "     run  deploy:tiny  changed env.GREETING: + ciao\n\
                \x20pending  smoke:tiny   depends on deploy:tiny\n\
                1 to run, 1 pending, 5 fresh\n";
    let ran = project.run("plan").exits(0);
    assert_eq!(ran.stdout, plan);
    assert_eq!(ran.stderr, "· served here by the embedded runtime\n");
}

#[test]
fn why_tells_key_inputs_facts_and_what_was_hashed() {
    let Some(project) = Project::applied() else { return };
    let why = project.run("why gateway:tiny").exits(0).stdout;
    let why = masked(&project, &why);
    let parts = [
        "gateway:tiny  fresh\n",
        "  key      KEY\n",
        "  models   tiny\n",
        "  inputs   deploy:tiny, smoke:tiny\n",
        "  last     ok at TIME run ",
        "  facts\n    alias  tiny-local\n",
        "    gateway.alias   tiny-local\n",
        "    url             http://127.0.0.1:PORT/v1\n",
        "    served-name     tiny\n",
    ];
    for part in parts {
        assert!(why.contains(part), "`{part}` is missing in:\n{why}");
    }
    project.append(SPEC, "[env]\nGREETING = \"ciao\"\n");
    let why = project.run("why smoke:tiny").exits(0).stdout;
    assert!(why.contains("smoke:tiny  pending\n  depends on deploy:tiny\n"), "{why}");
    assert!(why.contains("key      not known until its inputs have run"), "{why}");
}

#[test]
fn logs_are_of_servers_and_of_steps() {
    let Some(project) = Project::new() else { return };
    project.run("logs tiny").exits(1).says(&["tiny has no log yet"]);
    project.apply("").ran();
    assert!(project.run("logs tiny").exits(0).stdout.starts_with("starting"));
    assert_eq!(project.run("logs tiny -n 0").exits(0).stdout, "");
    assert_eq!(project.run("logs tiny -n 1").exits(0).stdout.lines().count(), 1);
    assert_eq!(
        project.run("logs smoke:tiny").exits(0).stdout,
        "chat/completions of tiny: \"hello\"\n"
    );
    assert_eq!(project.run("logs gateway:tiny").exits(0).stdout, "the file was changed\n");
    project.run("logs warmup:tiny").exits(1).says(&["warmup:tiny has no log yet"]);
    // Its image was built before the test began.
    project.run("logs image:tiny").exits(0).says(&["image:tiny ran and logged nothing"]);
}

#[test]
fn show_tells_where_each_value_comes_from() {
    let Some(project) = Project::new() else { return };
    project.append("goatbuild.toml", "[defaults]\nserve = { max-inputs = 9 }\n");
    let shown = project.run("show tiny").exits(0);
    shown.says(&["serve.max-inputs", "9", "goatbuild.toml", "specs/tiny.toml", "gateway.alias"]);
}

#[test]
fn check_finds_this_machine_fit() {
    let Some(project) = Project::new() else { return };
    let checked = project.run_with("check", &[("LITELLM_MASTER_KEY", "sk-test")]).exits(0);
    checked.says(&["specs", "1 model, 1 image", "lock", "answers all images", "is in order"]);
}

#[test]
fn status_tells_where_a_model_answers() {
    let Some(project) = Project::new() else { return };
    project
        .run("status")
        .exits(0)
        .says(&["tiny absent", "not deployed: `goatbuild apply` does it"]);
    project.apply("").ran();
    let status = project.run("status").exits(0).stdout;
    let process = project.served("tiny").unwrap()["instance"]["pid"].to_string();
    let status = masked(&project, &status).replace(&process, "PID");
    let text =
        "tiny  running  http://127.0.0.1:PORT/v1  process PID\n      since TIME as specified\n";
    assert_eq!(status, text);
}
