//! Compile caches that are filled on Modal: what counts as compiled, and what is written down of it.

use std::fs;

use serde_json::Value;

use super::Remote;
use super::support::hubbed::SPEC;
use super::support::stages::FETCHED;

/// A project whose model compiles, as the fixture's server does in this mode.
fn compiling(mode: &str) -> Option<Remote> {
    let remote = Remote::at(&FETCHED)?;
    let project = &remote.hubbed.project;
    project.edit(SPEC, "[engine]", "[hardware]\ngpu = \"H100\"\n\n[engine]");
    project.edit(SPEC, "name = \"command\"", "name = \"command\"\ncompiles = true");
    project.append(SPEC, &format!("\n[env]\nCOMPILE = \"{mode}\"\n"));
    Some(remote)
}

/// The receipt of the one warm-up.
fn receipt(remote: &Remote) -> Value {
    let directory = remote.modal.volume("table-4c19d2-vllm-cache").join(".goatbuild");
    let mut files = fs::read_dir(&directory).unwrap().flatten();
    let file = files.find(|it| it.file_name().to_string_lossy().starts_with("warmup-")).unwrap();
    serde_json::from_str(&fs::read_to_string(file.path()).unwrap()).unwrap()
}

#[test]
fn a_note_of_each_start_is_nothing_compiled() {
    // It adds a line to a log at each start.
    let Some(remote) = compiling("once") else { return };
    remote.hubbed.project.run("apply --yes --only warmup:tiny").exits(0);
    let receipt = receipt(&remote);
    let files: Vec<&String> = receipt["files"].as_object().unwrap().keys().collect();
    assert!(files.iter().any(|file| file.ends_with("/graph.bin")), "{files:?}");
    assert!(!files.iter().any(|file| file.ends_with("/starts.log")), "{files:?}");
}

#[test]
fn a_second_start_that_compiles_keeps_nothing() {
    for (mode, words) in [
        ("always", "the second start compiled again: it wrote /root/.cache/vllm/"),
        ("unsteady", "its cache key differs in env.VLLM_API_KEY"),
        ("reloading", "it wrote /root/.cache/vllm/torch_aot_compile/0abc/rank_0_0/model"),
    ] {
        let Some(remote) = compiling(mode) else { return };
        let refused = remote.hubbed.project.run("apply --yes --only warmup:tiny").exits(1);
        refused.says(&[words, "goatbuild::modal::cold", "warmup = \"never\""]);
        let caches = remote.modal.volume("table-4c19d2-vllm-cache");
        assert!(!caches.join(".goatbuild").exists(), "{mode}");
    }
}

#[test]
fn a_second_start_that_is_quick_and_writes_something_is_warned_about() {
    let Some(remote) = compiling("late") else { return };
    let warmed = remote.hubbed.project.run("apply --yes --only warmup:tiny").exits(0);
    let words = "the second start of tiny was quick, and still wrote /root/.cache/vllm/late-";
    warmed.says(&[words]);
    // What it wrote is kept as well.
    let receipt = receipt(&remote);
    let late = receipt["files"].as_object().unwrap().keys().filter(|it| it.contains("/late-"));
    assert_eq!(late.count(), 2, "{receipt}");
}

#[test]
fn what_may_be_a_secret_is_told_by_its_name_alone() {
    let Some(remote) = compiling("keyed") else { return };
    remote.hubbed.project.run("apply --yes --only warmup:tiny").exits(0);
    let receipt = receipt(&remote);
    let factors = receipt["factors"].as_object().unwrap().values().next().unwrap();
    assert_eq!(factors.get("env.VLLM_API_KEY"), Some(&Value::Null), "{receipt}");
    assert_eq!(factors["env.HOME"].as_str().map(str::len), Some(16), "{receipt}");
}

#[test]
fn a_replica_on_another_device_than_its_warm_up_says_so() {
    let Some(remote) = compiling("once") else { return };
    let project = &remote.hubbed.project;
    let device = remote.modal.volume("table-4c19d2-model-cache").join("device");
    fs::write(&device, "NVIDIA H200\nNVIDIA H200\n").unwrap();
    let warmed = project.run("apply --yes --only warmup:tiny").exits(0);
    // Asked for an H100, given an H200: what is compiled for that helps no H100.
    warmed.says(&["tiny asks for H100 and was warmed up on NVIDIA H200"]);
    assert_eq!(receipt(&remote)["device"], "NVIDIA H200");
    fs::write(&device, "NVIDIA H100 80GB HBM3\n").unwrap();
    project.run("apply --yes").exits(0);
    let told = "NVIDIA H100 80GB HBM3, and its caches were compiled on NVIDIA H200";
    project.run("logs tiny").exits(0).says(&[&format!("goatbuild-replica: it runs on {told}")]);
    project.run("status").exits(0).says(&[&format!("ran on {told}")]);
    let status: Value = serde_json::from_str(&project.run("status --json").stdout).unwrap();
    assert_eq!(status["models"][0]["devices"], serde_json::json!([told]), "{status}");
    // Whoever wants no other says so, and is warmed up on that one.
    project.edit(SPEC, "gpu = \"H100\"", "gpu = \"H100\"\nexact = true");
    assert_eq!(project.plan("").why("warmup:tiny"), ["changed hardware.exact"]);
    remote.modal.calls();
    project.run("apply --yes").exits(0);
    let calls = remote.modal.calls();
    let made = calls.iter().filter(|it| it["rpc"] == "FunctionCreate" && !it["gpu"].is_null());
    let gpus: Vec<&Value> = made.map(|it| &it["gpu"]["type"]).collect();
    assert_eq!(gpus, ["H100!", "H100!"], "to warm it up, and to serve it");
}
