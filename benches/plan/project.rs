//! A project of many models whose every step was done, as far as rows and files can tell.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use goatbuild::debian::Mirrors;
use goatbuild::event::Reporter;
use goatbuild::fetch::Patience;
use goatbuild::fingerprint::Key;
use goatbuild::gateways::Endpoint;
use goatbuild::hub::{HubSettings, ModelCache, scan};
use goatbuild::locking::{self, LockOptions};
use goatbuild::plan::gather;
use goatbuild::runtime::{Instance, Sandbox};
use goatbuild::spec::Api;
use goatbuild::step::{Facts, Outcome, Step, StepId, StepKind};
use goatbuild::steps;
use goatbuild::workspace::{Settings, SharedWorkspace, Workspace};
use serde_json::{Value, json};

/// So many models share their weights.
const GROUP: usize = 100;
const IMAGE: &str = "mlx";
const PROJECT: &str = "bench-3f8a1c";
const SINCE: &str = "2026-01-01T00:00:00Z";

/// A project that is there, and what its graph is.
pub(crate) struct Filled {
    /// Ids, each after its inputs, with their inputs.
    pub(crate) steps: Vec<(String, Vec<String>)>,
    _server: Server,
}

/// The process that stands for all servers. Dropping it ends it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes the project, compiles it, and writes down every step as done with made-up facts.
pub(crate) fn fill(directory: &Path, models: usize) -> Filled {
    let root = directory.join("project");
    write_sources(&root, models);
    let workspace = open(directory, &root);
    let locked = LockOptions { locked: true, ..LockOptions::default() };
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(locking::settle(&workspace, &locked, &Reporter::silent()))
        .expect("the example's lock answers");
    let graph = steps::compile(&workspace, &Reporter::silent()).expect("a graph");
    let (server, instance) = Server::start();
    let store = &workspace.store;
    let run = store.begin_run("apply").expect("a run");
    let mut known: HashMap<StepId, Facts> = HashMap::new();
    let mut keys: HashMap<StepId, Key> = HashMap::new();
    let mut listed = Vec::new();
    for step in graph.in_order() {
        let inputs = gather(&**step, |id| known.get(id)).expect("inputs come first");
        let fingerprint = step.describe(&inputs);
        let facts = made_up(&**step, &instance);
        let outcome = Outcome { facts: facts.clone(), ..Outcome::default() };
        store.intend(run, step.id(), &fingerprint.key()).expect("an attempt");
        store.finish(run, step.id(), step.class(), &fingerprint, 0.1, Ok(&outcome)).expect("a row");
        keys.insert(step.id().clone(), fingerprint.key());
        known.insert(step.id().clone(), facts);
        let names = step.inputs().iter().map(|input| input.step.to_string()).collect();
        listed.push((step.id().to_string(), names));
    }
    store.end_run(run, "ok").expect("a run");
    place_weights(&workspace, &keys);
    write_gateway(&workspace, &known, &keys);
    write_deployments(&workspace, &known, &keys, &instance);
    Filled { steps: listed, _server: server }
}

fn write_sources(root: &Path, models: usize) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    };
    for path in
        ["goatbuild.lock", &format!("images/{IMAGE}.toml"), &format!("images/{IMAGE}.pylock.toml")]
    {
        let text = fs::read_to_string(example.join(path)).expect("the example");
        // What was built is filled in below, with facts that nothing was built for.
        write(path, text.split("\n[built.").next().unwrap_or(&text));
    }
    write(
        "goatbuild.toml",
        &format!(
            r#"[project]
id = "{PROJECT}"

[defaults]
serve = {{ max-inputs = 32, scaledown-window = "5m", timeout = "60m" }}
engine = {{ temp = 0.7 }}

[gateway.litellm]
config = "litellm.yaml"
"#
        ),
    );
    write("litellm.yaml", "model_list: []\n");
    for group in 0..models.div_ceil(GROUP) {
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            write(&format!("weights/{group}/{name}"), &format!("{name} of {group}"));
        }
    }
    for model in 0..models {
        let spec = format!(
            r#"image = "{IMAGE}"
target = "local"

[model]
source = "path:weights/{}"

[engine]
name = "mlx-lm"
max-tokens = {}
"#,
            model / GROUP,
            64 + model % 7
        );
        write(&format!("specs/model-{model:05}.toml"), &spec);
    }
}

fn open(directory: &Path, root: &Path) -> SharedWorkspace {
    let sources = goatbuild::project::load(root).expect("the project's files");
    let project = goatbuild::project::read(&sources, None)
        .unwrap_or_else(|error| panic!("the project is right: {error:?}"));
    let settings = Settings {
        offline: true,
        locked: true,
        state: directory.join("state"),
        program: env!("CARGO_BIN_EXE_goatbuild").into(),
        epoch: 0,
        patience: Patience::default(),
        mirrors: Mirrors::default(),
        files_mirror: None,
        credentials: Vec::new(),
        engines: goatbuild::engines::built_in(),
        targets: goatbuild::targets::built_in(),
        variable: |_| None,
        hub: || HubSettings::read(|_| None),
    };
    Arc::new(Workspace::open(root.to_owned(), project, settings).expect("a workspace"))
}

