//! Bases from registries and layouts, and images pushed, with the real binary.

#![cfg(target_os = "linux")]

mod faults;
mod faulty;
mod pull;
mod push;

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use goatbuild::oci::{Compression, LayerRef};
use goatbuild::platform::Architecture;
use serde_json::{Value, json};
use support::peers;
use support::project::Project;
use support::registry::{Bases, DockerRegistry, USER, skopeo};

/// The files of the image whose base is asked for.
pub(crate) fn image_file(base: &str, more: &str) -> String {
    format!("base = \"{base}\"\nrequirements = []\n{more}")
}

/// The Debian base of the project's own image, as it was built: a real base with Python 3.11.
pub(crate) fn debian(project: &Project, bases: &Bases) -> LayerRef {
    let lock: toml::Value = toml::from_str(&project.read("goatbuild.lock")).expect("TOML");
    let facts = &lock["built"]["base:tiny"]["facts"];
    let fact = |name: &str| facts[name].as_str().expect("a fact").to_owned();
    let digest = fact("digest");
    bases.link(&project.root().join("cache/oci"), &digest);
    LayerRef {
        diff_id: fact("diff-id"),
        size: fact("size").parse().expect("a size"),
        digest,
        compression: Compression::Gzip,
        created_by: "debian".to_owned(),
    }
}

/// A project without anything in its cache but wheels, bases beside it, and a registry.
pub(crate) struct World {
    pub(crate) project: Project,
    pub(crate) bases: Bases,
    pub(crate) registry: DockerRegistry,
    pub(crate) debian: LayerRef,
}

impl World {
    /// `None`, loudly, when a peer can't be had.
    pub(crate) fn new(guarded: bool) -> Option<Self> {
        skopeo(&["--version"])?;
        let project = Project::new()?;
        let registry = if guarded { DockerRegistry::guarded() } else { DockerRegistry::open() }?;
        let bases = Bases::new(&peers::directory());
        let debian = debian(&project, &bases);
        bases.image("debian", Architecture::Amd64, vec![debian.clone()], &["FROM=base", "LANG=C"]);
        forget(&project);
        Some(Self { project, bases, registry, debian })
    }

    /// A reference in the registry.
    pub(crate) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host)
    }
}

/// Removes what the project built and locked, but not its wheels and their lock.
pub(crate) fn forget(project: &Project) {
    let _ = fs::remove_dir_all(project.root().join("cache/oci"));
    let _ = fs::remove_dir_all(project.root().join("cache/bases"));
    let _ = fs::remove_file(project.root().join("cache/state.db"));
    let _ = fs::remove_file(project.root().join("goatbuild.lock"));
}

/// The lock, as TOML.
pub(crate) fn locked(project: &Project) -> toml::Value {
    toml::from_str(&project.read("goatbuild.lock")).expect("TOML")
}

/// What `image inspect --json` says.
pub(crate) fn inspect(project: &Project) -> serde_json::Value {
    let ran = project.run("image inspect tiny --json").exits(0);
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// An image's environment.
pub(crate) fn environment(inspected: &serde_json::Value) -> BTreeMap<String, String> {
    let lines = inspected["config"]["Env"].as_array().expect("a list").iter();
    let split = |line: &serde_json::Value| {
        let line = line.as_str().expect("a line").to_owned();
        line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    lines.filter_map(split).collect()
}

/// Has this file as Docker's configuration.
pub(crate) fn configured(project: &mut Project, config: &Value) {
    let directory = project.root().with_file_name("docker");
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join("config.json"), config.to_string()).expect("a file");
    project.variable("DOCKER_CONFIG", &directory.display().to_string());
}

/// The entry of a user with a password, as `docker login` writes it.
pub(crate) fn entry(host: &str, password: &str) -> Value {
    let both = STANDARD.encode(format!("{USER}:{password}"));
    json!({ "auths": { host: { "auth": both } } })
}

/// Fails the test if any of these is in a file below the directory.
pub(crate) fn nowhere(directory: &Path, secrets: &[&str]) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            nowhere(&path, secrets);
            continue;
        }
        let bytes = fs::read(&path).expect("a file");
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{} holds a password", path.display());
        }
    }
}
