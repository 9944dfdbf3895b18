//! What an image's name stands for: what its file and the lock ask for now, whatever was built last.

#![cfg(target_os = "linux")]

use crate::support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::project::Project;
use support::registry::skopeo;

const IMAGE: &str = "images/tiny.toml";
const EDIT: &str = "env = { MOVED = \"on\" }\n";

/// What the layout calls `tiny`.
fn tagged(project: &Project) -> Option<String> {
    let index: Value = serde_json::from_str(&project.read("cache/oci/index.json")).expect("JSON");
    let mut entries = index["manifests"].as_array().expect("a list").iter();
    let tiny = |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == "tiny";
    Some(entries.find(tiny)?["digest"].as_str().expect("a digest").to_owned())
}

fn inspected(project: &Project) -> String {
    let ran = project.run("image inspect tiny --json").exits(0);
    let image: Value = serde_json::from_str(&ran.stdout).expect("one JSON object");
    image["digest"].as_str().expect("a digest").to_owned()
}

/// A project whose image was edited, built, and edited back, with the digests of both images.
fn taken_back() -> Option<(Project, String, String)> {
    let project = Project::new()?;
    let first = tagged(&project).expect("it is built");
    let text = project.read(IMAGE);
    project.append(IMAGE, EDIT);
    assert_eq!(project.apply("--only image:tiny").ran(), ["image:tiny"]);
    let second = tagged(&project).expect("it is built");
    assert_ne!(first, second);
    project.write(IMAGE, &text);
    Some((project, first, second))
}

#[test]
fn an_edit_that_is_taken_back_takes_its_image_along() {
    let Some((project, first, second)) = taken_back() else { return };
    // Nothing was applied since: the tag is the edit's, and nobody takes it.
    assert_eq!(inspected(&project), first);
    let refused = project.run("image verify tiny").exits(1);
    refused.says(&[&first, &second, "`goatbuild apply --only image:tiny`"]);
    project.run("image export tiny out.tar").exits(0);
    let archive = fs::read(project.root().join("out.tar")).expect("an archive");
    let holds = |digest: &str| {
        let hex = digest.trim_start_matches("sha256:").as_bytes();
        archive.windows(hex.len()).any(|window| window == hex)
    };
    assert!(holds(&first) && !holds(&second));

    assert_eq!(project.apply("--only image:tiny").ran(), [""; 0]);
    assert_eq!(tagged(&project), Some(first.clone()));
    assert_eq!(inspected(&project), first);
    project.run("image verify tiny").exits(0).says(&[&first, "as locked"]);
    if let Some(seen) = skopeo(&["inspect", &at(&project.root())]) {
        let seen: Value = serde_json::from_str(&seen).expect("JSON");
        assert_eq!(seen["Digest"], first);
    }
}

fn at(project: &Path) -> String {
    format!("oci:{}:tiny", project.join("cache/oci").display())
}

#[test]
fn garbage_collection_leaves_the_layout_a_tag_for_every_image_that_is_wanted() {
    let Some((project, first, second)) = taken_back() else { return };
    project.run("gc --keep-runs 0").exits(0);
    assert_eq!(tagged(&project), Some(first.clone()));
    assert_eq!(inspected(&project), first);
    let manifest = format!("cache/oci/blobs/{}", second.replace(':', "/"));
    assert!(!project.root().join(manifest).exists());
    // An index that lost its tags is mended by the next apply.
    let empty = r#"{"schemaVersion":2,"manifests":[]}"#;
    project.write("cache/oci/index.json", empty);
    assert_eq!(inspected(&project), first);
    assert_eq!(project.apply("--only image:tiny").ran(), [""; 0]);
    assert_eq!(tagged(&project), Some(first));
}

#[test]
fn digests_of_other_kinds_that_others_put_into_the_layout_are_in_nobodys_way() {
    let Some(project) = Project::new() else { return };
    let (index, first) = ("cache/oci/index.json", tagged(&project).expect("it is built"));
    let other = format!("sha512:{}", "ab".repeat(64));
    let text = project.read(index);
    let mut entries: Value = serde_json::from_str(&text).expect("JSON");
    let mut theirs = entries["manifests"][0].clone();
    theirs["digest"] = Value::from(other.as_str());
    theirs["annotations"]["org.opencontainers.image.ref.name"] = Value::from("theirs");
    entries["manifests"].as_array_mut().expect("a list").push(theirs);
    project.write(index, &entries.to_string());
    assert_eq!(project.apply("--only image:tiny").ran(), [""; 0]);
    project.run("image verify tiny").exits(0).says(&[&first, "as locked"]);
    project.run("gc").exits(0);
    assert!(!project.read(index).contains(&other));
    // By the image's own name it is another image, until the next apply.
    project.write(index, &text.replace(&first, &other));
    let refused = project.run("image verify tiny").exits(1);
    refused.says(&[&other, &first, "`goatbuild apply --only image:tiny`"]);
    assert_eq!(project.apply("--only image:tiny").ran(), [""; 0]);
    assert_eq!(tagged(&project), Some(first));
}

#[test]
fn an_image_that_was_edited_and_not_built_is_not_handed_on() {
    let Some(project) = Project::new() else { return };
    project.append(IMAGE, EDIT);
    let words = ["image tiny is not built as it is described now", "apply --only image:tiny"];
    project.run("image inspect tiny").exits(1).says(&words);
    project.run("image export tiny out.tar").exits(1).says(&words);
    project.append(IMAGE, "requirements = 1");
    // What its file says is a mistake: the lock tells what was wanted last.
    project.run("image inspect tiny").exits(0).says(&["going on without"]);
}

#[test]
fn an_image_that_modal_builds_says_so_and_where_goatbuild_does() {
    let Some(project) = Project::new() else { return };
    let modal = "\n[target.modal]\nenvironment = \"goat\"\nbuilder = \"modal\"\n";
    project.append("goatbuild.toml", modal);
    project.edit("specs/tiny.toml", "image = \"tiny\"", "image = \"tiny\"\ntarget = \"modal\"");
    let refused = project.run("image inspect tiny").exits(1);
    refused
        .says(&["image tiny is built by Modal", "write `builder = \"oci\"` in images/tiny.toml"]);
    project.append("goatbuild.toml", "[environment.here.target.modal]\nbuilder = \"oci\"\n");
    project.append("goatbuild.toml", "registry = \"localhost:1/goat\"\n");
    let refused = project.run("image inspect tiny").exits(1);
    refused.says(&["built by Modal", "`goatbuild --env here apply --only image:tiny`"]);
    fs::remove_dir_all(project.root().join("cache/oci")).expect("removed");
    let refused = project.run("image inspect tiny --env here").exits(1);
    refused.says(&["image tiny is not built", "`goatbuild --env here apply --only image:tiny`"]);
}
