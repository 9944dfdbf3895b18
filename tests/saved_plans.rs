//! Saved plans with the real binary: exactly what was saved runs, or nothing does.

#![cfg(target_os = "linux")]

use crate::support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::Stdio;

use support::project::Project;

const SPEC: &str = "specs/tiny.toml";
const PLAN: &str = "ci.plan";
const ENV: &str = "[env]\nGREETING = \"ciao\"\n";

/// A deployed project with an edit that is planned and saved.
fn saved() -> Option<Project> {
    let project = Project::applied()?;
    project.append(SPEC, ENV);
    project
        .run("plan -o ci.plan")
        .exits(0)
        .says(&["saved; `goatbuild apply ci.plan` runs exactly"]);
    Some(project)
}

/// Applies the plan, which has to be refused, and changes nothing.
#[track_caller]
fn refused(project: &Project, words: &[&str]) {
    let before = (project.served("tiny"), project.read("litellm.yaml"));
    project.run("apply ci.plan").exits(3).says(words);
    assert_eq!((project.served("tiny"), project.read("litellm.yaml")), before, "it changed things");
}

#[test]
fn a_saved_plan_runs_once_and_is_then_known_as_applied() {
    let Some(project) = saved() else { return };
    assert_eq!(project.apply(PLAN).ran(), ["deploy:tiny", "smoke:tiny"]);
    assert_eq!(project.ask("tiny").as_deref(), Some("ciao"));
    refused(&project, &["ci.plan was applied already: all that it would run is done"]);
    // A plan without anything to do does that as often as one likes.
    project.run("plan -o nothing.plan").exits(0);
    assert_eq!(project.apply("nothing.plan").ran(), [""; 0]);
    assert_eq!(project.apply("./nothing.plan").ran(), [""; 0]);
}

#[test]
fn the_command_that_applies_a_plan_is_told_whole() {
    let Some(project) = Project::new() else { return };
    let told = "saved; `goatbuild -C . --env staging apply ci.plan` runs exactly this";
    project.append("goatbuild.toml", "[environment.staging.target.local]\n");
    project.run("plan --env staging -C . -o ci.plan").exits(0).says(&[told]);
}

#[test]
fn what_pending_steps_turn_out_to_be_is_decided_when_the_plan_is_applied() {
    let Some(project) = Project::applied() else { return };
    let instance = project.instance("tiny");
    let plan = project.plan("--replace image:tiny -o ci.plan");
    assert_eq!(plan.ids("run"), ["image:tiny"]);
    assert_eq!(plan.ids("pending"), ["deploy:tiny", "smoke:tiny"]);
    let applied = project.apply(PLAN);
    assert_eq!(applied.ran(), ["image:tiny"]);
    assert_eq!(applied.ids("cut_off"), ["deploy:tiny", "smoke:tiny"]);
    assert_eq!(project.instance("tiny"), instance);
}

#[test]
fn an_edit_since_then_refuses_the_plan_by_step_and_field() {
    let Some(project) = saved() else { return };
    project.edit(SPEC, "ciao", "hallo");
    refused(&project, &["deploy:tiny: env.GREETING: ciao → hallo", "nothing was changed"]);
    project.edit(SPEC, "hallo", "ciao");
    project.append(SPEC, "[gateway]\nalias = \"small\"\n");
    refused(&project, &["gateway:tiny: gateway.alias: tiny-local → small"]);
    project.edit(
        SPEC,
        "[gateway]\nalias = \"small\"\n",
        "# What is no part of a step moves nothing.\n",
    );
    project.write("specs/other.toml", &project.read(SPEC));
    refused(&project, &["deploy:other is new, to run", "gateway:other is new, to run"]);
    fs::remove_file(project.root().join("specs/other.toml")).unwrap();
    project.append("goatbuild.toml", "reload = [\"true\"]\n");
    refused(&project, &["gateway.litellm.reload is not what it was"]);
    project.edit("goatbuild.toml", "reload = [\"true\"]\n", "");
    let lock = project.read("goatbuild.lock");
    let version = lock.lines().find(|line| line.starts_with("version = \"")).expect("a package");
    project.write("goatbuild.lock", &lock.replacen(version, "version = \"0.0.1\"", 1));
    refused(&project, &["goatbuild.lock is not what it was", "base:tiny: package.", "→ 0.0.1"]);
    project.write("goatbuild.lock", &lock);
    project.edit("images/tiny.toml", "requirements = []", "requirements = [\"iniconfig==2.1.0\"]");
    refused(&project, &["can't be planned any more", "images/tiny.pylock.toml is not locked"]);
    project.edit("images/tiny.toml", "requirements = [\"iniconfig==2.1.0\"]", "requirements = []");
    assert_eq!(project.apply(PLAN).ran(), ["deploy:tiny", "smoke:tiny"], "all is as it was");
}

