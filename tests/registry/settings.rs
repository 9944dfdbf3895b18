//! What a base's configuration sets, written by umoci, and what becomes of it in images over it; and bases that
//! aren't what they are called.

use std::fs;

use goatbuild::oci::{Compression, LayerRef};
use goatbuild::platform::Architecture;
use serde_json::Value;

use super::support::debian::DebianRoot;
use super::support::peers;
use super::support::project::{Project, ran};
use super::support::registry::Bases;
use super::{debian, environment, forget, image_file, inspect, locked};

/// A project with bases beside it, one of them Debian's with Python.
fn local() -> Option<(Project, Bases, LayerRef)> {
    let project = Project::new()?;
    let bases = Bases::new(&peers::directory());
    let layer = debian(&project, &bases);
    bases.image("debian", Architecture::Amd64, vec![layer.clone()], &["PATH=/usr/bin:/bin"]);
    forget(&project);
    std::os::unix::fs::symlink(bases.path(), project.root().join("bases")).expect("a link");
    Some((project, bases, layer))
}

/// Tags `debian` as `set`, with all that a Dockerfile can set.
fn set(bases: &Bases) -> Option<()> {
    let umoci = DebianRoot::of("umoci")?;
    let mut command = umoci.command("usr/bin/umoci");
    command.args(["config", "--no-history", "--image", "oci:debian", "--tag", "set"]);
    for (field, value) in [
        ("user", "1000:1000"),
        ("workingdir", "/app"),
        ("stopsignal", "SIGQUIT"),
        ("exposedports", "8000/tcp"),
        ("exposedports", "53/udp"),
        ("label", "org.example.a=b c"),
        ("volume", "/data"),
        ("entrypoint", "/entry"),
        ("env", "PATH=/usr/bin:/bin"),
    ] {
        command.args([&format!("--config.{field}"), value]);
    }
    ran(command.current_dir(bases.path().parent().expect("a directory"))).done();
    Some(())
}

fn config(project: &Project) -> Value {
    inspect(project)["config"].clone()
}

#[test]
fn an_image_keeps_what_its_base_sets_but_the_user_which_is_told() {
    let Some((project, bases, _)) = local() else { return };
    let Some(()) = set(&bases) else { return };
    project.write("images/tiny.toml", &image_file("oci:bases:set", ""));
    project.run("plan").exits(0).says(&[
        "tiny: leaves out its base's user 1000:1000, entrypoint, volumes",
        "image tiny runs as root, and its base as user 1000:1000",
    ]);
    let settings = locked(&project)["image"]["tiny"]["base"]["settings"].clone();
    assert_eq!(settings["user"].as_str(), Some("1000:1000"));
    assert_eq!(settings["exposed-ports"].as_array().map(Vec::len), Some(2));
    project.apply("--only image:tiny").ran();
    let kept = config(&project);
    assert_eq!(kept["WorkingDir"], "/app");
    assert_eq!(kept["StopSignal"], "SIGQUIT");
    assert_eq!(kept["Labels"]["org.example.a"], "b c");
    assert_eq!(kept["ExposedPorts"], serde_json::json!({ "53/udp": {}, "8000/tcp": {} }));
    for field in ["User", "Volumes", "Entrypoint"] {
        let value = &kept[field];
        assert!(value.is_null() || *value == serde_json::json!([]), "{field}: {value}");
    }
    project.run("image verify tiny").exits(0).says(&["as locked"]);
    assert!(project.apply("--only image:tiny").ran().is_empty());

    // A lock of before has no settings: it means the bytes that it meant.
    let lock = project.read("goatbuild.lock");
    let (before, rest) = lock.split_once("[image.tiny.base.settings").expect("settings");
    let after = rest.split_once("\n[").map_or(String::new(), |(settings, mut rest)| {
        // Labels have a table of their own.
        if settings.contains("exposed-ports") && rest.starts_with("image.tiny.base.settings") {
            rest = rest.split_once("\n[").map_or("", |(_, rest)| rest);
        }
        format!("[{rest}")
    });
    project.write("goatbuild.lock", &format!("{before}{after}"));
    let plan = project.run("plan").exits(0);
    plan.says(&[
        "image tiny leaves out what its base sets: working directory /app, stop signal SIGQUIT, exposed ports 53/udp, 8000/tcp",
        "goatbuild lock --upgrade tiny",
    ]);
    project.apply("--only image:tiny").ran();
    let old = config(&project);
    assert_eq!(old["WorkingDir"], "/");
    assert!(old["Labels"].is_null() && old["StopSignal"].is_null(), "{old}");
    project.run("lock --upgrade tiny").exits(0);
    project.apply("--only image:tiny").ran();
    assert_eq!(config(&project), kept);
}

