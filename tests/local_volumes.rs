//! Volumes on this machine: in the state directory, whatever becomes of `cache/`; and those that
//! earlier versions had in `cache/volumes`, until an apply moves them.
#![cfg(target_os = "linux")]

use crate::support;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::project::{Plan, Project};

const NAMES: [&str; 3] =
    ["table-4c19d2-model-cache", "table-4c19d2-vllm-cache", "table-4c19d2-flashinfer-cache"];

const STAGING: &str = "
[environment.staging.gateway.litellm]
config = \"staging.yaml\"

[environment.staging.model.tiny]
env = { GREETING = \"ciao\" }
";

/// Applies an environment with its volumes where earlier versions had them, and leaves a state as they
/// wrote it: servers really have those directories mounted.
fn apply_early(project: &Project, environment: &str) {
    let state = project.state().join("table-4c19d2").join(environment);
    let old = project.root().join("cache/volumes");
    let new = state.join("volumes");
    fs::create_dir_all(&new).unwrap();
    for name in NAMES {
        fs::create_dir_all(old.join(name)).unwrap();
        symlink(old.join(name), new.join(name)).unwrap();
    }
    let chosen = if environment == "default" { "" } else { environment };
    let variable = [("GOATBUILD_ENV", chosen)];
    project.run_with("apply", if chosen.is_empty() { &[] } else { &variable }).exits(0);
    fs::remove_dir_all(&new).unwrap();
    let path = state.join("deployments.json");
    let mut deployed: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for served in deployed["served"].as_object_mut().unwrap().values_mut() {
        assert!(served.as_object_mut().unwrap().remove("mounted").is_some());
        for bind in served["recipe"]["binds"].as_array_mut().unwrap() {
            let source = PathBuf::from(bind["source"].as_str().unwrap());
            if let Ok(rest) = source.strip_prefix(&new) {
                bind["source"] = old.join(rest).to_str().unwrap().into();
            }
        }
    }
    fs::write(path, deployed.to_string()).unwrap();
}

/// A project with two models, deployed by an earlier version.
fn early() -> Option<Project> {
    let project = Project::new()?;
    // Some clean up.
    project.own_roots();
    project.write("specs/other.toml", &project.read("specs/tiny.toml"));
    apply_early(&project, "default");
    Some(project)
}

#[track_caller]
fn all_fresh(plan: &Plan) {
    assert_eq!(plan.ids("fresh").len(), plan.0["steps"].as_array().unwrap().len(), "{}", plan.0);
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(directory).sort_by_file_name().into_iter();
    entries.map(|entry| entry.unwrap().path().strip_prefix(directory).unwrap().into()).collect()
}

fn instances(project: &Project) -> [String; 2] {
    ["tiny", "other"].map(|model| project.instance(model))
}

#[test]
fn without_its_cache_a_project_serves_on_and_is_fresh() {
    let Some(project) = Project::applied() else { return };
    fs::remove_dir_all(project.root().join("cache")).unwrap();
    all_fresh(&project.plan(""));
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
    assert_eq!(project.apply("").ran(), [""; 0]);
    // And starts again from what there is.
    project.kill("tiny");
    let ran = project.apply("").ran();
    assert!(ran.contains(&"deploy:tiny".to_owned()) && !ran.contains(&"weights:model".to_owned()));
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
}

#[test]
fn what_an_earlier_version_left_is_used_where_it_is_until_an_apply_renames_it() {
    let Some(project) = early() else { return };
    let old = project.root().join("cache/volumes");
    let before = (instances(&project), files(&old));
    let announced = "the next apply moves 3 volumes, ";
    let to = format!("from cache/volumes to {}: renamed", project.volumes().display());
    project.run("plan").exits(0).says(&[announced, &to, "0 to run, 0 pending"]);
    all_fresh(&project.plan(""));
    for command in ["status", "why deploy:tiny", "logs tiny", "gc --dry-run"] {
        project.run(command).exits(0);
    }
    assert_eq!((instances(&project), files(&old)), before);
    assert!(!project.volumes().exists(), "a plan changes nothing");

    let ran = project.run("apply").exits(0).says(&["moved 3 volumes, ", &to, " 0 steps ran"]);
    // Before it does, and not again.
    let told: Vec<&str> = ran.stderr.lines().filter(|line| line.contains(&to)).collect();
    assert!(
        matches!(&told[..], [first, last] if first.contains("this apply moves 3 volumes, ")
        && last.contains("moved 3 volumes, ")),
        "{told:?}"
    );
    assert!(!ran.stderr.contains("the next apply"), "{}", ran.stderr);
    assert_eq!((instances(&project), files(&project.volumes())), before);
    assert!(!old.exists(), "nothing is left in it");
    let told = project.run("plan").exits(0).stderr;
    assert!(!told.contains("volumes"), "{told}");
    fs::remove_dir_all(project.root().join("cache")).unwrap();
    all_fresh(&project.plan(""));
    for model in ["tiny", "other"] {
        assert_eq!(project.ask(model).as_deref(), Some("hello"));
        project.kill(model);
    }
    project.apply("").ran();
    assert_eq!(project.ask("other").as_deref(), Some("hello"));
}

#[test]
fn a_server_whose_volume_was_deleted_before_it_moved_is_started_anew() {
    let Some(project) = early() else { return };
    fs::remove_dir_all(project.root().join("cache")).unwrap();
    let plan = project.plan("");
    assert_eq!(plan.why("weights:model"), ["first"]);
    assert_eq!(plan.why("deploy:tiny")[0], "drift volume model-cache");
    project.run("status").says(&["volume model-cache deleted"]);
    let applied = project.apply("").ran();
    assert!(applied.contains(&"deploy:other".to_owned()), "{applied:?}");
    all_fresh(&project.plan(""));
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
}

#[test]
fn a_move_that_was_killed_after_its_first_rename_goes_on() {
    let Some(project) = early() else { return };
    fs::create_dir_all(project.volumes()).unwrap();
    let old = project.root().join("cache/volumes");
    fs::rename(old.join(NAMES[0]), project.volumes().join(NAMES[0])).unwrap();
    all_fresh(&project.plan(""));
    let before = instances(&project);
    project.run("apply").exits(0).says(&["moved 2 volumes", " 0 steps ran"]);
    assert_eq!(instances(&project), before);
    // Who starts them again finds them.
    let sources = project.served("tiny").unwrap()["recipe"]["binds"].to_string();
    assert!(!sources.contains("cache/volumes"), "{sources}");
}

#[test]
fn where_a_volume_can_not_go_it_stays() {
    let Some(project) = early() else { return };
    fs::write(project.volumes(), "in the way").unwrap();
    let old = project.root().join("cache/volumes");
    let before = files(&old);
    let words =
        ["goatbuild::local::move_volume", "volumes: ", "no data is lost, and the next apply"];
    project.run("apply").exits(1).says(&words);
    assert_eq!(files(&old), before);
    assert!(project.ask("tiny").is_some());
    fs::remove_file(project.volumes()).unwrap();
    project.run("apply").exits(0).says(&["moved 3 volumes", " 0 steps ran"]);
}

#[test]
fn environments_that_shared_a_volume_have_one_each_after() {
    let Some(project) = early() else { return };
    project.append("goatbuild.toml", STAGING);
    apply_early(&project, "staging");
    all_fresh(&project.plan("--env staging"));
    let before = instances(&project);
    project.run("apply").exits(0).says(&["moved 3 volumes", ": renamed", " 0 steps ran"]);

    // The other one has them by a link, and gets its own, for one start more.
    let said = project.run("plan --env staging").exits(0);
    let said = said.says(&["the next apply moves 3 volumes", ": copied"]);
    assert!(!said.stdout.contains("weights"), "{}", said.stdout);
    let plan = project.plan("--env staging");
    assert_eq!(plan.why("deploy:tiny")[0], "drift volume model-cache");
    let ran = project.apply("--env staging").ran();
    assert_eq!(ran, ["deploy:other", "deploy:tiny", "smoke:other", "smoke:tiny"]);
    for arguments in ["", "--env staging"] {
        all_fresh(&project.plan(arguments));
    }
    assert_eq!(instances(&project), before);
    assert!(!project.root().join("cache/volumes").exists());
    let blob = |environment: &str| {
        let volume = project.state().join("table-4c19d2").join(environment).join("volumes");
        let blobs = volume.join(NAMES[0]).join("hub/models--local--model/blobs");
        let blob = fs::read_dir(blobs).unwrap().next().unwrap().unwrap();
        (fs::read(blob.path()).unwrap(), blob.file_name())
    };
    assert_eq!(blob("default"), blob("staging"));
    fs::remove_dir_all(project.root().join("cache")).unwrap();
    all_fresh(&project.plan("--env staging"));
    assert_eq!(project.run("gc --dry-run --keep-runs 0").exits(0).stdout, "nothing to remove\n");
    // An environment that is gone leaves volumes that nothing needs.
    project.run("destroy tiny --yes --env staging").exits(0);
    project.run("destroy other --yes --env staging").exits(0);
    let file = project.read("goatbuild.toml").replace(STAGING, "");
    project.write("goatbuild.toml", &file);
    let gone = project.run("gc --verbose --keep-runs 0").exits(0).stdout;
    assert!(gone.contains("staging/volumes/table-4c19d2-model-cache"), "{gone}");
    assert!(!gone.contains("default/volumes"), "{gone}");
    all_fresh(&project.plan(""));
}

#[test]
fn two_checkouts_share_a_volume_and_the_second_ones_old_one_is_left_for_gc() {
    let Some(project) = early() else { return };
    let second = project.root().with_file_name("second checkout");
    let mut copy = std::process::Command::new("cp");
    assert!(copy.arg("-a").args([project.root(), second.clone()]).status().unwrap().success());
    project.run("apply").exits(0).says(&["moved 3 volumes", " 0 steps ran"]);

    let there = |arguments: &str| {
        let mut command = project.command(arguments);
        let output = command.current_dir(&second).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        support::project::Ran { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    };
    let left = format!("cache/volumes/{} is no longer used", NAMES[0]);
    there("plan").exits(0).says(&[&left, "0 to run, 0 pending"]);
    there("apply").exits(0).says(&[" 0 steps ran"]);
    assert!(second.join("cache/volumes").join(NAMES[0]).is_dir(), "a source of weights");
    let lock = File::open(project.state().join("table-4c19d2/default/lock")).unwrap();
    lock.lock().unwrap();
    there("apply --lock-timeout 0").exits(75).says(&["another goatbuild is at work"]);
    drop(lock);
    let gone = there("gc --verbose").exits(0).stdout;
    assert!(NAMES.iter().all(|name| gone.contains(&format!("cache/volumes/{name}"))), "{gone}");
    assert!(!gone.contains("default/volumes"), "{gone}");
    all_fresh(&project.plan(""));
    let told = there("plan").exits(0).stderr;
    assert!(!told.contains("no longer used"), "{told}");
}

#[test]
fn the_missing_unpacked_image_of_a_running_server_is_noticed() {
    let Some(project) = Project::new() else { return };
    project.own_roots();
    project.apply("").ran();
    for root in fs::read_dir(project.state().join("roots")).unwrap().flatten() {
        if root.file_type().unwrap().is_dir() {
            fs::remove_dir_all(root.path()).unwrap();
        }
    }
    assert_eq!(project.plan("").why("deploy:tiny"), ["drift unpacked image"]);
    assert_eq!(project.apply("").ran(), ["deploy:tiny", "smoke:tiny"]);
    all_fresh(&project.plan(""));
}

/// A state directory on another file system than the checkout's, with a space in its path.
fn elsewhere() -> Option<(tempfile::TempDir, Project)> {
    let mut project = Project::new()?;
    let device = |path: &Path| path.metadata().ok().map(|found| found.dev());
    let memory = Path::new("/dev/shm");
    if device(memory).is_none() || device(memory) == device(&project.root()) {
        support::peers::skipped("another file system at /dev/shm", "it is none");
        return None;
    }
    let directory = tempfile::tempdir_in(memory).unwrap();
    project.state_at(&directory.path().join("state of things"));
    Some((directory, project))
}

#[test]
fn to_another_file_system_volumes_are_copied_and_a_kill_on_the_way_loses_nothing() {
    let Some((_directory, project)) = elsewhere() else { return };
    project.write("specs/other.toml", &project.read("specs/tiny.toml"));
    apply_early(&project, "default");
    let old = project.root().join("cache/volumes");
    // Large enough to be caught on its way.
    let large = old.join(NAMES[0]).join("hub/large");
    fs::write(&large, vec![7; 300 << 20]).unwrap();
    let (before, weights) = (files(&old), files(&old.join(NAMES[0])));
    let said = project.run("plan").exits(0);
    said.says(&["the next apply moves 3 volumes, 314 MB", ": copied", "drift volume model-cache"]);

    let new = project.volumes();
    // Killed once so many megabytes are there.
    for size in [0, 30, 150] {
        let mut apply = project.command("apply --json");
        let mut apply = apply.stdout(std::process::Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        let incoming = new.join(format!(".moving-{}", NAMES[0])).join("hub/large");
        let is_there = || fs::metadata(&incoming).is_ok_and(|it| it.len() >= size << 20);
        while !is_there() && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(is_there(), "it copies");
        apply.kill().unwrap();
        assert_eq!(apply.wait().unwrap().signal(), Some(9), "{size} MB: it is not done before");
        assert!(!new.join(NAMES[0]).exists(), "{size} MB: it appears only whole");
        assert_eq!(files(&old), before, "{size} MB");
        let plan = project.plan("");
        assert_eq!(plan.ids("run"), ["deploy:other", "deploy:tiny"], "{size} MB");
        assert!(project.ask("tiny").is_some());
    }
    // Whoever only builds leaves the servers alone, and what they have.
    project.run("apply --only image:tiny").exits(0).says(&["moved 3 volumes", ": copied"]);
    // No server has more than a copy of a cache.
    assert_eq!(files(&old.join(NAMES[0])), weights);
    assert!(NAMES[1..].iter().all(|name| !old.join(name).exists()));
    assert!(project.ask("tiny").is_some());
    assert_eq!(project.plan("").ids("run"), ["deploy:other", "deploy:tiny"]);
    let ran = project.apply("").ran();
    assert_eq!(ran, ["deploy:other", "deploy:tiny", "smoke:other", "smoke:tiny"]);
    assert!(!old.exists(), "nothing is left in it");
    let mut now = files(&new);
    now.retain(|path| !before.contains(path));
    // The directory for receipts is made in all of them.
    now.retain(|path| !path.ends_with(".goatbuild"));
    assert!(now.is_empty(), "{now:?}");
    assert_eq!(fs::metadata(new.join(NAMES[0]).join("hub/large")).unwrap().len(), 300 << 20);
    fs::remove_dir_all(project.root().join("cache")).unwrap();
    all_fresh(&project.plan(""));
    assert_eq!(project.ask("other").as_deref(), Some("hello"));
}

#[test]
fn a_saved_plan_holds_though_volumes_are_copied_before_it_runs() {
    let Some((_directory, project)) = elsewhere() else { return };
    apply_early(&project, "default");
    project.run("plan -o move.plan").exits(0);
    let ran = project.run("apply move.plan").exits(0);
    ran.says(&["this apply moves 3 volumes", "moved 3 volumes", ": copied", " 2 steps ran"]);
    all_fresh(&project.plan(""));
}
