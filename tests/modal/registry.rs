//! The six models that this repository ships, planned and applied from a clean checkout.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::expected::MODELS;
use super::support::encodings::Encodings;
use super::support::hub::HubDouble;
use super::support::modal::{ModalDouble, PROXY_KEY, PROXY_SECRET, share_client};
use super::support::project::{Project, ran};

/// A model that nobody served before.
const ADDED: &str = "Qwen/Qwen3-8B";

/// The project of this repository, with doubles of Modal and of a hub.
pub(super) struct Shipped {
    pub(super) project: Project,
    pub(super) modal: ModalDouble,
    pub(super) hub: HubDouble,
    encodings: Encodings,
    /// Whether its models let everybody through, or who has a proxy token.
    is_open: bool,
}

impl Shipped {
    pub(super) fn new() -> Option<Self> {
        let shipped = Self::of(Project::shipped())?;
        shipped.name_hubs();
        Some(shipped)
    }

    /// The same with models that let everybody through.
    fn open() -> Option<Self> {
        let shipped = Self { is_open: true, ..Self::new()? };
        shipped.project.edit("goatbuild.toml", "serve = { ", "serve = { auth = \"none\", ");
        Some(shipped)
    }

    /// Has the project say that functions at Modal fetch from the doubles.
    pub(super) fn name_hubs(&self) {
        let (hub, encodings) = (&self.hub.url, &self.encodings.url);
        let endpoints = format!(
            "[target.modal]\nhub-endpoint = \"{hub}\"\nencodings-endpoint = \"{encodings}\"\n"
        );
        self.project.edit("goatbuild.toml", "[target.modal]\n", &endpoints);
    }

    /// Another project with the same models.
    pub(super) fn of(mut project: Project) -> Option<Self> {
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
        let encodings = Encodings::start()?;
        for (name, value) in [
            ("HF_ENDPOINT", hub.url.as_str()),
            ("MODAL_SERVER_URL", &modal.url()),
            ("MODAL_TOKEN_ID", "ak-test"),
            ("MODAL_TOKEN_SECRET", "as-test"),
            ("MODAL_PROXY_KEY", PROXY_KEY),
            ("MODAL_PROXY_SECRET", PROXY_SECRET),
        ] {
            project.variable(name, value);
        }
        for name in
            ["SSL_CERT_FILE", "PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_CERT"]
        {
            if let Ok(value) = std::env::var(name) {
                project.variable(name, &value);
            }
        }
        let shipped = Self { project, modal, hub, encodings, is_open: false };
        let secret =
            ["secret", "create", "--env", "goat", "goat-hf-token", "HF_TOKEN=hf_of_the_test"];
        shipped.client(&secret);
        Some(shipped)
    }

    /// The same with goatbuild's own client in place, which takes long to install.
    pub(super) fn with_client() -> Option<Self> {
        let shipped = Self::new()?;
        share_client(&shipped.project.root(), || drop(shipped.run("check")));
        shipped.modal.calls();
        Some(shipped)
    }

    /// Leaves what a fresh clone has, and goatbuild's own client.
    pub(super) fn forget(&self) {
        fs::remove_dir_all(self.project.path("cache")).unwrap();
        share_client(&self.project.root(), || drop(self.run("check")));
    }

