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

/// The project of this repository, with doubles of Modal and of a hub.
pub(super) struct Shipped {
    pub(super) project: Project,
    pub(super) modal: ModalDouble,
    pub(super) hub: HubDouble,
    encodings: Encodings,
}

impl Shipped {
    pub(super) fn new() -> Option<Self> {
        let shipped = Self::of(Project::shipped())?;
        shipped.name_hubs();
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
        let shipped = Self { project, modal, hub, encodings };
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
    /// find it in the gateway's file, and commented out in the mirror.
    fn answers_as_the_notes_say(&self, url: &str, model: &str, repository: &str) {
        let listed = get(&format!("{url}/v1/models"));
        let ids: Vec<&Value> =
            listed["data"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
        assert!(ids.contains(&&json!(repository)), "{listed}");
        let chat = json!({"model": repository, "messages": [{"role": "user", "content": "hi"}]});
        let answer = asked(&format!("{url}/v1/chat/completions"), Some(&chat));
        assert_eq!(answer["choices"][0]["message"]["content"], "hello", "{answer}");
        let gateway = self.project.read("dev/litellm-config-modal.yaml");
        let gateway: Value = serde_yaml_ng::from_str(&gateway).unwrap();
        let alias = format!("{model}-local");
        let entries = gateway["model_list"].as_array().unwrap();
        let entry = entries.iter().find(|it| it["model_name"] == *alias).expect(&alias);
        assert_eq!(entry["litellm_params"]["model"], format!("openai/{repository}"));
        assert_eq!(entry["litellm_params"]["api_base"], format!("{url}/v1"));
        let mirror = self.project.read("dev/litellm-config.yaml");
        let lines: Vec<&str> = mirror.lines().filter(|line| line.contains(&alias)).collect();
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line.trim().starts_with('#')),
            "{mirror}"
        );
    }

    /// A model that is added is all that there is to do then. It goes again.
    fn plans_no_more_than_a_model_that_is_added(&self) {
        let repository = "Qwen/Qwen3-8B";
        let config = json!({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]});
        self.hub.small(repository, "config.json", &config.to_string());
        self.hub.small(repository, "model.safetensors", "its weights");
        let lock = self.project.read("goatbuild.lock");
        self.run(&format!("add hf:{repository} --image standard --gpu A10G"));
        let plan = self.project.plan("");
        let open = [plan.ids("run"), plan.ids("pending")].concat();
        assert!(open.contains(&"deploy:qwen3-8b".to_owned()), "{open:?}");
        let its = |id: &String| id.to_ascii_lowercase().contains("qwen3-8b");
        assert!(open.iter().all(its), "{open:?}");
        fs::remove_file(self.project.path("specs/qwen3-8b.toml")).unwrap();
        self.project.write("goatbuild.lock", &lock);
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
        assert_eq!(
            told["flags"],
            json!(expected.arguments(live["key"].as_str().unwrap())),
            "{}",
            expected.model
        );
        // The caches were warmed, so that no replica compiles.
        assert_eq!(told["compiled"], false, "{}", expected.model);
        shipped.answers_as_the_notes_say(url, expected.model, expected.repository);
    }
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
    shipped.plans_no_more_than_a_model_that_is_added();
    // And a fresh clone sees the same.
    shipped.forget();
    let plan = shipped.project.plan("").0;
    assert_eq!(plan["summary"]["run"], 0, "{plan}");
    assert_eq!(plan["summary"]["pending"], 0, "{plan}");
}

/// The JSON that an address answers with.
fn get(url: &str) -> Value {
    asked(url, None)
}

/// The same of what is asked with a body, with the two headers of a proxy token.
fn asked(url: &str, body: Option<&Value>) -> Value {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--noproxy", "*", url])
        .args(["-H", &format!("Modal-Key: {PROXY_KEY}")])
        .args(["-H", &format!("Modal-Secret: {PROXY_SECRET}")]);
    if let Some(body) = body {
        command.args(["-H", "Content-Type: application/json", "-d", &body.to_string()]);
    }
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}
