//! Bases, from what the image's file says to a server that answers.

use super::{World, environment, image_file, inspect, locked};

#[test]
fn a_tag_is_locked_built_on_served_and_moves_only_when_asked_to() {
    let Some(world) = World::new(false) else { return };
    let World { project, bases, registry, .. } = &world;
    registry.take(&bases.name("debian"), "debian:stable", &[]);
    project.write("images/tiny.toml", &image_file(&world.reference("debian:stable"), ""));

    let plan = project.plan("");
    let lock = locked(project);
    let base = &lock["image"]["tiny"]["base"];
    let digest = base["digest"].as_str().expect("a digest").to_owned();
    assert_eq!(base["reference"].as_str(), Some(&*world.reference("debian:stable")));
    assert_eq!(base["python"].as_str(), Some("/usr/bin/python3.11"));
    assert_eq!(base["layers"].as_array().map(Vec::len), Some(1));
    assert_eq!(lock["image"]["tiny"]["runtime"]["glibc"].as_str(), Some("2.36"));
    assert_eq!(plan.step("base:tiny")["action"], "run");
    // Not because of the base, whose digest is known before it is pulled: of pip's layer.
    assert_eq!(plan.step("image:tiny")["action"], "pending");

    let ran = project.apply("--only image:tiny").ran();
    assert!(ran.contains(&"base:tiny".to_owned()), "{ran:?}");
    let inspected = inspect(project);
    let env = environment(&inspected);
    assert_eq!(env["FROM"], "base");
    assert!(env["PATH"].starts_with("/opt/goatbuild/bin:"), "{env:?}");
    assert!(project.apply("--only image:tiny").ran().is_empty());
    project.run("image verify tiny").exits(0).says(&["as locked"]);

    // The tag moves behind our back: nothing changes, until somebody asks.
    let other = bases.layer(&[("etc/marker", "new")]);
    let debian = world.debian.clone();
    bases.image("newer", goatbuild::platform::Architecture::Amd64, vec![debian, other], &[]);
    registry.take(&bases.name("newer"), "debian:stable", &[]);
    assert_eq!(project.plan("").step("image:tiny")["action"], "fresh");
    project.run("lock").exits(0);
    assert_eq!(locked(project)["image"]["tiny"]["base"]["digest"].as_str(), Some(&*digest));
    let said = project.run("lock --upgrade tiny").exits(0);
    let said = said.says(&["base", "→"]);
    assert!(said.stderr.contains(&digest[..19]), "{}", said.stderr);
    assert_ne!(locked(project)["image"]["tiny"]["base"]["digest"].as_str(), Some(&*digest));
    let plan = project.plan("");
    assert_eq!(plan.why("base:tiny"), ["changed digest"]);

    project.apply("").ran();
    assert!(project.ask("tiny").is_some(), "the server answers");
}
