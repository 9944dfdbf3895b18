//! What a container is made of, as arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::program::{DEED, Said, ask_with};
use super::{
    Container, ContainerEngine, ContainerError, INSTANCE, KEY, Labels, MODEL, PROJECT, STATE,
};
use crate::digest::Digest;
use crate::runtime::Bind;

/// How much shared memory a container may use: a limit, nothing is set aside. What the engines
/// give on their own, 64 MB, is too little for workers that pass tensors around.
const SHARED_MEMORY: &str = "16g";

/// How a server in a container is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// It has this machine's own network, as with the embedded runtime.
    Host,
    /// Its port is published here, since the container's machine is not quite this one.
    Published,
}

impl Network {
    /// The address that a server in the container has to listen on which is reached at this one.
    pub fn listen(self, host: IpAddr) -> IpAddr {
        match self {
            Self::Host => host,
            Self::Published => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}

/// Everything that is needed to start a server again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// Who runs it.
    pub engine: ContainerEngine,
    /// The image's id there.
    pub image: String,
    /// The image's name in the project.
    pub image_name: String,
    /// The digest of the image's manifest.
    pub digest: Digest,
    /// What of this machine is visible inside.
    pub binds: Vec<Bind>,
    /// Environment variables over the image's.
    pub env: BTreeMap<String, String>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The working directory, inside.
    pub workdir: String,
    /// Standard output and error are appended here.
    pub log: PathBuf,
    /// How it is reached.
    pub network: Network,
    /// The address that it is reached at; none on loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<IpAddr>,
    /// The port it listens on.
    pub port: u16,
    /// This machine's graphics processors are visible inside.
    pub gpus: bool,
    /// Which of them, by index or UUID; all where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// User and group, where root in the container would be root here.
    pub user: Option<(u32, u32)>,
}

/// Makes a container, which does not run yet. `secrets` are more variables: their values are in no
/// argument, but the engine keeps them with the container.
pub async fn create(
    recipe: &Recipe,
    labels: &Labels,
    secrets: &BTreeMap<String, String>,
) -> Result<Container, ContainerError> {
    let name = format!("goatbuild-{}-{}", labels.model, labels.instance.get(..8).unwrap_or("0"));
    let mut said = try_create(recipe, labels, secrets, &name, true).await?;
    let words = said.stderr.to_lowercase();
    if !said.done && (words.contains("catatonit") || words.contains("container-init")) {
        // Podman's little init is a package of its own. Without it the server is the first process,
        // which a polite end may not reach; then it is killed after its time.
        said = try_create(recipe, labels, secrets, &name, false).await?;
    }
    if !said.done {
        return Err(explain(recipe, said.refused(recipe.engine, "create the container")));
    }
    let id = said.stdout.lines().last().unwrap_or_default().trim().to_owned();
    Ok(Container { engine: recipe.engine, id, name, started_at: None })
}

async fn try_create(
    recipe: &Recipe,
    labels: &Labels,
    secrets: &BTreeMap<String, String>,
    name: &str,
    init: bool,
) -> Result<Said, ContainerError> {
    let arguments = arguments(recipe, labels, secrets, name, init);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    ask_with(recipe.engine, &words, secrets, DEED).await
}

/// Adds what to do about a refusal that has to do with graphics processors.
pub(super) fn explain(recipe: &Recipe, error: ContainerError) -> ContainerError {
    match error {
        ContainerError::Refused { kind, deed, said, .. } if recipe.gpus => {
            let toolkit = match kind {
                ContainerEngine::Docker => {
                    "`nvidia-ctk runtime configure --runtime=docker`, then restart Docker"
                }
                ContainerEngine::Podman => {
                    "`nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"
                }
            };
            let help = format!(
                "the model asks for a GPU: {kind} needs NVIDIA's container toolkit to hand it on, set up with {toolkit}"
            );
            ContainerError::Refused { kind, deed, said, help: Some(help) }
        }
        other => other,
    }
}

/// The whole command line, but for the program.
pub(super) fn arguments(
    recipe: &Recipe,
    labels: &Labels,
    secrets: &BTreeMap<String, String>,
    name: &str,
    init: bool,
) -> Vec<String> {
    let mut arguments = Arguments(Vec::new());
    arguments.words(&["container", "create", "--pull", "never", "--name", name]);
    for (label, value) in [
        (PROJECT, &labels.project),
        (STATE, &labels.state),
        (MODEL, &labels.model),
        (KEY, &labels.key),
        (INSTANCE, &labels.instance),
    ] {
        arguments.pair("--label", label, value);
    }
    match recipe.network {
        Network::Host => arguments.words(&["--network", "host"]),
        Network::Published => {
            let port = recipe.port;
            let host = match recipe.host {
                None => "127.0.0.1".to_owned(),
                Some(IpAddr::V4(host)) => host.to_string(),
                Some(IpAddr::V6(host)) => format!("[{host}]"),
            };
            arguments.words(&["--publish", &format!("{host}:{port}:{port}")]);
        }
    }
    arguments.words(&["--restart", "no", "--ipc", "private", "--shm-size", SHARED_MEMORY]);
    // Where the engine's own default may be a journal, or nothing at all.
    arguments.words(&[
        "--log-driver",
        if recipe.engine == ContainerEngine::Docker { "json-file" } else { "k8s-file" },
    ]);
    if init {
        arguments.words(&["--init"]);
    }
    arguments.words(&["--read-only", "--cap-drop", "ALL"]);
    arguments.words(&["--security-opt", "no-new-privileges", "--security-opt", "label=disable"]);
    if let Some((user, group)) = recipe.user {
        arguments.words(&["--user", &format!("{user}:{group}")]);
    }
    for (directory, mode) in memory(recipe) {
        let owner = match recipe.user {
            // Some runtimes take the mode from the image's directory, and only `/tmp` is anybody's.
            Some((user, group)) if directory != "/tmp" => format!(",uid={user},gid={group}"),
            _ => String::new(),
        };
        let options = format!("{directory}:rw,exec,nosuid,nodev,mode={mode}{owner}");
        arguments.words(&["--tmpfs", &options]);
    }
    for bind in &recipe.binds {
        arguments.words(&["--mount", &mount(bind)]);
    }
    if recipe.gpus {
        arguments.gpus(recipe.engine, &recipe.devices);
    }
    arguments.pair("--env", "HOME", "/root");
    if recipe.user.is_some() {
        // A user that the image has never heard of has no name there, which Python insists on.
        arguments.pair("--env", "USER", "goatbuild");
    }
    for (name, value) in &recipe.env {
        arguments.pair("--env", name, value);
    }
    // Without a value: that of this program's own variable counts.
    for name in secrets.keys() {
        arguments.words(&["--env", name]);
    }
    arguments.pair("--env", crate::runtime::INSTANCE_VARIABLE, &labels.instance);
    // An image keeps these of its base, for whose own program they were meant.
    arguments.words(&["--workdir", &recipe.workdir, "--stop-signal", "SIGTERM"]);
    let (program, rest) = match recipe.command.split_first() {
        Some((program, rest)) => (program.as_str(), rest),
        None => ("", &[][..]),
    };
    arguments.words(&["--entrypoint", program, &recipe.image]);
    arguments.0.extend(rest.iter().cloned());
    arguments.0
}

struct Arguments(Vec<String>);

impl Arguments {
    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(|word| (*word).to_owned()));
    }

    /// The value of `--gpus` is a line of CSV.
    fn gpus(&mut self, engine: ContainerEngine, devices: &[String]) {
        match (engine, devices) {
            (ContainerEngine::Docker, []) => self.words(&["--gpus", "all"]),
            (ContainerEngine::Docker, some) => {
                self.words(&["--gpus", &format!("\"device={}\"", some.join(","))]);
            }
            (ContainerEngine::Podman, []) => self.words(&["--device", "nvidia.com/gpu=all"]),
            (ContainerEngine::Podman, some) => {
                for device in some {
                    self.words(&["--device", &format!("nvidia.com/gpu={device}")]);
                }
            }
        }
    }

    fn pair(&mut self, option: &str, name: &str, value: &str) {
        self.0.extend([option.to_owned(), format!("{name}={value}")]);
    }
}

