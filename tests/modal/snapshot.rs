//! A model whose replicas start from a snapshot of the GPU's memory.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::programs::complaints;
use super::registry::Shipped;
use super::support::modal::{PROXY_KEY, PROXY_SECRET};
use super::support::peers;

const MODEL: &str = "qwen3-4b";
const SPEC: &str = "specs/qwen3-4b.toml";
const APP: &str = "goat-vllm-qwen3-4b";

/// Says something under `[serve]`, where the spec ends.
fn serve(shipped: &Shipped, line: &str) {
    shipped.project.append(SPEC, &format!("{line}\n"));
}

/// The step that deploys the model, as it is planned.
fn deploy(shipped: &Shipped) -> Value {
    shipped.project.plan(MODEL).step(&format!("deploy:{MODEL}")).clone()
}

/// The status that what is deployed answers with; without a body it is a GET.
fn ask(shipped: &Shipped, path: &str, headers: &[String], body: Option<&str>) -> String {
    let status: Value = serde_json::from_str(&shipped.run("status --json")).unwrap();
    let models = status["models"].as_array().unwrap();
    let model = models.iter().find(|it| it["model"] == MODEL).unwrap();
    let url = model["url"].as_str().unwrap().strip_suffix("/v1").unwrap().to_owned();
    let mut command = shipped.command("curl");
    command.args([
        "-sS",
        "--noproxy",
        "*",
        "--path-as-is",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
    ]);
    for header in headers {
        command.args(["-H", header]);
    }
    if let Some(body) = body {
        command.args(["-H", "Content-Type: application/json", "-d", body]);
    }
    let output = command.arg(format!("{url}{path}")).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What of an app's log tells how it started.
fn started(shipped: &Shipped) -> Vec<String> {
    let mut command = shipped.command(&shipped.modal.python);
    command.args(["-m", "modal", "app", "logs", "--env", "goat", APP, "--tail", "500"]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = ["started", "asked", "asleep", "Creating memory", "Using memory", "awake"];
    let told = text.lines().filter_map(|line| words.iter().find(|word| line.contains(**word)));
    told.map(|word| (*word).to_owned()).collect()
}

/// The paths that are for developers alone, with what asks for them.
const CLOSED: [(&str, Option<&str>); 7] = [
    ("/sleep?level=1", Some("{}")),
    ("/wake_up", Some("{}")),
    ("/is_sleeping", None),
    ("/server_info", None),
    ("/v1/../server_info", None),
    ("//server_info", None),
    ("/%73erver_info", None),
];

#[test]
fn an_engine_sleeps_through_the_snapshot_and_only_clients_reach_it() {
    let Some(shipped) = Shipped::with_client() else { return };
    // From here on, keys are known.
    shipped.applied("--only image:standard");
    let before = deploy(&shipped);
    serve(&shipped, "snapshot = false");
    assert_eq!(deploy(&shipped)["key"], before["key"]);
    shipped.project.edit(SPEC, "snapshot = false", "snapshot = true");
    let planned = shipped.project.plan(MODEL);
    let after = planned.step(&format!("deploy:{MODEL}"));
    assert_ne!(after["key"], before["key"], "{after}");
    assert!(after["note"].as_str().unwrap().contains("alpha"), "{after}");
    let command = shipped.run(&format!("show {MODEL} --command"));
    assert!(command.contains("--enable-sleep-mode"), "{command}");
    assert!(command.contains("VLLM_SERVER_DEV_MODE"), "{command}");

    shipped.modal.calls();
    shipped.applied(MODEL);
    // The same address as without.
    let state = fs::read_to_string(shipped.modal.kept().join("state.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    let labels: Vec<&Value> = state["labels"].as_object().unwrap().values().collect();
    let url = planned.0["models"][0]["url"].as_str().unwrap().strip_suffix("/v1").unwrap();
    assert!(labels.iter().any(|label| label["url"] == url), "{url} in {labels:?}");
    let calls = shipped.modal.calls();
    let function =
        calls.iter().find(|it| it["rpc"] == "FunctionCreate" && it["app"] == APP).unwrap();
    assert_eq!(function["name"], "Server.*", "{function}");
    assert_eq!(function["memory_snapshot"], true, "{function}");
    assert_eq!(function["experimental_options"], json!({"enable_gpu_snapshot": "True"}));
    assert_eq!(function["web"]["requires_proxy_auth"], true, "{function}");

    // It has answered before it slept, and sleeps while the snapshot is taken.
    let order = started(&shipped);
    // The lines of the engine and those of the container come by two ways.
    let (modal, engine): (Vec<_>, Vec<_>) = order.iter().partition(|it| it.ends_with("memory"));
    assert_eq!(modal, ["Creating memory", "Using memory"], "{order:?}");
    assert_eq!(engine[..5], ["started", "asked", "asked", "asleep", "awake"], "{order:?}");
    assert!(engine[5..].iter().all(|it| *it == "asked") && engine.len() > 5, "{order:?}");

    // Who may ask it may ask what clients ask, and nothing else.
    let token = [format!("Modal-Key: {PROXY_KEY}"), format!("Modal-Secret: {PROXY_SECRET}")];
    assert_eq!(ask(&shipped, "/v1/models", &token, None), "200");
    assert_eq!(ask(&shipped, "/v1/models", &[], None), "401");
    for (path, body) in CLOSED {
        assert_eq!(ask(&shipped, path, &token, body), "404", "{path}");
    }
    assert_eq!(started(&shipped).iter().filter(|it| *it == "asleep").count(), 1);

    // There and back: a function serves again, be it at another address.
    shipped.project.edit(SPEC, "snapshot = true", "snapshot = false");
    shipped.applied(MODEL);
    assert_eq!(ask(&shipped, "/v1/models", &token, None), "200");
    shipped.project.edit(SPEC, "snapshot = false", "snapshot = true");
    shipped.applied(MODEL);
    assert_eq!(ask(&shipped, "/v1/models", &token, None), "200");
    assert_eq!(ask(&shipped, "/server_info", &token, None), "404");

    // A fresh clone sees it.
    shipped.forget();
    assert_eq!(deploy(&shipped)["action"], "fresh");
}

#[test]
fn a_candidate_that_starts_from_a_snapshot_has_an_address_of_its_own() {
    let Some(shipped) = Shipped::with_client() else { return };
    serve(&shipped, "snapshot = true\nrollout = \"candidate\"");
    shipped.applied(MODEL);
    let state = fs::read_to_string(shipped.modal.kept().join("state.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    let labels = state["labels"].as_object().unwrap();
    let of = |app: &str| -> Vec<&str> {
        let here = labels
            .iter()
            .filter(|(_, label)| state["apps"][label["app_id"].as_str().unwrap()]["name"] == app);
        here.map(|(label, _)| label.split_once("--").unwrap().1).collect()
    };
    assert_eq!(of(&format!("{APP}-next")), [format!("{APP}-next-serve")], "{labels:?}");
    assert_eq!(of(APP), [format!("{APP}-serve")], "{labels:?}");
}

#[test]
fn a_key_is_asked_for_in_front_of_what_can_sleep() {
    const KEY: &str = "gbk-thisIsTheKeyOfSnapshots";
    let Some(shipped) = Shipped::with_client() else { return };
    serve(&shipped, "snapshot = true\nauth = \"api-key\"");
    let key = "api-key-secret = \"goat-key\"\nhf-secret =";
    shipped.project.edit("goatbuild.toml", "hf-secret =", key);
    let pair = format!("GOATBUILD_API_KEY={KEY}");
    shipped.client(&["secret", "create", "--env", "goat", "goat-key", &pair]);
    let arguments = format!("apply --yes {MODEL}");
    let applied = shipped.project.run_with(&arguments, &[("GOATBUILD_API_KEY", KEY)]);
    if applied.code != 0 {
        let mut command = shipped.command(&shipped.modal.python);
        command.args(["-m", "modal", "app", "logs", "--env", "goat", APP, "--tail", "500"]);
        eprintln!("{}", String::from_utf8_lossy(&command.output().unwrap().stdout));
    }
    applied.exits(0);
    let bearer = [format!("Authorization: Bearer {KEY}")];
    assert_eq!(ask(&shipped, "/v1/models", &bearer, None), "200");
    assert_eq!(ask(&shipped, "/v1/models", &[], None), "401");
    for (path, body) in CLOSED {
        assert_eq!(ask(&shipped, path, &bearer, body), "404", "{path}");
        assert_eq!(ask(&shipped, path, &[], body), "401", "{path}");
    }
    // The engine, which was started with the key near, never had it, and nothing near it has it.
    let mut engines = 0;
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&arguments);
        let variables = fs::read(process.path().join("environ")).unwrap_or_default();
        assert!(!variables.windows(KEY.len()).any(|it| it == KEY.as_bytes()), "{command:?}");
        let is_engine = command.contains("--enable-sleep-mode") && command.contains("127.0.0.1");
        engines += usize::from(is_engine && !variables.is_empty());
    }
    assert!(engines > 0, "no engine was looked at");

    // What is rendered is as clean as without a snapshot.
    let Some(venv) = peers::venv("ruff-mypy", &["ruff==0.14.9", "mypy==1.19.1", "modal==1.6.4"])
    else {
        return;
    };
    let lints = ["ruff", "check", "--select", "E,F,I,B,UP,SIM", "--ignore", "E501"];
    for auth in ["api-key", "none"] {
        shipped.project.edit(SPEC, "auth = \"api-key\"", &format!("auth = \"{auth}\""));
        let out = shipped.project.path(auth);
        shipped.run(&format!("render {MODEL} -o {}", out.display()));
        let programs: &Path = &out.join(MODEL);
        assert_eq!(complaints(&venv, &lints, programs), None);
        assert_eq!(complaints(&venv, &["mypy", "--strict", "--exclude-gitignore"], programs), None);
    }
}

#[test]
fn a_snapshot_is_for_vllm_on_modal() {
    let Some(shipped) = Shipped::with_client() else { return };
    serve(&shipped, "snapshot = true");
    let project = &shipped.project;
    let refused = |words: &[&str]| {
        project.run(&format!("plan {MODEL}")).fails(65, words);
    };
    let spec = project.read(SPEC);
    project.edit(SPEC, "[engine]", "[engine]\nenable-sleep-mode = true");
    refused(&["goatbuild sets `enable-sleep-mode` itself", "[serve] snapshot"]);
    // A version that can't sleep.
    project.write(SPEC, &spec);
    let lock = project.read("goatbuild.lock");
    project.write("goatbuild.lock", &lock.replace("enable-sleep-mode = ", "enable-slumber = "));
    refused(&["has no flag `enable-sleep-mode`, which a snapshot needs", "qwen3-4b.toml:"]);
    project.write("goatbuild.lock", &lock);
    project.edit(SPEC, "target = \"modal\"\n", "");
    refused(&["`serve.snapshot` can't be true", "for `target = \"modal\"`"]);
    project.write(SPEC, &spec.replace("[engine]", "[engine]\nname = \"mlx-lm\""));
    refused(&["`serve.snapshot` can't be true", "`name = \"vllm\"`"]);
}
