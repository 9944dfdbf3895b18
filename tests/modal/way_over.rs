//! The way over: scripts that are kept by hand, deployed as their authors do it, imported and taken over.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::registry::Shipped;
use super::support::modal::share_client;
use super::support::peers;
use super::support::project::{Project, ran, wants_network};

/// The rows of a script that somebody has deployed.
const ROWS: [&str; 3] = ["llama-3.1-8b", "qwen3-4b", "qwen3-235b"];

const MODEL: &str = "qwen3-4b";

const HUB_ID: &str = "Qwen/Qwen3-4B-Instruct-2507";

fn deployed_by_hand() -> Option<Shipped> {
    let project = Project::empty("project").that_knows_nothing();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import");
    for name in ["modal_vllm.py", "litellm.yaml"] {
        fs::copy(data.join(name), project.path(name)).unwrap();
    }
    let shipped = Shipped::of(project)?;
    for row in ROWS {
        let mut command = shipped.command(&shipped.modal.python);
        command.args(["-m", "modal", "deploy", "--env", "goat"]);
        ran(command.arg(shipped.project.path("modal_vllm.py")).env("VLLM_MODEL", row)).exits(0);
    }
    Some(shipped)
}

/// What an endpoint answers to whoever says nothing but what the team's notes say.
fn asked(url: &str, body: Option<&Value>) -> Value {
    let mut command = Command::new("curl");
    command.args(["-sS", "--noproxy", "*", url]);
    if let Some(body) = body {
        command.args(["-H", "Content-Type: application/json", "-d", &body.to_string()]);
    }
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[test]
fn scripts_that_are_kept_by_hand_are_imported_and_taken_over_as_they_stand() {
    let Some(shipped) = deployed_by_hand() else { return };
    let project = &shipped.project;
    let import = "import modal_vllm.py --gateway litellm.yaml";
    project.run(import).exits(0).says(&["4 specs, 1 image"]);
    shipped.name_hubs();
    share_client(&project.root(), || drop(project.run("check")));
    let planned = project.run("plan");
    if planned.code != 0 && wants_network(&planned.stderr) {
        peers::skipped("the package index", &planned.stderr);
        return;
    }
    // The settings that Modal tells of what stands are those of the specs: nothing is said to change
    // but what it can't tell. That is true of each of them.
    let plan = project.plan("");
    for row in ROWS {
        let step = plan.step(&format!("deploy:{row}"));
        assert_eq!(step["action"], "conflict", "{step}");
        let kinds = step["reasons"].as_array().unwrap().iter().map(|it| &it["kind"]);
        let kinds: Vec<&str> = kinds.map(|kind| kind.as_str().unwrap()).collect();
        assert_eq!(kinds, ["foreign", "for-clients", "for-the-engine", "way-back"], "{step}");
    }
    assert_eq!(plan.step("deploy:qwen3-30b-a3b")["reasons"][0]["kind"], "first");

    shipped.modal.calls();
    let end = shipped.applied(&format!("{MODEL} --adopt {MODEL}"));
    assert_eq!(end["failed"], json!([]), "{end}");
    let calls = shipped.modal.calls();
    let published: Vec<&Value> = calls
        .iter()
        .filter(|call| call["rpc"] == "AppPublish" && call["state"] == "APP_STATE_DEPLOYED")
        .map(|call| &call["app"])
        .collect();
    let app = format!("goat-vllm-{MODEL}");
    assert_eq!(published, [&format!("{app}-next"), &app], "as a candidate first");

    // Their entry has its alias and the key that they gave it, and leads to where it is served, for
    // whom it may concern: no header is asked for.
    let text = project.read("litellm.yaml");
    let entries: Value = serde_yaml_ng::from_str(&text).unwrap();
    let entries = entries["model_list"].as_array().unwrap();
    let entry = entries.iter().find(|it| it["model_name"] == "qwen-small").expect(&text);
    let called = &entry["litellm_params"];
    assert_eq!(called["model"], format!("openai/{HUB_ID}"), "{text}");
    assert_eq!(called["extra_headers"], Value::Null, "{text}");
    let url = called["api_base"].as_str().unwrap();
    let models = asked(&format!("{url}/models"), None);
    assert_eq!(models["data"][0]["id"], HUB_ID, "{models}");
    let chat = json!({"model": HUB_ID, "messages": [{"role": "user", "content": "hi"}]});
    let answer = asked(&format!("{url}/chat/completions"), Some(&chat));
    assert_eq!(answer["choices"][0]["message"]["content"], "hello", "{answer}");

    // And back to the script's own version, which the others still are.
    project.run(&*format!("rollback {MODEL} --yes")).exits(0).says(&["v1 stands again, as v3"]);
    let plan = project.plan("");
    assert!(plan.step(&format!("deploy:{MODEL}"))["held"].is_string(), "{}", plan.0);
    assert_eq!(plan.ids("conflict").iter().filter(|id| id.starts_with("deploy:")).count(), 2);
}