/// The directories that are in memory, with their modes.
///
/// Directories between `/root` and a volume would be made as root: a user who is not gets his own.
fn memory(recipe: &Recipe) -> Vec<(String, &'static str)> {
    let home = Path::new("/root");
    let mut own = BTreeSet::from([home.to_owned()]);
    if recipe.user.is_some() {
        let volumes = recipe.binds.iter().filter_map(|bind| bind.target.parent());
        own.extend(
            volumes
                .flat_map(Path::ancestors)
                .filter(|path| path.starts_with(home))
                .map(Path::to_owned),
        );
    }
    let shared = ["/run", "/tmp"].map(|path| (path.to_owned(), "1777"));
    let own = own.iter().map(|path| (path.to_string_lossy().into_owned(), "0700"));
    shared.into_iter().chain(own).collect()
}

/// A bind as the value of `--mount`, which is a line of CSV.
fn mount(bind: &Bind) -> String {
    let quoted = |field: String| {
        if field.contains([',', '"']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field
        }
    };
    let mut fields = vec![
        "type=bind".to_owned(),
        quoted(format!("source={}", bind.source.display())),
        quoted(format!("target={}", bind.target.display())),
    ];
    if bind.read_only {
        fields.push("readonly".to_owned());
    }
    fields.join(",")
}
