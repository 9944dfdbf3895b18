//! Bases from an OCI layout on disk.

use std::fs;
use std::path::PathBuf;

use goatbuild::platform::Architecture;

use super::support::peers;
use super::support::project::Project;
use super::support::registry::Bases;
use super::{debian, environment, forget, image_file, inspect, locked};

struct Local {
    project: Project,
    bases: Bases,
    /// Of the image that `debian` names.
    digest: String,
}

impl Local {
    /// A project with a layout in it, called `bases`; `None`, loudly, without the fixture's image.
    fn new() -> Option<Self> {
        let project = Project::new()?;
        let bases = Bases::new(&peers::directory());
        let layer = debian(&project, &bases);
        let env = ["FROM=layout"];
        let digest = bases.image("debian", Architecture::Amd64, vec![layer.clone()], &env);
        let marker = bases.layer(&[("etc/marker", "new")]);
        bases.image("newer", Architecture::Amd64, vec![layer, marker], &env);
        forget(&project);
        std::os::unix::fs::symlink(bases.path(), project.root().join("bases")).expect("a link");
        Some(Self { project, bases, digest })
    }

    fn base(&self, reference: &str) {
        self.project.write("images/tiny.toml", &image_file(&format!("oci:{reference}"), ""));
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.bases.path().join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }
}

#[test]
fn an_image_is_built_on_a_layout_and_again_on_another_one_in_it() {
    let Some(local) = Local::new() else { return };
    let project = &local.project;
    local.base("bases:debian");
    let plan = project.plan("--offline");
    assert_eq!(plan.why("base:tiny"), ["first"]);
    let lock = locked(project);
    let base = &lock["image"]["tiny"]["base"];
    assert_eq!(base["digest"].as_str(), Some(&*local.digest));
    assert_eq!(base["reference"].as_str(), Some("oci:bases:debian"));
    let ran = project.apply("--offline --only image:tiny").ran();
    assert!(ran.contains(&"base:tiny".to_owned()), "{ran:?}");
    project.run("image verify tiny").exits(0).says(&["as locked"]);
    let first = inspect(project);
    assert_eq!(environment(&first)["FROM"], "layout");
    assert!(project.apply("--only image:tiny").ran().is_empty());

    local.base("bases:newer");
    let plan = project.plan("");
    assert_eq!(plan.why("base:tiny"), ["changed digest"]);
    assert_eq!(plan.step("wheels:tiny/pip")["action"], "fresh");
    // The base's digest is known before it is there.
    assert_eq!(plan.step("image:tiny")["action"], "run");
    assert_eq!(plan.why("image:tiny"), ["changed layer.base"]);
    let reason = plan.step("base:tiny")["reasons"][0].clone();
    assert_eq!(reason["old"].as_str(), Some(&*local.digest), "{reason}");
    assert_eq!(project.apply("--only image:tiny").ran(), ["base:tiny", "image:tiny"]);
    project.run("image verify tiny").exits(0).says(&["as locked"]);
    let second = inspect(project);
    assert_ne!(first["digest"], second["digest"]);
    assert_eq!(second["layers"].as_array().map(Vec::len), Some(4));

    // A tag that moves is followed when somebody asks, as in a registry.
    local.bases.image("newer", Architecture::Amd64, vec![debian_layer(&local)], &["A=moved"]);
    assert_eq!(project.plan("").step("base:tiny")["action"], "fresh");
    project.run("lock --upgrade tiny").exits(0).says(&["base oci:bases:newer is", "→"]);
    assert_eq!(project.plan("").why("base:tiny"), ["changed digest"]);
}

/// The layer that all of them share.
fn debian_layer(local: &Local) -> goatbuild::oci::LayerRef {
    let manifest = fs::read(local.blob(&local.digest)).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let config = manifest["config"]["digest"].as_str().expect("a digest");
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(local.blob(config)).expect("a file")).expect("JSON");
    let digest =
        |value: &serde_json::Value| value.as_str().expect("a digest").parse().expect("one");
    goatbuild::oci::LayerRef {
        digest: digest(&manifest["layers"][0]["digest"]),
        size: manifest["layers"][0]["size"].as_u64().expect("a size"),
        diff_id: digest(&config["rootfs"]["diff_ids"][0]),
        compression: goatbuild::oci::Compression::Gzip,
        created_by: "debian".to_owned(),
    }
}

#[test]
fn what_is_missing_or_damaged_in_a_layout_is_named() {
    let Some(local) = Local::new() else { return };
    let project = &local.project;
    let refused = |reference: &str, words: &[&str]| {
        local.base(reference);
        project.run("plan").exits(1).says(words);
    };
    refused("elsewhere:debian", &["goatbuild::registry::no_layout", "elsewhere", "skopeo copy"]);
    refused(
        "bases:debain",
        &["goatbuild::registry::no_such_image", "image `debain`", "there are: debian, newer"],
    );
    refused("bases", &["goatbuild::registry::no_such_image", "there are: debian, newer"]);
    let none = format!("sha256:{}", "0".repeat(64));
    // What is pinned is looked for when it is needed.
    local.base(&format!("bases@{none}"));
    let ran = project.run("apply --only base:tiny").exits(1);
    ran.says(&["goatbuild::registry::incomplete", &none, "base:tiny failed"]);

    // A layer that is damaged, and one that is gone.
    let layer = debian_layer(&local).digest.to_string();
    let there = local.blob(&layer);
    let mut bytes = fs::read(&there).expect("a layer");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // Not in place: others share the file.
    fs::remove_file(&there).expect("removed");
    fs::write(&there, &bytes).expect("written");
    refused("bases:debian", &["goatbuild::registry::digest", &layer, "nothing was kept"]);
    fs::remove_file(&there).expect("removed");
    refused("bases:debian", &["goatbuild::registry::incomplete", &layer, "copy the image there"]);
    let ours = project.root().join("cache/oci/blobs/sha256");
    assert!(!ours.join(layer.trim_start_matches("sha256:")).exists());
    let names = fs::read_dir(ours).expect("a directory").flatten().map(|entry| entry.file_name());
    let names: Vec<_> = names.collect();
    assert!(names.iter().all(|name| name.len() == 64), "{names:?}");
}
