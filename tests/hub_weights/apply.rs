//! Weights in the volume: fetched once, seen, mended.

use std::fs;

use super::support::double::Content;
use super::support::hub::COMMIT;
use super::{Hubbed, LARGE, NEXT, SERVER, WEIGHTS};

const NOTES: u64 = super::NOTES.len() as u64;
const CONFIG: u64 = super::CONFIG.len() as u64;

/// All of the model.
const SIZE: u64 = (LARGE + SERVER.len()) as u64 + NOTES + CONFIG;

#[test]
fn weights_are_fetched_once_verified_and_locked() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.place().exits(0);
    assert_eq!(hubbed.bytes(), (SIZE, 0));
    let model = fs::read(hubbed.file(COMMIT, "model.safetensors")).unwrap();
    assert_eq!(model, Content::noise(1, LARGE).bytes());
    assert_eq!(fs::read_to_string(hubbed.file(COMMIT, "server.py")).unwrap(), SERVER);
    assert_eq!(hubbed.blobs().len(), 4);
    // What was asked for is locked, so that it is not asked for again.
    let lock = hubbed.project.read("goatbuild.lock");
    assert!(lock.contains(&format!("[hub.\"acme/tiny@{COMMIT}\".files]")), "{lock}");
    assert!(lock.contains("hidden_size = 64"), "{lock}");
    hubbed.hub.forget_requests();
    let plan = hubbed.project.plan("--offline");
    assert!(plan.ids("fresh").contains(&WEIGHTS.to_owned()), "{}", plan.0);
    hubbed.run(&format!("apply --offline --only {WEIGHTS}")).exits(0).says(&["0 steps ran"]);
    // A clone with an empty cache, and the volume: receipts say what exists.
    for database in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(hubbed.project.root().join("cache").join(database));
    }
    let plan = hubbed.project.plan("--offline");
    assert!(plan.ids("fresh").contains(&WEIGHTS.to_owned()), "{}", plan.0);
    assert_eq!(hubbed.hub.requests().len(), 0);
}

#[test]
fn a_lock_that_must_stay_is_not_written_and_the_weights_are_fetched() {
    let Some(hubbed) = Hubbed::new() else { return };
    let lock = hubbed.project.read("goatbuild.lock");
    hubbed.run(&format!("apply --locked --only {WEIGHTS}")).exits(0);
    assert_eq!(hubbed.project.read("goatbuild.lock"), lock);
    assert_eq!(hubbed.blobs().len(), 4);
}

#[test]
fn only_what_the_patterns_leave_is_fetched() {
    let Some(hubbed) = Hubbed::new() else { return };
    let source = format!("source = \"hf:acme/tiny\"\nrevision = \"{COMMIT}\"\n");
    hubbed.model(&format!("{source}ignore = [\"original/*\", \"*.safetensors\"]\n"));
    hubbed.place().exits(0);
    assert_eq!(hubbed.bytes(), (SERVER.len() as u64 + CONFIG, 0));
    assert!(hubbed.file(COMMIT, "config.json").exists());
    assert!(!hubbed.file(COMMIT, "original").exists());
    assert_eq!(hubbed.hub.sent("cdn/"), 0);
    // Other patterns ask for other files, of a list that is known.
    hubbed.hub.forget_requests();
    hubbed.model(&format!("{source}allow = [\"*.py\", \"original/\"]\n"));
    let plan = hubbed.project.plan("");
    assert_eq!(plan.why(WEIGHTS), ["changed model.allow", "changed model.ignore"]);
    hubbed.place().exits(0);
    assert_eq!(hubbed.bytes(), (NOTES, SERVER.len() as u64));
    assert!(hubbed.hub.requests().iter().all(|request| !request.path.contains("/api/")));
    hubbed.model(&format!("{source}allow = [\"*.gguf\"]\n"));
    let says = ["leave no file of acme/tiny", "it has config.json, model.safetensors"];
    hubbed.run("plan").exits(65).says(&says);
}