    /// A program that is run as goatbuild is.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        self.project.prepare(&mut command);
        command
    }

    #[track_caller]
    pub(super) fn run(&self, arguments: &str) -> String {
        self.project.run(arguments).done()
    }

    #[track_caller]
    pub(super) fn client(&self, arguments: &[&str]) {
        let mut command = self.command(&self.modal.python);
        ran(command.args(["-m", "modal"]).args(arguments)).exits(0);
    }

    /// Prints how long an apply with nothing to do takes beside as many deployments of the client's
    /// that change nothing.
    fn compare_with_deployments(&self, ours: Duration) {
        let plan = self.project.plan("").0;
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
        let again = self.project.plan("").0;
        assert_eq!(again["summary"], plan["summary"], "they change nothing");
    }

    /// What the team's notes have one do with a model: list what it answers to, chat by the hub's id, and
    /// find it in the gateway's file, and commented out in the mirror. The entry is the one that the notes
    /// have (`model`, `api_base` and a key that says nothing), and the headers where it is protected.
    fn answers_as_the_notes_say(&self, url: &str, model: &str, repository: &str) {
        let listed = self.asked(&format!("{url}/v1/models"), None);
        let ids: Vec<&Value> =
            listed["data"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
        assert!(ids.contains(&&json!(repository)), "{listed}");
        let chat = json!({"model": repository, "messages": [{"role": "user", "content": "hi"}]});
        let answer = self.asked(&format!("{url}/v1/chat/completions"), Some(&chat));
        assert_eq!(answer["choices"][0]["message"]["content"], "hello", "{answer}");
        let gateway = self.project.read("dev/litellm-config-modal.yaml");
        let gateway: Value = serde_yaml_ng::from_str(&gateway).unwrap();
        let alias = format!("{model}-local");
        let entries = gateway["model_list"].as_array().unwrap();
        let entry = entries.iter().find(|it| it["model_name"] == *alias).expect(&alias);
        let mut wanted = json!({
            "model": format!("openai/{repository}"),
            "api_base": format!("{url}/v1"),
            "api_key": "none",
        });
        if !self.is_open {
            wanted["extra_headers"] = json!({
                "Modal-Key": "os.environ/MODAL_PROXY_KEY",
                "Modal-Secret": "os.environ/MODAL_PROXY_SECRET",
            });
        }
        assert_eq!(entry["litellm_params"], wanted, "{entry}");
        let mirror = self.project.read("dev/litellm-config.yaml");
        let lines: Vec<&str> = mirror.lines().filter(|line| line.contains(&alias)).collect();
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line.trim().starts_with('#')),
            "{mirror}"
        );
    }

    /// Each model that is served, as the team's scripts have it, and as their notes say.
    fn serves_what_the_scripts_served(&self) {
        let status: Value = serde_json::from_str(&self.run("status --json")).unwrap();
        let live = status["models"].as_array().unwrap();
        assert_eq!(live.len(), MODELS.len(), "{status}");
        for (live, expected) in live.iter().zip(MODELS) {
            let url = live["url"].as_str().unwrap().strip_suffix("/v1").unwrap();
            assert_eq!(live["model"], expected.model);
            let told: Value = self.asked(&format!("{url}/double"), None);
            assert_eq!(
                told["flags"],
                json!(expected.arguments(live["key"].as_str().unwrap())),
                "{}",
                expected.model
            );
            // The caches were warmed, so that no replica compiles.
            assert_eq!(told["compiled"], false, "{}", expected.model);
            self.answers_as_the_notes_say(url, expected.model, expected.repository);
        }
    }

    /// The functions that were deployed are those of the team's scripts, setting by setting.
    fn deployed_what_the_scripts_deployed(&self) -> Vec<Value> {
        let calls = self.modal.calls();
        for expected in MODELS {
            let app = format!("goat-vllm-{}", expected.model);
            let of = |call: &&Value| call["rpc"] == "FunctionCreate" && call["app"] == app;
            let function = calls.iter().find(of).unwrap_or_else(|| panic!("no function of {app}"));
            for (name, wanted) in expected.settings().as_object().unwrap() {
                assert_eq!(function[name], *wanted, "{name} of {app}: {function}");
            }
            let patience = [&function["web"]["startup_timeout"], &function["startup_timeout_secs"]];
            assert_eq!(patience[0].as_f64(), patience[1].as_f64(), "{app}");
            assert_eq!(function["web"]["requires_proxy_auth"], !self.is_open, "{app}");
        }
        calls
    }

    /// The JSON that an address answers with, asked with the two headers of a proxy token where those are
    /// wanted.
    fn asked(&self, url: &str, body: Option<&Value>) -> Value {
        let mut command = Command::new("curl");
        command.args(["-sS", "--noproxy", "*", url]);
        if !self.is_open {
            command
                .args(["-H", &format!("Modal-Key: {PROXY_KEY}")])
                .args(["-H", &format!("Modal-Secret: {PROXY_SECRET}")]);
        }
        if let Some(body) = body {
            command.args(["-H", "Content-Type: application/json", "-d", &body.to_string()]);
        }
        let output = command.output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    /// Adds a model: its steps are all that there is to do then.
    fn adds_a_model(&self) {
        let config = json!({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]});
        self.hub.small(ADDED, "config.json", &config.to_string());
        self.hub.small(ADDED, "model.safetensors", "its weights");
        self.run(&format!("add hf:{ADDED} --image standard --gpu A10G"));
        let plan = self.project.plan("");
        let open = [plan.ids("run"), plan.ids("pending")].concat();
        assert!(open.contains(&"deploy:qwen3-8b".to_owned()), "{open:?}");
        let its = |id: &String| id.to_ascii_lowercase().contains("qwen3-8b");
        assert!(open.iter().all(its), "{open:?}");
    }

    /// What the last event of an apply says.
    #[track_caller]
    pub(super) fn applied(&self, arguments: &str) -> Value {
        self.project.run(&format!("apply --json --yes {arguments}")).exits(0).finished()
    }
}

