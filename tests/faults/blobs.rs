//! Blobs in `cache/` that a disk, or somebody, has changed: an apply finds them and makes them again.

use std::path::PathBuf;

use super::downloaded;
use crate::support::project::Project;

/// All blobs: a manifest, a configuration, layers.
fn blobs(project: &Project) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project.path("cache/oci/blobs/sha256")).expect("a directory");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.file_name().is_some_and(|name| name.len() == 64));
    files.sort();
    files
}

#[test]
fn damaged_blobs_are_made_again_by_the_apply_that_needs_them() {
    let Some(project) = downloaded() else { return };
    project.run("apply").exits(0);
    let whole: Vec<_> = blobs(&project)
        .into_iter()
        .map(|file| (std::fs::read(&file).expect("reads"), file))
        .collect();
    assert!(whole.len() >= 4, "{whole:?}");
    let locked = project.read("goatbuild.lock");
    for (at, (bytes, file)) in whole.iter().enumerate() {
        let mut damaged = bytes.clone();
        match at % 3 {
            0 => damaged.truncate(bytes.len() / 2),
            1 => damaged.clear(),
            _ => damaged[bytes.len() / 2] ^= 1,
        }
        // Not in place: other projects share the file.
        std::fs::remove_file(file).expect("removes");
        std::fs::write(file, &damaged).expect("writes");
        // Nothing is unpacked yet that could be served in its place.
        for root in std::fs::read_dir(project.state().join("roots")).expect("reads").flatten() {
            let _ = std::fs::remove_dir_all(root.path());
        }
        project.run("destroy tiny --yes").exits(0);
        let ran = project.run("apply").exits(0);
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        for word in ["report", "delete", "broken or hostile"] {
            assert!(!ran.stderr.contains(word), "{name}: {}", ran.stderr);
        }
        assert_eq!(&std::fs::read(file).expect("reads"), bytes, "{name}: {}", ran.stderr);
        assert_eq!(project.read("goatbuild.lock"), locked);
    }
}

#[test]
fn a_saved_plan_fails_with_what_it_met_and_the_next_apply_makes_damaged_blobs_again() {
    let Some(project) = downloaded() else { return };
    project.run("apply").exits(0);
    project.run("destroy tiny --yes").exits(0);
    project.run("plan -o ci.plan").exits(0);
    let read = |file: &PathBuf| std::fs::read(file).expect("reads");
    let layer = blobs(&project).into_iter().max_by_key(|file| read(file).len()).expect("blobs");
    let whole = read(&layer);
    // Not in place: other projects share the file.
    std::fs::remove_file(&layer).expect("removes");
    std::fs::write(&layer, &whole[..whole.len() / 2]).expect("writes");
    // Nothing is unpacked yet that could be served in its place.
    for root in std::fs::read_dir(project.state().join("roots")).expect("reads").flatten() {
        let _ = std::fs::remove_dir_all(root.path());
    }
    let told = ["goatbuild::oci::", "was damaged; `goatbuild apply` makes or fetches it again"];
    project.run("apply ci.plan").exits(1).says(&told);
    assert!(!layer.exists(), "nothing takes it for what it is called any more");
    project.run("apply").exits(0);
    assert_eq!(read(&layer), whole);
}

#[test]
fn commands_that_hand_an_image_on_make_its_damaged_blobs_again() {
    let Some(project) = downloaded() else { return };
    project.run("apply --only image:tiny").exits(0);
    let read = |file: &PathBuf| std::fs::read(file).expect("reads");
    let layer = blobs(&project).into_iter().max_by_key(|file| read(file).len()).expect("blobs");
    let whole = read(&layer);
    let archive = project.run("image export tiny whole.tar").exits(0);
    drop(archive);
    let exported = std::fs::read(project.path("whole.tar")).expect("reads");
    for command in ["image verify tiny", "image export tiny out.tar", "image export tiny -"] {
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        // Not in place: other projects share the file.
        std::fs::remove_file(&layer).expect("removes");
        std::fs::write(&layer, &damaged).expect("writes");
        let output = project.command(command).output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{command}: {said}");
        assert!(said.contains("was damaged; it is made or fetched again"), "{command}: {said}");
        assert!(read(&layer) == whole, "{command}: {said}");
        if command.ends_with('-') {
            assert!(output.stdout == exported, "{command}: nothing but the archive");
        }
    }
    assert!(std::fs::read(project.path("out.tar")).expect("reads") == exported);
}