#[test]
fn a_missing_or_cut_file_is_drift_and_only_it_is_fetched() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.place().exits(0);
    let blob = fs::canonicalize(hubbed.file(COMMIT, "original/notes.txt")).unwrap();
    fs::remove_file(&blob).unwrap();
    assert_eq!(hubbed.project.plan("").why(WEIGHTS), ["drift original/notes.txt"]);
    hubbed.hub.forget_requests();
    hubbed.place().exits(0);
    assert_eq!(hubbed.bytes(), (NOTES, SIZE - NOTES));
    let paths: Vec<String> = hubbed.hub.requests().into_iter().map(|it| it.path).collect();
    assert_eq!(paths, [format!("hub/acme/tiny/resolve/{COMMIT}/original/notes.txt")]);

    fs::write(&blob, "cut").unwrap();
    assert_eq!(hubbed.project.plan("").why(WEIGHTS), ["drift original/notes.txt"]);
    hubbed.place().exits(0);
    assert_eq!(hubbed.bytes(), (NOTES, SIZE - NOTES));
    assert_eq!(fs::read_to_string(&blob).unwrap(), super::NOTES);
}

#[test]
fn a_flipped_byte_is_found_and_only_its_file_is_fetched_again() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.place().exits(0);
    let blob = fs::canonicalize(hubbed.file(COMMIT, "original/notes.txt")).unwrap();
    let flip = || {
        let mut bytes = fs::read(&blob).unwrap();
        bytes[3] ^= 1;
        fs::write(&blob, bytes).unwrap();
    };
    let written =
        |at| fs::File::options().write(true).open(&blob).unwrap().set_modified(at).unwrap();
    // Somebody has written to it: a plan sees that, and reads nothing.
    flip();
    let plan = hubbed.run("plan").exits(0).stdout;
    assert!(plan.contains("drift original/notes.txt: as checked → written to since"), "{plan}");
    hubbed.hub.forget_requests();
    hubbed
        .place()
        .exits(0)
        .says(&["original/notes.txt in the volume is damaged: fetching it again"]);
    assert_eq!(hubbed.bytes(), (NOTES, SIZE - NOTES));
    assert_eq!(hubbed.hub.requests().len(), 1);
    // A disk has changed it, and its times are as they were.
    let before = fs::metadata(&blob).unwrap().modified().unwrap();
    flip();
    written(before);
    assert_eq!(hubbed.project.plan("").step(WEIGHTS)["action"], "fresh");
    let checked = hubbed.run("check --weights").exits(1).stdout;
    let says = "acme/tiny@01234567: 4 files, 5.2 MB; original/notes.txt damaged, and taken away";
    assert!(checked.contains(says), "{checked}");
    assert_eq!(hubbed.project.plan("").why(WEIGHTS), ["drift original/notes.txt"]);
    hubbed.place().exits(0);
    assert_eq!(hubbed.bytes(), (NOTES, SIZE - NOTES));
    let checked = hubbed.run("check --weights").exits(0).stdout;
    assert!(checked.contains("acme/tiny@01234567: 4 files"), "{checked}");
    // Nothing but its times has changed: it is read again, and not fetched.
    written(before - std::time::Duration::from_secs(1));
    assert_eq!(hubbed.project.plan("").why(WEIGHTS), ["drift original/notes.txt"]);
    hubbed.place().exits(0);
    assert_eq!(hubbed.bytes(), (0, SIZE));
    assert_eq!(hubbed.project.plan("").step(WEIGHTS)["action"], "fresh");
}

#[test]
fn a_volume_that_is_gone_is_drift_and_filled_again() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.place().exits(0);
    fs::remove_dir_all(hubbed.volume()).unwrap();
    assert_eq!(hubbed.project.plan("").why(WEIGHTS), ["drift weights"]);
    hubbed.place().exits(0);
    assert_eq!(hubbed.bytes(), (SIZE, 0));
}

