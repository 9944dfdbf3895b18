//! Weights that Modal fetches: how far it is, and one at a time.

use std::fs;

use serde_json::Value;

use super::Remote;
use super::support::double::Content;
use super::support::hubbed::{LARGE, SPEC};

#[test]
fn a_fetch_tells_how_many_bytes_are_there() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    let applied = project.apply("--yes --only weights:acme/tiny");
    assert_eq!(applied.ran(), ["weights:acme/tiny"]);
    let progress: Vec<&Value> = applied
        .events
        .iter()
        .filter(|it| it["event"] == "step_progress" && it["id"] == "weights:acme/tiny")
        .collect();
    let last = progress.last().unwrap_or_else(|| panic!("no progress: {:?}", applied.events));
    assert!(last["done"].as_u64() > Some(LARGE as u64), "{last}");
    assert_eq!(last["done"], last["expected"], "{last}");
    // What is for programs is no line of a log.
    let log = project.run("logs weights:acme/tiny").exits(0).stdout;
    assert!(!log.contains("goatbuild-progress"), "{log}");
}

#[test]
fn weights_out_of_a_directory_are_refused_before_anything_is_done() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    remote.hubbed.model("source = \"path:model\"\n");
    remote.modal.calls();
    project.run("apply --yes").exits(1).says(&["goatbuild::modal::path", "publish them on a hub"]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
}

#[test]
fn parts_of_one_repository_are_fetched_one_after_the_other() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    remote.hubbed.hub.large("acme/tiny", "second.safetensors", &Content::noise(2, LARGE));
    let spec = project.read(SPEC);
    let part =
        |pattern: &str| spec.replace("[model]\n", &format!("[model]\nignore = [\"{pattern}\"]\n"));
    project.write(SPEC, &part("second.*"));
    project.write("specs/twin.toml", &part("model.*"));
    let plan = project.plan("");
    let of_weights = |it: &&Value| it["kind"] == "weights";
    let steps: Vec<&Value> =
        plan.0["steps"].as_array().unwrap().iter().filter(of_weights).collect();
    assert_eq!(steps.len(), 2, "{}", plan.0);
    let only: Vec<String> =
        steps.iter().map(|step| format!("--only {}", step["id"].as_str().unwrap())).collect();
    let applied = project.apply(&format!("--yes {}", only.join(" ")));
    assert_eq!(applied.ran().len(), 2);
    // One ends before the other begins, though nothing else is in their way.
    let of_both = applied.events.iter().filter(|it| {
        it["id"].as_str().is_some_and(|id| id.starts_with("weights:"))
            && ["step_started", "step_finished"].contains(&it["event"].as_str().unwrap_or_default())
    });
    let order: Vec<&str> = of_both.filter_map(|it| it["event"].as_str()).collect();
    assert_eq!(order, ["step_started", "step_finished", "step_started", "step_finished"]);
    let volume = remote.modal.volume("table-4c19d2-model-cache");
    let receipts = fs::read_dir(volume.join(".goatbuild")).unwrap().flatten();
    let names = receipts.map(|it| it.file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("weights-gb1-")).count(), 2);
}

/// `HF_ENDPOINT` may name a mirror that this machine alone reaches.
#[test]
fn the_hub_that_is_asked_at_modal_is_the_one_that_the_project_names() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    project.run("lock").exits(0);
    remote.hubbed.hub.forget_requests();
    let here = [("HF_ENDPOINT", "http://mirror.invalid")];
    let apply = "apply --yes --only weights:acme/tiny";
    project.run_with(apply, &here).exits(0);
    assert!(!remote.hubbed.hub.requests().is_empty(), "fetched from the project's hub");
    let program = project.read("cache/modal/weights/acme--tiny/weights.py");
    assert!(program.contains(&remote.hubbed.hub.url), "{program}");
    assert!(!program.contains("mirror.invalid"), "{program}");
    for wrong in ["hub.acme.example", "https://me:secret@hub.acme.example"] {
        let settings = project.read("goatbuild.toml");
        project.write("goatbuild.toml", &settings.replace(&remote.hubbed.hub.url, wrong));
        project.run("plan").exits(65).says(&["`target.modal.hub-endpoint` can't be", "an address"]);
        project.write("goatbuild.toml", &settings);
    }
}