#[test]
fn a_world_that_moved_refuses_the_plan_by_what_is_found_now() {
    let Some(project) = Project::applied() else { return };
    project.append(SPEC, "[gateway]\nalias = \"small\"\n");
    let gateway = project.read("litellm.yaml");
    project.run("plan -o ci.plan").exits(0);
    project.edit("litellm.yaml", "model_name: tiny-local", "model_name: by-hand");
    // The entry is written anew whatever a hand made of it: only another entry is in the way.
    project.edit("litellm.yaml", "model_name: somebody-elses", "model_name: small");
    refused(&project, &["gateway:tiny: found:", "in the way: `small` at litellm.yaml:3"]);
    project.write("litellm.yaml", &gateway);
    project.kill("tiny");
    refused(&project, &["deploy:tiny: process: running → ended"]);
    // The same key again, and another server.
    project.edit(SPEC, "small", "tiny-local");
    assert_eq!(project.apply("").ran(), ["deploy:tiny", "smoke:tiny"]);
    project.edit(SPEC, "\"tiny-local\"", "\"small\"");
    refused(&project, &["deploy:tiny: instance: "]);
    fs::remove_dir_all(project.volumes()).unwrap();
    refused(&project, &["weights:model: found: gb1-", "→ nothing"]);
}

#[test]
fn a_file_that_is_no_whole_plan_is_a_clear_error() {
    let Some(project) = saved() else { return };
    let text = project.read(PLAN);
    let told = |text: &str, code: i32, words: &[&str]| {
        project.write("bad.plan", text);
        project.run("apply bad.plan").exits(code).says(words);
    };
    told(
        &text[..text.len() / 2],
        65,
        &["bad.plan can't be read as a saved plan", "EOF", "cut short"],
    );
    told("", 65, &["goatbuild::plan_file::syntax"]);
    told(&text.replacen("ciao", "hello", 1), 65, &["bad.plan was edited after it was saved"]);
    let newer = text.replacen("\"goatbuild_plan\": 1", "\"goatbuild_plan\": 7", 1);
    told(&newer, 65, &["bad.plan has format 7; this goatbuild knows 1", "save it again"]);
    let json = project.run("plan --json").exits(0).stdout;
    told(&json, 65, &["bad.plan is no saved plan"]);
    let spec = project.run("apply specs/tiny.toml").exits(65);
    spec.says(&["specs/tiny.toml is no saved plan", "`goatbuild plan -o NAME.plan` saves one"]);
    project.run("apply none.plan").exits(64).says(&["there is no saved plan none.plan"]);
    project.run("apply specs").exits(64).says(&["there is no model `specs`"]);
    project.run("apply tinny").exits(64).says(&["did you mean `tiny`?"]);
    let error = project.apply("bad.plan");
    assert_eq!(error.events.last().unwrap()["code"], "goatbuild::plan_file::other");
}

#[test]
fn nothing_but_a_saved_plan_is_written_over() {
    let Some(project) = saved() else { return };
    for file in [SPEC, "goatbuild.toml", "goatbuild.lock", "litellm.yaml"] {
        let before = project.read(file);
        let told = format!("{file} is there, and is no ");
        let refused = project.run(&format!("plan -o {file}")).exits(64);
        refused.says(&[&told, "saved plan", "name another file"]);
        for format in ["svg", "dot", "mermaid"] {
            let command = format!("graph -o {file} --format {format}");
            project.run(&command).exits(64).says(&["goatbuild::usage::overwrites", &told]);
        }
        assert_eq!(project.read(file), before);
    }
    project.run("apply --trace goatbuild.toml").exits(64).says(&["is no trace of an apply"]);
    project.run("plan -o none/ci.plan").exits(64).says(&["there is no directory none"]);
    assert!(!project.root().join("none").exists());
    // What a command wrote itself is replaced, also when it was cut short.
    project.write(PLAN, &project.read(PLAN)[..100]);
    project.run("plan -o ci.plan").exits(0);
    for file in ["graph.svg", "graph.dot", "graph.mmd"] {
        project.run(&format!("graph -o {file}")).exits(0);
        project.run(&format!("graph -o {file}")).exits(0);
    }
}