/// Nobody is asked for what is pinned whole, unless somebody wants to know.
#[test]
fn a_pinned_base_is_looked_at_when_asked_to() {
    let Some((project, bases, _)) = local() else { return };
    let Some(()) = set(&bases) else { return };
    let index = fs::read(bases.path().join("index.json")).expect("an index");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    let name = "org.opencontainers.image.ref.name";
    let mut all = index["manifests"].as_array().expect("manifests").iter();
    let digest = all.find(|it| it["annotations"][name] == "set").expect("there")["digest"].clone();
    let base = format!("oci:bases@{}", digest.as_str().expect("a digest"));
    let python = "python = \"3.11\"\nglibc = \"2.36\"\n";
    project.write("images/tiny.toml", &image_file(&base, python));
    project.run("plan").exits(0);
    assert!(locked(&project)["image"]["tiny"].get("base").is_none(), "nothing was asked");
    project.run("lock --upgrade tiny").exits(0).says(&["leaves out its base's user 1000:1000"]);
    let settings = &locked(&project)["image"]["tiny"]["base"]["settings"];
    assert_eq!(settings["working-dir"].as_str(), Some("/app"));
}

#[test]
fn a_variables_own_name_stands_for_what_the_base_has() {
    let Some((project, bases, _)) = local() else { return };
    let Some(()) = set(&bases) else { return };
    let env = "[env]\nPATH = \"/x:$PATH\"\nLD_LIBRARY_PATH = \"${LD_LIBRARY_PATH}:/lib64\"\nA = \"$PATH\"\n";
    project.write("images/tiny.toml", &image_file("oci:bases:set", env));
    project.apply("--only image:tiny").ran();
    let env = environment(&inspect(&project));
    assert_eq!(env["PATH"], "/opt/goatbuild/bin:/x:/usr/bin:/bin");
    assert_eq!(env["LD_LIBRARY_PATH"], "/lib64");
    assert_eq!(env["A"], "$PATH");
}

#[test]
fn a_script_is_no_python_and_is_named() {
    let Some((project, bases, layer)) = local() else { return };
    let script = "#!/bin/sh\nexec /usr/bin/python3.11 \"$@\"\n";
    let wrapper = bases.layer(&[("usr/local/bin/python3", script)]);
    let hidden = bases.layer(&[("usr/bin/.wh.python3", "")]);
    bases.image("wrapped", Architecture::Amd64, vec![layer.clone(), wrapper.clone()], &[]);
    bases.image("only", Architecture::Amd64, vec![layer, wrapper, hidden], &[]);
    project.write("images/tiny.toml", &image_file("oci:bases:wrapped", ""));
    project
        .run("plan")
        .exits(0)
        .says(&["tiny: `/usr/local/bin/python3` is a script; its Python is /usr/bin/python3.11"]);
    project.write("images/tiny.toml", &image_file("oci:bases:only", ""));
    project.run("plan").exits(65).says(&[
        "goatbuild::lock::no_python",
        "the base of image tiny has no Python: `/usr/local/bin/python3` is a script",
        "python = \"3.12\"",
    ]);
}

#[test]
fn a_layer_with_the_wrong_media_type_is_taken_as_what_it_is() {
    let Some((project, bases, layer)) = local() else { return };
    let mut plain = bases.layer(&[("etc/marker", "new")]);
    plain.compression = Compression::Gzip;
    let mut zipped = layer;
    zipped.compression = Compression::None;
    bases.image("mislabelled", Architecture::Amd64, vec![zipped, plain], &[]);
    project.write("images/tiny.toml", &image_file("oci:bases:mislabelled", ""));
    let applied = project.run("apply --only image:tiny --yes").exits(0);
    applied.says(&["is called gzip, and is a plain tar", "is called a plain tar, and is gzip"]);
    // What is made has the right ones.
    let inspected = inspect(&project);
    let kinds = inspected["layers"].as_array().expect("layers").iter();
    let kinds: Vec<&str> = kinds.filter_map(|layer| layer["media_type"].as_str()).collect();
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    assert_eq!(kinds, [gzip, "application/vnd.oci.image.layer.v1.tar", gzip, gzip]);
    project.run("image verify tiny").exits(0).says(&["as locked"]);
}

#[test]
fn what_a_base_makes_impossible_is_told_by_plan() {
    let Some((project, bases, layer)) = local() else { return };
    let mut layers = vec![layer];
    layers.extend((0..125).map(|at| bases.layer(&[(&*format!("etc/{at}"), "x")])));
    bases.image("many", Architecture::Amd64, layers, &[]);
    project.write("images/tiny.toml", &image_file("oci:bases:many", ""));
    let said = ["image tiny would have", "126 of them its base's, and may have 127"];
    project.run("plan").exits(0).says(&["image:tiny can't run"]).says(&said);
    project
        .run("apply --only image:tiny --yes")
        .exits(1)
        .says(&said)
        .says(&["goatbuild::target::lacks"]);
}
