//! Bases from registries and layouts, and images pushed, with the real binary.

#![cfg(target_os = "linux")]

mod disk;
mod faults;
mod faulty;
mod layout;
mod mount;
mod peers;
mod pull;
mod push;
mod python;
mod secrets;
mod settings;

use crate::support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use goatbuild::oci::LayerRef;
use goatbuild::platform::Architecture;
use serde_json::{Value, json};
use support::peers as programs;
use support::project::Project;
use support::registry::{Bases, DockerRegistry, USER, debian, forget, image_file, skopeo};

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
        let bases = Bases::new(&programs::directory());
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