#[test]
fn a_plan_of_another_project_or_environment_is_refused() {
    let Some(project) = saved() else { return };
    let gateway = "[environment.staging.gateway.litellm]\nconfig = \"staging.yaml\"\n";
    project.append("goatbuild.toml", gateway);
    project.write("staging.yaml", "model_list: []\n");
    let staging = "this is environment staging";
    let ran = project.run("--env staging apply ci.plan").exits(3);
    ran.says(&["is a plan of the default environment", staging, "apply it without `--env`"]);
    project.run("--env staging plan -o staging.plan").exits(0);
    let ran = project.run("apply staging.plan").exits(3);
    ran.says(&["is a plan of environment staging", "apply it with `--env staging`"]);
    project.edit("goatbuild.toml", "table-4c19d2", "other-111111");
    let ran = project.run("apply ci.plan").exits(3);
    ran.says(&["ci.plan is a plan of project table-4c19d2; this is other-111111"]);
    project.edit("goatbuild.toml", "other-111111", "table-4c19d2");
    assert_eq!(project.apply(PLAN).ran(), ["deploy:tiny", "smoke:tiny"]);
}

#[test]
fn a_saved_plan_says_itself_what_it_covers() {
    let Some(project) = saved() else { return };
    for more in ["tiny", "--only deploy:tiny", "--replace deploy:tiny", "--adopt tiny", "--prune"] {
        let ran = project.run(&format!("apply ci.plan {more}")).exits(64);
        ran.says(&["the saved plan ci.plan says itself what it covers"]);
    }
    project.run("apply ci.plan --no-refresh").exits(64);
    project.run("apply --refresh --no-refresh").exits(64);
    project.run("apply ci.plan ci.plan").exits(64);
    // A model's name is a model, whatever files there are.
    project.write("tiny", "no plan");
    assert_eq!(project.apply("tiny").ran(), ["deploy:tiny", "smoke:tiny"]);
}

#[test]
fn selections_and_wishes_are_saved_along() {
    let Some(project) = Project::applied() else { return };
    project.write("specs/other.toml", &project.read(SPEC));
    project.append(SPEC, ENV);
    project.run("plan tiny -o ci.plan").exits(0);
    assert_eq!(project.apply(PLAN).ran(), ["deploy:tiny", "smoke:tiny"]);
    project.run("plan --only deploy:other --no-refresh -o ci.plan").exits(0);
    assert_eq!(project.apply(PLAN).ran(), ["deploy:other"]);
    fs::remove_file(project.root().join("specs/other.toml")).unwrap();
    project.run("plan -o kept.plan").exits(0).says(&["kept, unless with `--prune`"]);
    project.run("plan --prune -o ci.plan").exits(0);
    let applied = project.apply(PLAN);
    assert_eq!((applied.ran(), applied.ids("removed")), (vec![], vec!["deploy:other".to_owned()]));
    assert!(project.served("other").is_none());
    project.run("apply kept.plan").exits(3).says(&["deploy:other is no step any more"]);
}

#[test]
fn a_conflict_is_not_saved_and_adopting_is() {
    let Some(project) = Project::new() else { return };
    project.edit("litellm.yaml", "model_name: somebody-elses", "model_name: tiny-local");
    project.run("plan -o ci.plan").exits(3).says(&["in the way", "--adopt MODEL"]);
    assert!(!project.root().join(PLAN).exists());
    project.run("plan --adopt tiny -o ci.plan").exits(0);
    let ran = ["deploy:tiny", "gateway:tiny", "smoke:tiny", "weights:model"];
    assert_eq!(project.apply(PLAN).ran(), ran);
    assert_eq!(project.read("litellm.yaml").matches("model_name: tiny-local").count(), 1);
}

#[test]
fn a_saved_plan_holds_no_secret_and_no_place() {
    let Some(project) = Project::applied() else { return };
    project.edit(
        "litellm.yaml",
        "      api_key: none\n    model_info",
        "      api_key: sk-by-hand\n    model_info",
    );
    let secrets = [("HF_TOKEN", "hf_secret"), ("LITELLM_MASTER_KEY", "sk-master")];
    let plan = project.run_with("plan --json -o ci.plan", &secrets).exits(0);
    plan.says(&["api_key", "(not shown)"]);
    let text =
        [project.read(PLAN), project.run("plan").stdout, project.run("why gateway:tiny").stdout];
    let host = fs::read_to_string("/etc/hostname").unwrap_or_else(|_| "no name".to_owned());
    let (root, state) = (project.root(), project.state());
    let places = [root.to_str().unwrap(), state.to_str().unwrap(), host.trim()];
    for text in text {
        for word in ["hf_secret", "sk-master", "sk-by-hand"].iter().chain(&places) {
            assert!(!text.contains(word), "{word} is in {text}");
        }
    }
    assert_eq!(project.apply(PLAN).ran(), ["gateway:tiny"]);
}