fn counted(end: &Value, list: &str, kind: &str) -> usize {
    let ids = end[list].as_array().unwrap().iter().filter_map(Value::as_str);
    ids.filter(|id| id.split(':').next() == Some(kind)).count()
}

#[test]
fn six_models_are_planned_and_applied_from_a_clean_checkout() {
    let Some(shipped) = Shipped::new() else { return };
    let plan = shipped.project.plan("").0;
    assert_eq!(plan["summary"]["fresh"], 0, "{}", plan["summary"]);
    let end = shipped.applied("");
    for (kind, count) in
        [("image", 2), ("weights", 9), ("warmup", 2), ("deploy", 6), ("smoke", 6), ("gateway", 6)]
    {
        assert_eq!(counted(&end, "ran", kind), count, "{kind} in {end}");
    }
    let calls = shipped.deployed_what_the_scripts_deployed();
    let images = calls.iter().filter(|call| call["rpc"] == "ImageGetOrCreate");
    let setting = "VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8=1";
    assert_eq!(images.filter(|image| image.to_string().contains(setting)).count(), 1);
    shipped.serves_what_the_scripts_served();
    // Nothing is left to do; that takes two questions per model, and eight of the rest.
    shipped.modal.calls();
    let began = Instant::now();
    let end = shipped.applied("");
    let ours = began.elapsed();
    assert_eq!(end["ran"], json!([]), "{end}");
    let calls = shipped.modal.calls();
    let asked = calls.iter().filter(|call| call["rpc"] != "ClientHello").count();
    assert!(asked <= 2 * MODELS.len() + 8, "{asked}: {calls:?}");
    shipped.compare_with_deployments(ours);
    let lock = shipped.project.read("goatbuild.lock");
    shipped.adds_a_model();
    fs::remove_file(shipped.project.path("specs/qwen3-8b.toml")).unwrap();
    shipped.project.write("goatbuild.lock", &lock);
    // And a fresh clone sees the same.
    shipped.forget();
    let plan = shipped.project.plan("").0;
    assert_eq!(plan["summary"]["run"], 0, "{plan}");
    assert_eq!(plan["summary"]["pending"], 0, "{plan}");
}

/// The runbook as it was written, before anything was protected: each model by a command of its own, asked
/// without a header, and then one more.
#[test]
fn the_notes_hold_word_for_word_where_models_are_open() {
    let Some(shipped) = Shipped::open() else { return };
    for expected in MODELS {
        let end = shipped.applied(expected.model);
        assert_eq!(counted(&end, "ran", "smoke"), 1, "{end}");
        assert_eq!(counted(&end, "ran", "gateway"), 1, "{end}");
    }
    shipped.deployed_what_the_scripts_deployed();
    shipped.serves_what_the_scripts_served();
    shipped.adds_a_model();
    assert_eq!(counted(&shipped.applied("qwen3-8b"), "ran", "deploy"), 1);
    let status: Value = serde_json::from_str(&shipped.run("status --json")).unwrap();
    let added = status["models"].as_array().unwrap().iter().find(|it| it["model"] == "qwen3-8b");
    let url = added.unwrap()["url"].as_str().unwrap();
    shipped.answers_as_the_notes_say(url.strip_suffix("/v1").unwrap(), "qwen3-8b", ADDED);
}
