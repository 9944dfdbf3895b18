//! The six models that this repository ships, planned and applied from a clean checkout.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::expected::MODELS;
use super::support::hub::HubDouble;
use super::support::installed;
use super::support::modal::{ModalDouble, PROXY_KEY, PROXY_SECRET, share_client};

/// What a commit has of the project.
const COMMITTED: [&str; 5] = ["goatbuild.toml", "goatbuild.lock", "specs", "images", "dev"];

/// The project of this repository, with doubles of Modal and of a hub.
pub(super) struct Shipped {
    pub(super) clone: TempDir,
    pub(super) modal: ModalDouble,
    pub(super) hub: HubDouble,
}

impl Shipped {
    pub(super) fn new() -> Option<Self> {
        let modal = ModalDouble::start()?;
        modal.proxy_tokens(&json!({PROXY_KEY: PROXY_SECRET}));
        let hub = HubDouble::start();
        let models = MODELS.iter().map(|it| (it.repository, Some(it.commit)));
        let drafts = MODELS.iter().filter_map(|it| Some((it.draft?, None)));
        for (repository, commit) in models.chain(drafts) {
            let (kind, architecture) = if repository.contains("gpt-oss") {
                ("gpt_oss", "GptOssForCausalLM")
            } else {
                ("qwen3", "Qwen3ForCausalLM")
            };
            let config = json!({"model_type": kind, "architectures": [architecture]});
            hub.small(repository, "config.json", &config.to_string());
            hub.small(repository, "model.safetensors", &format!("the weights of {repository}"));
            hub.small(repository, "original/copy.bin", "not wanted");
            if let Some(commit) = commit {
                hub.advance(repository, commit);
            }
        }
        let clone = tempfile::tempdir().unwrap();
        for name in COMMITTED {
            copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name), &clone.path().join(name));
        }
        let shipped = Self { clone, modal, hub };
        shipped.client(&[
            "secret",
            "create",
            "--env",
            "goat",
            "goat-hf-token",
            "HF_TOKEN=hf_of_the_test",
        ]);
        Some(shipped)
    }

    /// The same with goatbuild's own client in place, which takes long to install.
    pub(super) fn with_client() -> Option<Self> {
        let shipped = Self::new()?;
        share_client(shipped.clone.path(), || drop(shipped.run("check")));
        shipped.modal.calls();
        Some(shipped)
    }

    /// Leaves what a fresh clone has, and goatbuild's own client.
    pub(super) fn forget(&self) {
        fs::remove_dir_all(self.clone.path().join("cache")).unwrap();
        share_client(self.clone.path(), || drop(self.run("check")));
    }

    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.clone.path())
            .env_clear()
            .env("PATH", installed::path())
            .env("HOME", self.clone.path())
            .env("HF_ENDPOINT", &self.hub.url)
            .env("MODAL_SERVER_URL", self.modal.url())
            .env("MODAL_TOKEN_ID", "ak-test")
            .env("MODAL_TOKEN_SECRET", "as-test")
            .env("MODAL_PROXY_KEY", PROXY_KEY)
            .env("MODAL_PROXY_SECRET", PROXY_SECRET);
        for name in
            ["SSL_CERT_FILE", "PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_CERT"]
        {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    #[track_caller]
    pub(super) fn run(&self, arguments: &str) -> String {
        let output =
            self.command(installed::GOATBUILD).args(arguments.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(super) fn client(&self, arguments: &[&str]) {
        let mut command = self.command(self.modal.python.to_str().unwrap());
        let output = command.args(["-m", "modal"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Prints how long an apply with nothing to do takes beside as many deployments of the client's
    /// that change nothing.
    fn compare_with_deployments(&self, ours: Duration) {
        let plan: Value = serde_json::from_str(&self.run("plan --json")).unwrap();
        let began = Instant::now();
        for step in plan["steps"].as_array().unwrap().iter().filter(|it| it["kind"] == "deploy") {
            let (model, key) = (step["models"][0].as_str().unwrap(), step["key"].as_str().unwrap());
            let (app, file) =
                (format!("goat-vllm-{model}"), format!("cache/modal/{model}/serve.py"));
            self.client(&["deploy", "--env", "goat", "--name", &app, "--tag", key, &file]);
        }
        let theirs = began.elapsed();
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        println!("nothing to do: {ours:.1?}, six deployments: {theirs:.1?}, ratio {ratio:.2}");
        let again: Value = serde_json::from_str(&self.run("plan --json")).unwrap();
        assert_eq!(again["summary"], plan["summary"], "they change nothing");
    }

    /// What the last event of an apply says.
    #[track_caller]
    pub(super) fn applied(&self, arguments: &str) -> Value {
        let events = self.run(&format!("apply --json --yes {arguments}"));
        serde_json::from_str(events.lines().last().unwrap()).unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

fn counted(end: &Value, list: &str, kind: &str) -> usize {
    let ids = end[list].as_array().unwrap().iter().filter_map(Value::as_str);
    ids.filter(|id| id.split(':').next() == Some(kind)).count()
}

#[test]
fn six_models_are_planned_and_applied_from_a_clean_checkout() {
    let Some(shipped) = Shipped::new() else { return };
    let plan: Value = serde_json::from_str(&shipped.run("plan --json")).unwrap();
    assert_eq!(plan["summary"]["fresh"], 0, "{}", plan["summary"]);
    let end = shipped.applied("");
    for (kind, count) in
        [("image", 2), ("weights", 8), ("warmup", 2), ("deploy", 6), ("smoke", 6), ("gateway", 6)]
    {
        assert_eq!(counted(&end, "ran", kind), count, "{kind} in {end}");
    }
    let calls = shipped.modal.calls();
    for expected in MODELS {
        let app = format!("goat-vllm-{}", expected.model);
        let of = |call: &&Value| call["rpc"] == "FunctionCreate" && call["app"] == app;
        let function = calls.iter().find(of).unwrap_or_else(|| panic!("no function of {app}"));
        for (name, wanted) in expected.settings().as_object().unwrap() {
            assert_eq!(function[name], *wanted, "{name} of {app}: {function}");
        }
        let patience = [&function["web"]["startup_timeout"], &function["startup_timeout_secs"]];
        assert_eq!(patience[0].as_f64(), patience[1].as_f64(), "{app}");
        assert_eq!(function["web"]["requires_proxy_auth"], true, "{app}");
    }
    let images = calls.iter().filter(|call| call["rpc"] == "ImageGetOrCreate");
    let setting = "VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8=1";
    assert_eq!(images.filter(|image| image.to_string().contains(setting)).count(), 1);
    // What was started is what the team's scripts started.
    let status: Value = serde_json::from_str(&shipped.run("status --json")).unwrap();
    let live = status["models"].as_array().unwrap();
    assert_eq!(live.len(), MODELS.len(), "{status}");
    for (live, expected) in live.iter().zip(MODELS) {
        let url = live["url"].as_str().unwrap().strip_suffix("/v1").unwrap();
        assert_eq!(live["model"], expected.model);
        let told: Value = get(&format!("{url}/double"));
        assert_eq!(told["flags"], json!(expected.arguments()), "{}", expected.model);
        // The caches were warmed, so that no replica compiles.
        assert_eq!(told["compiled"], false, "{}", expected.model);
    }
    // Nothing is left to do; that takes at most two questions per model.
    shipped.modal.calls();
    let began = Instant::now();
    let end = shipped.applied("");
    let ours = began.elapsed();
    assert_eq!(end["ran"], json!([]), "{end}");
    let calls = shipped.modal.calls();
    let asked = calls.iter().filter(|call| call["rpc"] != "ClientHello").count();
    assert!(asked <= 2 * MODELS.len(), "{asked}: {calls:?}");
    shipped.compare_with_deployments(ours);
    // And a fresh clone sees the same.
    shipped.forget();
    let plan: Value = serde_json::from_str(&shipped.run("plan --json")).unwrap();
    assert_eq!(plan["summary"]["run"], 0, "{plan}");
    assert_eq!(plan["summary"]["pending"], 0, "{plan}");
}

/// The JSON that an address answers with.
fn get(url: &str) -> Value {
    let output = Command::new("curl")
        .args(["-sS", "--noproxy", "*", url])
        .args(["-H", &format!("Modal-Key: {PROXY_KEY}")])
        .args(["-H", &format!("Modal-Secret: {PROXY_SECRET}")])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}