#[test]
fn a_second_apply_waits_says_for_whom_and_sees_what_is_true_then() {
    let Some(project) = saved() else { return };
    let lock = project.root().join("cache/lock");
    let held = fs::File::options().read(true).write(true).open(&lock).unwrap();
    held.lock().unwrap();
    let holder = r#"{"pid":7,"command":"apply","since":"2026-01-01T00:00:00Z"}"#;
    project.write("cache/lock", holder);
    for arguments in ["apply ci.plan --lock-timeout 0", "apply --lock-timeout 0"] {
        let late = project.run(arguments).exits(75);
        late.says(&["another goatbuild is at work here: `apply`, process 7, since 2026-01-01"]);
    }
    // A plan waits for nobody, and saves.
    project.run("plan -o other.plan --lock-timeout 0").exits(0);
    let waiting = |arguments: &str| {
        let mut command = project.command(arguments);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("a line");
        assert!(line.contains("waiting for another goatbuild: `apply`, process 7"), "{line}");
        (child, stderr)
    };
    let (mut first, mut told) = waiting("apply ci.plan");
    project.edit(SPEC, "ciao", "hallo");
    drop(held);
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(3), "{rest}");
    assert!(rest.contains("env.GREETING: ciao → hallo"), "{rest}");
    // Without a saved plan, what is true by then is planned.
    let held = fs::File::options().read(true).write(true).open(&lock).unwrap();
    held.lock().unwrap();
    project.write("cache/lock", holder);
    let (mut second, mut told) = waiting("apply");
    project.edit(SPEC, "hallo", "salut");
    drop(held);
    rest.clear();
    told.read_to_string(&mut rest).unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(0), "{rest}");
    assert_eq!(project.ask("tiny").as_deref(), Some("salut"));
}

/// What git would give: everything but the cache. Downloads are linked, so that no network is used.
fn clone(project: &Project) {
    let (root, clone) = (project.root(), project.root().with_file_name("clone"));
    for entry in walkdir::WalkDir::new(&root).into_iter().flatten() {
        let name = entry.path().strip_prefix(&root).unwrap();
        let downloads = ["cache/debs", "cache/wheels", "cache/tools"];
        let wanted = !name.starts_with("cache") || downloads.iter().any(|it| name.starts_with(it));
        if wanted && entry.file_type().is_file() {
            fs::create_dir_all(clone.join(name).parent().unwrap()).unwrap();
            fs::copy(entry.path(), clone.join(name)).unwrap();
        }
    }
    assert!(!clone.join("cache/state.db").exists() && Path::new(&clone.join(SPEC)).exists());
}

#[test]
fn a_plan_is_applied_on_a_fresh_clone_of_the_same_world() {
    let Some(project) = Project::new() else { return };
    project.run("plan -o ci.plan").exits(0).says(&["3 steps built before are built again"]);
    clone(&project);
    let ran = project.run("-C ../clone apply --json ci.plan").exits(0);
    let end: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    let mut ran: Vec<&str> =
        end["ran"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    ran.sort_unstable();
    let planned = ["deploy:tiny", "gateway:tiny", "smoke:tiny", "weights:model"];
    let built = ["base:tiny", "image:tiny", "wheels:tiny/pip"];
    let mut all = [&planned[..], &built[..]].concat();
    all.sort_unstable();
    assert_eq!(ran, all);
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
    // Back here the server runs, and the entry is in the clone's file.
    project.run("apply ci.plan").exits(3).says(&["deploy:tiny: found: nothing → gb1-"]);
}

#[test]
fn a_fresh_clone_plans_what_the_machine_that_applied_plans() {
    let Some(project) = Project::applied() else { return };
    clone(&project);
    let plans = |arguments: &str| {
        let there = project.run(&format!("-C ../clone plan --json {arguments}")).exits(0).stdout;
        let there: serde_json::Value = serde_json::from_str(&there).unwrap();
        (project.plan(arguments).0, there)
    };
    let differing = |(here, there): &(serde_json::Value, serde_json::Value)| -> Vec<String> {
        let steps = |plan: &serde_json::Value| plan["steps"].as_array().unwrap().clone();
        let (here, there) = (steps(here), steps(there));
        assert_eq!(here.len(), there.len());
        let both = here.iter().zip(&there).filter(|(here, there)| here != there);
        both.map(|(_, there)| format!("{} {}", there["id"], there["reasons"][0]["kind"])).collect()
    };
    // All is the same to the byte.
    assert_eq!(differing(&plans("")), [""; 0]);
    let edit = "[gateway]\nalias = \"small\"\n";
    project.append(SPEC, edit);
    project.append("../clone/specs/tiny.toml", edit);
    assert_eq!(differing(&plans("")), [""; 0]);
    // What has to be built again for want of its files says so, and nothing else differs.
    project.append(SPEC, ENV);
    project.append("../clone/specs/tiny.toml", ENV);
    let built =
        ["base:tiny", "wheels:tiny/pip", "image:tiny"].map(|id| format!("\"{id}\" \"evicted\""));
    let mut expected = built.to_vec();
    let mut found = differing(&plans(""));
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}
