//! An image on its way to others.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use goatbuild::oci::{Image, Layout};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::own_image;
use super::support::debian::DebianRoot;
use super::support::engines::Engine;
use super::support::project::Project;

fn built(project: &Project) -> Image {
    let layout = Layout::open(&project.root().join("cache/oci")).expect("a layout");
    layout.tagged("tiny").expect("an image")
}

fn skopeo(skopeo: &DebianRoot, project: &Project, arguments: &[&str]) -> String {
    let mut command = skopeo.command("usr/bin/skopeo");
    command.arg("--insecure-policy").args(arguments).current_dir(project.root());
    let output = command.env("HOME", project.root()).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn an_archive_is_the_same_bytes_each_time_and_has_each_blob_once() {
    let Some(project) = Project::new() else { return };
    project
        .run("image export tiny one.tar")
        .exits(0)
        .says(&["localhost/goatbuild/table-4c19d2/tiny:", "MB in"]);
    let one = fs::read(project.root().join("one.tar")).expect("an archive");
    let other = project.command("image export tiny -").output().expect("runs");
    assert!(other.status.success());
    assert_eq!(Sha256::digest(&one), Sha256::digest(&other.stdout), "to a file and to a pipe");

    let mut archive = tar::Archive::new(&one[..]);
    let entries = archive.entries().expect("a tar").map(|entry| {
        let entry = entry.expect("an entry");
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (0, 0));
        entry.path().expect("a path").to_string_lossy().into_owned()
    });
    let names: Vec<String> = entries.collect();
    assert_eq!(names[..3], ["oci-layout", "index.json", "manifest.json"]);
    let image = built(&project);
    assert_eq!(names.len(), 3 + 2 + image.manifest.layers().len());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

#[test]
fn skopeo_reads_the_archive_in_both_of_its_forms() {
    let (Some(tool), Some(project)) = (DebianRoot::of("skopeo"), Project::new()) else { return };
    project.run("image export tiny both.tar").exits(0);
    let image = built(&project);
    let config = image.manifest.config().digest().to_string();
    for transport in ["oci-archive", "docker-archive"] {
        let from = format!("{transport}:both.tar");
        let seen: Value =
            serde_json::from_str(&skopeo(&tool, &project, &["inspect", &from])).expect("JSON");
        assert_eq!(seen["Layers"].as_array().expect("layers").len(), image.manifest.layers().len());
        // skopeo verifies every blob against its digest, and every layer against its diff_id.
        let into = format!("dir:{transport}");
        skopeo(&tool, &project, &["copy", &from, &into]);
        let manifest = fs::read(project.root().join(transport).join("manifest.json")).expect("one");
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        assert_eq!(manifest["config"]["digest"], config.as_str(), "{transport}");
    }
    let seen = skopeo(&tool, &project, &["inspect", "oci-archive:both.tar"]);
    let seen: Value = serde_json::from_str(&seen).expect("JSON");
    assert_eq!(seen["Digest"], image.digest.to_string());
}

#[test]
fn an_image_is_handed_over_once_and_again_when_its_name_was_given_to_another() {
    for engine in Engine::with_containers() {
        let Some(mut project) = Project::new() else { return };
        project.served_by(engine);
        own_image(&project, "renamed");
        let load = format!("image load tiny {}", engine.name);
        let ran = project.run(&load).exits(0);
        let name = ran.stdout.trim().to_owned();
        let id = |name: &str| engine.ask(&["image", "inspect", "--format", "{{.Id}}", name]);
        let config = built(&project).manifest.config().digest().to_string();
        assert!(config.ends_with(&id(&name)) || config == id(&name), "{config}");
        let again = project.run(&load).exits(0).stderr;
        assert!(again.contains(" has image tiny as "), "{again}");

        // Somebody else's image takes its name.
        let mine = project.root().join("empty.tar");
        tar::Builder::new(fs::File::create(&mine).expect("a file")).into_inner().expect("a tar");
        let empty = engine.ask(&["import", mine.to_str().expect("UTF-8"), "localhost/other:1"]);
        engine.ask(&["image", "tag", &empty, &name]);
        project.run(&load).exits(0).says(&["has taken image tiny as "]);
        assert!(config.ends_with(&id(&name)) || config == id(&name), "{config}");
        project.run("image load tnyi docker").exits(64).says(&["did you mean `tiny`?"]);
    }
}

#[test]
fn zstd_layers_go_to_podman_as_they_are_and_an_old_docker_says_that_it_cannot() {
    let (Some(tool), Some(mut project)) = (DebianRoot::of("skopeo"), Project::new()) else {
        return;
    };
    let copied =
        ["copy", "--dest-compress", "--dest-compress-format", "zstd", "oci:cache/oci:tiny"];
    skopeo(&tool, &project, &[&copied[..], &["oci:zstd:tiny"]].concat());
    let before = built(&project).digest.to_string();
    replace(&project.root().join("zstd"), &project.root().join("cache/oci"));
    let image = built(&project);
    // As if this were what had been built.
    project.edit("goatbuild.lock", &before, &image.digest.to_string());
    let layer = image.manifest.layers()[0].media_type().to_string();
    assert!(layer.ends_with("zstd"), "{layer}");
    for engine in Engine::with_containers() {
        project.served_by(engine);
        let loaded = project.run(&format!("image load tiny {}", engine.name));
        if engine.name == "podman" || loaded.code == 0 {
            let name = loaded.exits(0).stdout;
            engine.ask(&["image", "inspect", name.trim()]);
        } else {
            loaded.exits(1).says(&["zstd layers, which Docker reads from version 23 on"]);
        }
    }
}

/// Puts one directory in the place of another.
fn replace(from: &Path, to: &Path) {
    fs::remove_dir_all(to).expect("goes");
    fs::rename(from, to).expect("comes");
}

#[test]
fn an_image_that_is_not_built_is_named_and_an_archive_breaks_off_without_a_trace() {
    let Some(project) = Project::new() else { return };
    let blob = built(&project).manifest.layers()[0].digest().to_string();
    let blob = project.root().join("cache/oci/blobs").join(blob.replace(':', "/"));
    let bytes = fs::read(&blob).expect("a layer");
    fs::remove_file(&blob).expect("goes");
    project.run("image export tiny out.tar").exits(1).says(&["image tiny is not built"]);
    fs::write(&blob, bytes).expect("the layer");
    project.run("image export tiny no/such/directory.tar").exits(1).says(&["can't be written"]);
    let left: Vec<_> = fs::read_dir(project.root())
        .expect("a directory")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(".goatbuild") || name.contains(".tar"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn an_image_that_nothing_needs_is_removed_from_the_engine_when_asked_to_and_not_before() {
    for engine in Engine::with_containers() {
        let Some(mut project) = Project::new() else { return };
        project.served_by(engine);
        own_image(&project, "unloaded");
        project.own_roots();
        // Other tests' projects have the same engine, and are not to lose anything.
        project.edit("goatbuild.toml", "table-4c19d2", "table-unload");
        let names = || {
            let all = engine.ask(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
            let ours = |name: &&str| name.starts_with("localhost/goatbuild/table-unload/tiny:");
            all.lines().filter(ours).map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let load = format!("image load tiny {}", engine.name);
        let name = project.run(&load).exits(0).stdout.trim().to_owned();
        let gone = |arguments: &str| {
            let ran = project.run(&format!("gc --loaded --json {arguments}")).exits(0);
            let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
            let images = report["loaded"].as_array().expect("a list").clone();
            assert!(images.iter().all(|image| image["name"] == name.as_str()), "{images:?}");
            images.first().map(|image| (image["engine"].clone(), image["bytes"].as_u64()))
        };
        assert_eq!(gone("--dry-run"), None, "it is what the spec asks for");
        project.edit("images/tiny.toml", "unloaded", "moved on");
        assert_eq!(gone("--dry-run"), None, "it is what the last run made");
        let (by, bytes) = gone("--dry-run --keep-runs 0").expect("nothing needs it");
        assert!(by == engine.name && bytes.is_some_and(|bytes| bytes > 1 << 20), "{by} {bytes:?}");
        assert!(names().contains(&name));
        project.run("gc --keep-runs 0").exits(0);
        assert!(names().contains(&name), "nobody asked for that");

        // Somebody made a container of it.
        let container = engine.ask(&["container", "create", &name, "true"]);
        let ran = project.run("gc --loaded --keep-runs 0").exits(0);
        ran.says(&["keeps", &name, "a container was made of it"]);
        assert!(names().contains(&name));
        engine.ask(&["container", "rm", &container]);
        project.run("gc --loaded --keep-runs 0").exits(0).says(&[&name]);
        assert!(!names().contains(&name));
    }
}
