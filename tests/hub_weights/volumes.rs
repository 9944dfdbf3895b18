//! The same weights in several places: each has its own, and what is here is not fetched again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::support::hub::COMMIT;
use super::{Hubbed, LARGE, SPEC, WEIGHTS};

const STAGING: &str = "
[environment.staging.volumes]
model-cache = { name = \"staging-cache\", mount = \"/root/.cache/huggingface\" }
";

fn staging(hubbed: &Hubbed) -> PathBuf {
    hubbed.project.state().join("table-4c19d2/staging/volumes/staging-cache")
}

/// `fresh` or `run`, as an environment's plan has it.
fn weights(hubbed: &Hubbed, arguments: &str) -> String {
    let plan = hubbed.project.plan(&format!("--offline {arguments}"));
    plan.step(WEIGHTS)["action"].as_str().unwrap().to_owned()
}

#[test]
fn each_volume_has_its_own_weights_and_takes_what_another_one_has() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.place().exits(0);
    let lock = hubbed.project.read("goatbuild.lock");
    hubbed.project.append("goatbuild.toml", STAGING);
    assert_eq!(weights(&hubbed, ""), "fresh");
    assert_eq!(weights(&hubbed, "--env staging"), "run", "its volume is empty");
    assert_eq!(hubbed.project.plan("--env staging").why(WEIGHTS), ["first"]);

    // One lock answers for both, and nothing is fetched twice.
    hubbed.hub.forget_requests();
    let place = format!("apply --only {WEIGHTS}");
    hubbed.run(&format!("{place} --env staging")).exits(0).says(&["1 step ran"]);
    assert_eq!(hubbed.hub.requests().len(), 0);
    assert_eq!(hubbed.project.read("goatbuild.lock"), lock);
    let (ours, theirs) = (hubbed.volume(), staging(&hubbed));
    let file = format!("hub/models--acme--tiny/snapshots/{COMMIT}/model.safetensors");
    let bytes = fs::read(theirs.join(&file)).unwrap();
    assert!(bytes.len() == LARGE && bytes == fs::read(ours.join(&file)).unwrap());
    for arguments in ["", "--env staging"] {
        assert_eq!(weights(&hubbed, arguments), "fresh");
        hubbed.run(&format!("{place} {arguments}")).exits(0).says(&["0 steps ran"]);
    }

    // Each is judged by what is in it.
    fs::remove_dir_all(&ours).unwrap();
    assert_eq!(weights(&hubbed, ""), "run");
    assert_eq!(weights(&hubbed, "--env staging"), "fresh");
    hubbed.place().exits(0);
    assert_eq!(hubbed.hub.requests().len(), 0, "taken back from where it was taken to");
    assert_eq!(fs::read(ours.join(&file)).unwrap(), bytes);
}

#[test]
fn what_is_damaged_in_another_volume_or_in_the_users_cache_is_fetched_and_not_taken() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.project.append("goatbuild.toml", STAGING);
    hubbed.place().exits(0);
    let blob = fs::canonicalize(hubbed.file(COMMIT, "model.safetensors")).unwrap();
    let right = fs::read(&blob).unwrap();
    let mut wrong = right.clone();
    wrong[LARGE / 2] ^= 1;
    fs::write(&blob, &wrong).unwrap();
    // The user's own has it too, and is the one that is right.
    let own = hubbed.home.path().join("hub/models--acme--tiny/blobs");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join(blob.file_name().unwrap()), &wrong).unwrap();
    let place = format!("apply --only {WEIGHTS} --env staging");
    let sent = hubbed.hub.sent("cdn/");
    hubbed.run(&place).exits(0);
    assert_eq!(hubbed.hub.sent("cdn/") - sent, LARGE as u64);
    let staging = staging(&hubbed).join("hub/models--acme--tiny");
    let there = staging.join("blobs").join(blob.file_name().unwrap());
    assert_eq!(fs::read(&there).unwrap(), right);

    // With a right one in the user's own cache nothing comes from the network.
    fs::remove_dir_all(&staging).unwrap();
    fs::write(own.join(blob.file_name().unwrap()), &right).unwrap();
    let sent = hubbed.hub.sent("cdn/");
    hubbed.run(&place).exits(0);
    assert_eq!(hubbed.hub.sent("cdn/"), sent);
    assert_eq!(fs::read(&there).unwrap(), right);
    assert_ne!(fs::metadata(&there).unwrap().ino(), fs::metadata(&blob).unwrap().ino());
}

#[test]
fn two_targets_have_a_step_each_for_the_same_weights() {
    let Some(hubbed) = Hubbed::new() else { return };
    let far = hubbed.project.read(SPEC).replace("image =", "target = \"modal\"\nimage =");
    hubbed.project.write("specs/far.toml", &far);
    hubbed.project.append("goatbuild.toml", "\n[target.modal]\nworkspace = \"w\"\n");
    let plan = hubbed.project.plan("--offline");
    let step = |target: &str| plan.step(&format!("{WEIGHTS}@{target}")).clone();
    let (here, far) = (step("local"), step("modal"));
    assert!(here["key"].is_string() && here["key"] != far["key"], "{here} {far}");
    assert_eq!((&here["models"][0], &far["models"][0]), (&"tiny".into(), &"far".into()));
}