fn made_up(step: &dyn Step, instance: &Instance) -> Facts {
    let digest = format!("sha256:{}", blake3::hash(step.id().as_str().as_bytes()));
    let mut facts = step.predict();
    let made: &[(&str, String)] = match step.head().kind.word() {
        "base" | "wheels" => &[
            ("digest", digest.clone()),
            ("diff-id", digest.clone()),
            ("size", "1048576".to_owned()),
        ],
        "image" => &[("digest", digest)],
        "weights" => &[],
        "deploy" => &[("instance", instance.id.clone()), ("url", url())],
        "smoke" => &[("instance", instance.id.clone())],
        "gateway" => &[("alias", alias(step.id().name()))],
        kind => panic!("no facts are made up for {kind}"),
    };
    facts.extend(made.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    facts
}

/// Where all of them answer: a plan asks each whether it does.
fn port() -> u16 {
    use std::io::{Read as _, Write as _};
    static PORT: std::sync::OnceLock<u16> = std::sync::OnceLock::new();
    *PORT.get_or_init(|| {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                );
            }
        });
        port
    })
}

fn url() -> String {
    format!("http://127.0.0.1:{}/v1", port())
}

fn alias(model: &str) -> String {
    format!("{model}-local")
}

/// Copies the weights for real: they are small.
fn place_weights(workspace: &SharedWorkspace, keys: &HashMap<StepId, Key>) {
    let volume = &workspace.project.volumes.iter().find(|(name, _)| name.as_str() == "model-cache");
    let (_, volume) = volume.expect("the built-in volume");
    let volumes = workspace.settings.state.join(PROJECT).join("default/volumes");
    let cache = ModelCache::new(volumes.join(&volume.name));
    for (id, key) in keys.iter().filter(|(id, _)| id.kind() == Some(StepKind::Weights)) {
        let from = workspace.root.join(id.name());
        let manifest = scan(&from, ".", &*workspace.store, &Reporter::silent())
            .expect("a directory of weights");
        let repository = format!("local/{}", id.name().replace('/', "-"));
        cache
            .install(*key, &repository, &manifest, &from, &Reporter::silent())
            .expect("a copy of the weights");
    }
}

fn write_gateway(
    workspace: &SharedWorkspace,
    known: &HashMap<StepId, Facts>,
    keys: &HashMap<StepId, Key>,
) {
    let mut entries: Vec<Endpoint> = keys
        .iter()
        .filter(|(id, _)| id.kind() == Some(StepKind::Gateway))
        .map(|(id, key)| {
            let deploy = &known[&StepId::deploy(id.name())];
            Endpoint {
                alias: alias(id.name()),
                served_name: deploy["served-name"].clone(),
                url: deploy["url"].clone(),
                headers: Vec::new(),
                api: Api::Chat,
                project: PROJECT.to_owned(),
                model: id.name().to_owned(),
                key: key.to_string(),
            }
        })
        .collect();
    entries.sort_by(|one, other| one.model.cmp(&other.model));
    let gateway = workspace.gateway.as_ref().expect("a gateway");
    let text = gateway.render(&entries).expect("a LiteLLM file");
    fs::write(workspace.root.join("litellm.yaml"), text).expect("a LiteLLM file");
}

/// Writes what the local target would have kept: its file has no other writer outside the crate.
fn write_deployments(
    workspace: &SharedWorkspace,
    known: &HashMap<StepId, Facts>,
    keys: &HashMap<StepId, Key>,
    instance: &Instance,
) {
    let ours = workspace.settings.state.join(PROJECT).join("default");
    let served: serde_json::Map<String, Value> = known
        .iter()
        .filter(|(id, _)| id.kind() == Some(StepKind::Deploy))
        .map(|(id, facts)| {
            let port = facts["url"].split([':', '/']).nth(4).and_then(|port| port.parse().ok());
            let port: u16 = port.expect("a port");
            let sandbox = Sandbox {
                alone: false,
                root: workspace.settings.state.join("roots/sha256-0"),
                binds: Vec::new(),
                env: [("PYTHONUNBUFFERED".to_owned(), "1".to_owned())].into(),
                command: ["python", "-m", "mlx_lm", "server", "--port", &port.to_string()]
                    .map(str::to_owned)
                    .to_vec(),
                workdir: "/run/goatbuild".to_owned(),
                log: ours.join(format!("logs/{}.log", id.name())),
            };
            let [mut running, mut recipe] = [json!(instance), json!(sandbox)];
            running["runtime"] = json!("embedded");
            recipe["runtime"] = json!("embedded");
            let served = json!({
                "key": keys[id],
                "healthy": true,
                "facts": facts,
                "port": port,
                "instance": running,
                "recipe": recipe,
                "health": "/health",
                "since": SINCE,
                "smoke": keys[&StepId::smoke(id.name())],
                "previous": null,
            });
            (id.name().to_owned(), served)
        })
        .collect();
    fs::create_dir_all(workspace.settings.state.join("roots/sha256-0")).expect("a root");
    fs::create_dir_all(&ours).expect("a state directory");
    let state = json!({ "version": 2, "served": served });
    fs::write(ours.join("deployments.json"), state.to_string()).expect("the state");
}

impl Server {
    /// A process that carries an instance's id, as a supervisor does.
    fn start() -> (Self, Instance) {
        let id = "0123456789abcdef0123456789abcdef";
        let child = Command::new("sh")
            .args(["-c", "read forever", id])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a process");
        let pid = i32::try_from(child.id()).expect("a process id");
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("procfs");
        // Field 22 of proc(5)'s stat; the name before may hold spaces.
        let start = text.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19));
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let instance = Instance {
            boot_id: boot_id.trim().to_owned(),
            pid,
            start_time: start.and_then(|ticks| ticks.parse().ok()).expect("a start time"),
            id: id.to_owned(),
        };
        (Self(child), instance)
    }
}
