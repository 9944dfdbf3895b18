//! The table's row of bases that are pulled, here from a layout on disk.

use goatbuild::oci::LayerRef;
use goatbuild::platform::Architecture;

use super::support::peers;
use super::support::project::Project;
use super::support::registry::{Bases, debian, forget, image_file};
use super::{Expected, expect, expect_nothing};

/// A project that was applied on a base of a layout, `debian`, which `same` names as well.
fn applied() -> Option<(Project, Bases, LayerRef)> {
    let project = Project::new()?;
    let bases = Bases::new(&peers::directory());
    let layer = debian(&project, &bases);
    for tag in ["debian", "same"] {
        bases.image(tag, Architecture::Amd64, vec![layer.clone()], &[]);
    }
    forget(&project);
    std::os::unix::fs::symlink(bases.path(), project.root().join("bases")).expect("a link");
    base(&project, "debian");
    project.apply("").ran();
    Some((project, bases, layer))
}

fn base(project: &Project, tag: &str) {
    project.write("images/tiny.toml", &image_file(&format!("oci:bases:{tag}"), ""));
}

/// The base's digest is known before its layers are, and so is the image's key; not its digest.
const REBUILT: Expected<'static> = Expected {
    run: &["base:tiny", "image:tiny"],
    pending: &["deploy:tiny", "smoke:tiny"],
    ran: &["base:tiny", "image:tiny", "deploy:tiny", "smoke:tiny"],
};

#[test]
fn another_base_digest_makes_base_and_image_but_no_wheels() {
    let Some((project, bases, layer)) = applied() else { return };
    let marker = bases.layer(&[("etc/marker", "new")]);
    bases.image("newer", Architecture::Amd64, vec![layer, marker], &[]);
    // Another word for the same digest is no edit.
    base(&project, "same");
    expect_nothing(&project);
    // Nor is the index that has it, by its tag, by its digest, and when nobody has to look there.
    let index = bases.index("both", &["debian"]);
    base(&project, "both");
    expect_nothing(&project);
    project.write("images/tiny.toml", &image_file(&format!("oci:bases@{index}"), ""));
    expect_nothing(&project);
    let stated = "python = \"3.11\"\nglibc = \"2.36\"\n";
    project.write("images/tiny.toml", &image_file(&format!("oci:bases@{index}"), stated));
    assert_eq!(project.plan("").step("base:tiny")["action"], "fresh");
    base(&project, "newer");
    let plan = project.plan("");
    assert_eq!(plan.why("base:tiny"), ["changed digest"]);
    assert_eq!(plan.why("image:tiny"), ["changed layer.base"]);
    expect(&project, &REBUILT);
    // There and back again, nothing is built.
    base(&project, "debian");
    let ran = &["deploy:tiny", "smoke:tiny"];
    expect(&project, &Expected { run: &["deploy:tiny"], pending: &["smoke:tiny"], ran });
}

#[test]
fn a_tag_that_moved_counts_once_it_is_locked_again() {
    let Some((project, bases, layer)) = applied() else { return };
    let marker = bases.layer(&[("etc/marker", "moved")]);
    bases.image("debian", Architecture::Amd64, vec![layer, marker], &[]);
    expect_nothing(&project);
    project.run("lock --upgrade tiny").exits(0);
    expect(&project, &REBUILT);
}