#[test]
fn another_commit_stands_beside_the_old_one_and_shares_what_is_the_same() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.revision(Some("main"));
    hubbed.place().exits(0);
    let reference = hubbed.volume().join("hub/models--acme--tiny/refs/main");
    assert_eq!(fs::read_to_string(&reference).unwrap(), COMMIT);
    hubbed.hub.advance("acme/tiny", NEXT);
    let config = hubbed.hub.small("acme/tiny", "config.json", "{\"hidden_size\": 65}");
    hubbed.run("lock --upgrade acme/tiny").exits(0);
    let plan = hubbed.project.plan("");
    assert_eq!(plan.why(WEIGHTS), ["changed model.revision"]);
    hubbed.place().exits(0);
    assert_eq!(hubbed.bytes(), (config.size, SIZE - CONFIG));
    assert_eq!(fs::read_to_string(&reference).unwrap(), NEXT);
    for commit in [COMMIT, NEXT] {
        assert!(hubbed.file(commit, "model.safetensors").exists());
    }
    // And back: all of it is there.
    hubbed.revision(Some(COMMIT));
    hubbed.place().exits(0);
    assert_eq!(fs::read_to_string(&reference).unwrap(), NEXT, "main is where it was");
    hubbed.run(&format!("apply --only {WEIGHTS}")).exits(0).says(&["0 steps ran"]);
}

#[test]
fn what_the_user_s_own_cache_has_is_not_fetched() {
    let Some(hubbed) = Hubbed::new() else { return };
    let content = Content::noise(1, LARGE);
    let blobs = hubbed.home.path().join("hub/models--acme--tiny/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(content.sha256()), content.bytes()).unwrap();
    hubbed.place().exits(0);
    assert_eq!(hubbed.bytes(), (SIZE - content.size, content.size));
    assert_eq!(hubbed.hub.sent("cdn/"), 0);
    assert_eq!(fs::read(hubbed.file(COMMIT, "model.safetensors")).unwrap(), content.bytes());
}

/// As Hugging Face's client leaves a cache where symbolic links can't be made (`_create_symlink` in its
/// `file_download.py`): no blobs, and the files in the snapshot itself.
#[test]
fn a_cache_without_links_is_as_good() {
    let Some(hubbed) = Hubbed::new() else { return };
    let content = Content::noise(1, LARGE);
    let ours = hubbed.home.path().join("hub/models--acme--tiny/snapshots");
    let snapshot = ours.join("1".repeat(40));
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(snapshot.join("model.safetensors"), content.bytes()).unwrap();
    hubbed.place().exits(0);
    assert_eq!(hubbed.bytes(), (SIZE - content.size, content.size));
    assert_eq!(fs::read(hubbed.file(COMMIT, "model.safetensors")).unwrap(), content.bytes());
}

#[test]
fn the_hub_s_own_variable_keeps_it_from_being_asked() {
    let Some(mut hubbed) = Hubbed::new() else { return };
    hubbed.project.variable("HF_HUB_OFFLINE", "1");
    hubbed.project.run("lock").exits(0).says(&["its files are not listed: HF_HUB_OFFLINE"]);
    hubbed.place().exits(1).says(&["HF_HUB_OFFLINE forbids", "without HF_HUB_OFFLINE"]);
    assert_eq!(hubbed.hub.sent(""), 0);
    hubbed.project.variable("HF_HUB_OFFLINE", "0");
    hubbed.place().exits(0);
}

#[test]
fn two_applies_at_once_fetch_once() {
    let Some(hubbed) = Hubbed::new() else { return };
    let start = || {
        let mut command = hubbed.project.command(&format!("apply --only {WEIGHTS}"));
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command.spawn().unwrap()
    };
    for mut apply in [start(), start()] {
        assert!(apply.wait().unwrap().success());
    }
    assert_eq!(hubbed.hub.sent("cdn/"), LARGE as u64);
}
