//! What `goatbuild gc` removes, and what it must not.

#![cfg(target_os = "linux")]

mod weights;

use crate::support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use support::project::Project;

const SPEC: &str = "specs/tiny.toml";
/// From the project's directory.
const VOLUME: &str = "../state/table-4c19d2/default/volumes/table-4c19d2";

/// A served project whose unpacked images are its own, so that removing some disturbs no other test.
fn served() -> Option<Project> {
    let project = Project::new()?;
    project.own_roots();
    project.apply("").ran();
    Some(project)
}

fn gc(project: &Project, arguments: &str) -> Value {
    let ran = project.run(&format!("gc --json {arguments}")).exits(0);
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// What was found, as `kind path`.
fn found(report: &Value) -> Vec<String> {
    let pieces = report["garbage"].as_array().expect("a list").iter();
    let text = |piece: &Value, name: &str| piece[name].as_str().expect("text").to_owned();
    pieces.map(|piece| format!("{} {}", text(piece, "kind"), text(piece, "path"))).collect()
}

fn all_fresh(project: &Project) {
    let plan = project.plan("");
    assert_eq!(plan.ids("fresh").len(), plan.0["steps"].as_array().unwrap().len(), "{}", plan.0);
}

fn snapshots(project: &Project) -> Vec<PathBuf> {
    let model = format!("{VOLUME}-model-cache/hub/models--local--model/snapshots");
    let entries = fs::read_dir(project.root().join(model)).expect("snapshots");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn what_is_served_and_what_specs_ask_for_stays() {
    let Some(project) = served() else { return };
    let instance = project.instance("tiny");
    let empty = json!({ "format_version": 1, "removed": false, "bytes": 0, "garbage": [] });
    assert_eq!(gc(&project, "--dry-run"), empty);
    assert_eq!(project.run("gc").exits(0).stdout, "nothing to remove\n");
    let gone = found(&gc(&project, "--keep-runs 0"));
    assert!(gone.len() == 1 && gone[0].starts_with("log cache/logs/"), "{gone:?}");
    all_fresh(&project);
    assert_eq!(project.instance("tiny"), instance);
    assert!(project.ask("tiny").is_some());
}

#[test]
fn garbage_is_told_with_its_size_and_removed_only_when_asked_to() {
    let Some(project) = served() else { return };
    let nothing = "0".repeat(64);
    let garbage = [
        (format!("cache/oci/blobs/sha256/{nothing}"), "blob", 1000),
        (format!("cache/wheels/{nothing}.whl"), "download", 200),
        (format!("cache/debs/{nothing}"), "download", 30),
        (format!("{VOLUME}-vllm-cache/gb1-{}/graph", &nothing[..40]), "compile-cache", 4),
        ("../state/table-4c19d2/default/volumes/forgotten/weights".to_owned(), "volume", 50_000),
    ];
    for (path, _, bytes) in &garbage {
        let path = project.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![0; *bytes]).unwrap();
    }
    let root = project.state().join(format!("roots/sha256-{nothing}"));
    fs::create_dir(&root).unwrap();
    // Images hold directories that nobody may write.
    fs::write(root.join("file"), "123456").unwrap();
    fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    let total: usize = garbage.iter().map(|(.., bytes)| bytes).sum::<usize>() + 6;

    let report = gc(&project, "--dry-run");
    assert_eq!(report["bytes"], total);
    assert_eq!(report["removed"], false);
    let mut kinds: Vec<String> =
        found(&report).iter().map(|it| it.split(' ').next().unwrap().to_owned()).collect();
    kinds.sort();
    assert_eq!(kinds, ["blob", "compile-cache", "download", "download", "root", "volume"]);
    assert!(garbage.iter().all(|(path, ..)| project.root().join(path).exists()));

    let told = project.run("gc --dry-run").exits(0).stdout;
    assert!(told.contains("50.0 kB  volumes  1 item\n"), "{told}");
    assert!(told.ends_with("51.2 kB would be freed; `goatbuild gc` removes it\n"), "{told}");
    assert_eq!(gc(&project, "")["removed"], true);
    assert!(garbage.iter().all(|(path, ..)| !project.root().join(path).exists()));
    assert!(!root.exists());
    all_fresh(&project);
}

#[test]
fn weights_and_compile_caches_of_the_last_runs_stay_so_that_the_way_back_is_short() {
    let Some(project) = served() else { return };
    project.append(SPEC, "compiles = true\n\n[env]\nCOMPILE = \"once\"\n");
    project.apply("").ran();
    project.edit(SPEC, "COMPILE = \"once\"", "COMPILE = \"once\"\nGREETING = \"salut\"");
    project.append("model/server.py", "# another revision\n");
    project.apply("").ran();
    assert_eq!(snapshots(&project).len(), 2);
    assert_eq!(gc(&project, "--dry-run")["bytes"], 0);

    let report = gc(&project, "--keep-runs 1");
    let gone = found(&report);
    let of = |kind: &str| gone.iter().filter(|it| it.starts_with(kind)).count();
    // A receipt, a snapshot and the file that changed; a receipt and a directory in each cache.
    assert_eq!((of("weights"), of("compile-cache")), (3, 3), "{gone:#?}");
    assert_eq!(snapshots(&project).len(), 1);
    all_fresh(&project);
    // What was forgotten is made anew.
    project.edit(SPEC, "\nGREETING = \"salut\"", "");
    let ran = ["deploy:tiny", "smoke:tiny", "warmup:tiny"];
    assert_eq!(project.apply("").ran(), ran);
}

#[test]
fn the_image_of_a_running_server_stays_though_the_spec_has_moved_on() {
    let Some(project) = served() else { return };
    let before = project.read("cache/oci/index.json");
    project.append("images/tiny.toml", "env = { MOVED = \"on\" }\n");
    let report = gc(&project, "--keep-runs 0");
    assert!(!found(&report).iter().any(|it| it.starts_with("blob")), "{report}");
    assert_eq!(project.read("cache/oci/index.json"), before);
    assert!(project.ask("tiny").is_some());
    // Once it is gone, nothing needs that image any more; its layers are the new one's.
    project.run("destroy tiny --yes").exits(0);
    project.apply("--only image:tiny").ran();
    let report = gc(&project, "--keep-runs 0");
    let blobs = found(&report).iter().filter(|it| it.starts_with("blob")).count();
    assert_eq!(blobs, 2, "the manifest and the configuration: {report}");
    assert_eq!(project.apply("").ran(), ["deploy:tiny", "gateway:tiny", "smoke:tiny"]);
}

#[test]
fn nothing_is_removed_while_needs_are_unknown() {
    let Some(project) = served() else { return };
    let garbage = project.root().join("cache/wheels").join(format!("{}.whl", "0".repeat(64)));
    fs::create_dir_all(garbage.parent().unwrap()).unwrap();
    fs::write(&garbage, "x").unwrap();
    project.append("goatbuild.toml", "\n[environment.staging.volumes]\nx = 1\n");
    project.run("gc").exits(65).says(&["x = 1"]);
    assert!(garbage.exists());
}

#[test]
fn another_projects_servers_keep_their_unpacked_images() {
    let Some(project) = served() else { return };
    let root = project.state().join(format!("roots/sha256-{}", "1".repeat(64)));
    fs::create_dir(&root).unwrap();
    let other = project.state().join("other-1/default");
    fs::create_dir_all(&other).unwrap();
    let lock = fs::File::create(other.join("lock")).unwrap();
    lock.lock().unwrap();
    project.run("gc").exits(0).says(&["unpacked images are left alone"]);
    assert!(root.exists());
    drop(lock);
    let text = json!({ "version": 1, "served": { "m": { "root": &root } } }).to_string();
    fs::write(other.join("deployments.json"), text).unwrap();
    gc(&project, "");
    assert!(root.exists());
    fs::remove_file(other.join("deployments.json")).unwrap();
    gc(&project, "");
    assert!(!root.exists());
    // A link there is followed by nobody.
    symlink("/", project.state().join("elsewhere")).unwrap();
    gc(&project, "");
}
