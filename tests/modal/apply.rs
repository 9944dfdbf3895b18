//! A model that is deployed, seen, kept and removed.

use std::fs;

use serde_json::Value;

use super::Remote;
use super::support::hub::COMMIT;
use super::support::hubbed::{SERVER, SPEC};

const ALL: [&str; 5] =
    ["deploy:tiny", "gateway:tiny", "image:tiny", "smoke:tiny", "weights:acme/tiny"];

/// What an edit ran, and what reached Modal.
fn edited(remote: &Remote) -> (Vec<String>, Vec<String>) {
    remote.modal.calls();
    let ran = remote.hubbed.project.apply("--yes").ran();
    (ran, remote.modal.changes())
}

#[test]
fn a_model_is_built_fetched_deployed_tried_and_told_to_the_gateway() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    let plan = project.plan("");
    assert_eq!(plan.ids("fresh"), [] as [&str; 0]);
    assert_eq!(
        plan.0["models"][0]["url"],
        "https://phare-goat--table-4c19d2-tiny-serve.modal.run/v1"
    );
    assert_eq!(project.apply("--yes").ran(), ALL);

    // The files are in the volume as the hub's own client puts them there, and the receipt.
    let volume = remote.modal.volume("table-4c19d2-model-cache");
    let snapshot = volume.join("hub/models--acme--tiny/snapshots").join(COMMIT);
    assert_eq!(fs::read_to_string(snapshot.join("server.py")).unwrap(), SERVER);
    let receipts = fs::read_dir(volume.join(".goatbuild")).unwrap().flatten();
    let names = receipts.map(|it| it.file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("weights-gb1-")).count(), 1);

    // The gateway leads to the address that Modal gave.
    let status: Value =
        serde_json::from_str(&project.run("status --json").exits(0).stdout).unwrap();
    let url = status["models"][0]["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("http://127.0.0.1:"), "{status}");
    assert!(project.read("litellm.yaml").contains(&url), "{}", project.read("litellm.yaml"));

    // Nothing is left to do, and that takes few questions: one for all apps and two for each, and
    // five for the two volumes.
    remote.modal.calls();
    assert_eq!(project.apply("").ran(), [] as [&str; 0]);
    let calls = remote.modal.calls();
    let reads: Vec<&str> = calls.iter().filter_map(|call| call["rpc"].as_str()).collect();
    let reads: Vec<&str> = reads.into_iter().filter(|rpc| *rpc != "ClientHello").collect();
    assert!(reads.len() <= 8, "{reads:?}");

    // A fresh clone, in CI say, sees the same.
    fs::remove_dir_all(project.root().join("cache")).unwrap();
    let plan = project.plan("");
    assert_eq!(plan.ids("fresh"), ALL, "{}", plan.0);
}

#[test]
fn an_edit_reaches_modal_only_where_it_has_to() {
    let Some(remote) = Remote::applied() else { return };
    let project = &remote.hubbed.project;

    project.append(SPEC, "\n[gateway]\nalias = \"other-local\"\n");
    assert_eq!(edited(&remote), (vec!["gateway:tiny".to_owned()], vec![]));

    project.append(SPEC, "\n[serve]\nscaledown-window = \"7m\"\n");
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed serve.scaledown-window"]);
    let once = (
        vec!["deploy:tiny".to_owned(), "smoke:tiny".to_owned()],
        vec!["FunctionCreate".to_owned(), "AppPublish".to_owned()],
    );
    assert_eq!(edited(&remote), once);
    // There and back again: one deployment more.
    project.edit(SPEC, "scaledown-window = \"7m\"", "scaledown-window = \"5m\"");
    assert_eq!(edited(&remote), once);

    // What a replica is, as the project says.
    project.edit(
        SPEC,
        "scaledown-window = \"5m\"",
        "max-inputs = 9\nmax-containers = 2\nstartup-timeout = \"2m\"\ntimeout = \"3m\"",
    );
    project.append(SPEC, "\n[hardware]\ncpu = 2.5\nmemory = 0.5\n");
    let why = project.plan("").why("deploy:tiny");
    assert!(why.contains(&"changed hardware.memory".to_owned()), "{why:?}");
    remote.modal.calls();
    project.apply("--yes").ran();
    let calls = remote.modal.calls();
    let function = calls.iter().find(|call| call["rpc"] == "FunctionCreate").unwrap();
    for (name, wanted) in [
        ("scaledown_window", 300),
        ("timeout_secs", 180),
        ("startup_timeout_secs", 120),
        ("max_containers", 2),
    ] {
        assert_eq!(function[name], wanted, "{function}");
    }
    // In MiB there.
    assert_eq!((&function["cpu"], &function["memory"]), (&2.5.into(), &512.into()), "{function}");
    assert!(function.to_string().contains("table-4c19d2-model-cache"), "{function}");
}

#[test]
fn what_no_spec_wants_is_stopped_when_asked_to() {
    let Some(remote) = Remote::applied() else { return };
    let project = &remote.hubbed.project;
    let spec = project.read(SPEC);
    fs::remove_file(project.root().join(SPEC)).unwrap();
    project.write("specs/new.toml", &spec);
    let plan = project.plan("--prune");
    assert_eq!(plan.ids("remove"), ["deploy:tiny", "gateway:tiny"]);
    // What is to take its place fails: nothing is stopped.
    project.append("specs/new.toml", "\n[env]\nMODE = \"mute\"\n");
    remote.modal.calls();
    project.run("apply --yes --prune").exits(1).says(&["deploy:tiny is left as it is"]);
    let stopped = remote.modal.calls();
    assert!(!stopped.iter().any(|it| it["rpc"] == "AppStop" && it["app"] != "table-4c19d2-new"));
    project.edit("specs/new.toml", "mute", "");
    project.apply("--yes --prune").ran();
    assert!(remote.modal.changes().contains(&"AppStop".to_owned()));
    project.run("destroy new --yes").exits(0);
    let plan = project.plan("");
    assert_eq!(plan.step("deploy:new")["action"], "run", "{}", plan.0);
    // The weights and the image are kept.
    assert_eq!(plan.ids("fresh"), ["image:tiny", "weights:acme/tiny"]);
}
