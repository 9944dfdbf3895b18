//! A project whose model is on a double of a hub.

use std::path::PathBuf;

use super::double::Content;
use super::hub::{COMMIT, HubDouble};
use super::project::{Project, Ran};

pub(crate) const SPEC: &str = "specs/tiny.toml";

/// The server of the fixture, which is what the hub's model consists of.
pub(crate) const SERVER: &str = include_str!("fixture/model/server.py");

/// No name of a commit that anything else has.
pub(crate) const NEXT: &str = "89abcdef0123456789abcdef0123456789abcdef";

pub(crate) const TOKEN: &str = "hf_thisIsTheSecretOfTheseTests";

pub(crate) const WEIGHTS: &str = "weights:acme/tiny";

pub(crate) const CONFIG: &str = r#"{"model_type": "qwen3", "hidden_size": 64}"#;

pub(crate) const NOTES: &str = "not wanted by everybody\n";

/// Large enough to be fetched in several ranges.
pub(crate) const LARGE: usize = 5 << 20;

/// A project whose model is on a double of a hub.
pub(crate) struct Hubbed {
    pub(crate) project: Project,
    pub(crate) hub: HubDouble,
    /// `HF_HOME`, in which nothing is.
    pub(crate) home: tempfile::TempDir,
}

impl Hubbed {
    /// `None`, loudly, when the fixture's image can't be had.
    pub(crate) fn new() -> Option<Self> {
        let mut project = Project::new()?;
        let hub = HubDouble::start();
        hub.small("acme/tiny", "config.json", CONFIG);
        hub.small("acme/tiny", "server.py", SERVER);
        hub.small("acme/tiny", "original/notes.txt", NOTES);
        hub.large("acme/tiny", "model.safetensors", &Content::noise(1, LARGE));
        let home = tempfile::tempdir().unwrap();
        project.variable("HF_ENDPOINT", &hub.url);
        project.variable("HF_HOME", home.path().to_str().unwrap());
        for unset in ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HUGGING_FACE_HUB_TOKEN"] {
            project.variable(unset, "");
        }
        // The user's own cache and token are at home, too.
        project.variable("HOME", home.path().to_str().unwrap());
        project.variable("XDG_CACHE_HOME", "");
        project.variable("GOATBUILD_HTTP_ATTEMPTS", "2");
        project.variable("GOATBUILD_HTTP_TIMEOUT", "5");
        let hubbed = Self { project, hub, home };
        hubbed.revision(Some(COMMIT));
        Some(hubbed)
    }

    /// Writes the model's source anew.
    pub(crate) fn revision(&self, revision: Option<&str>) {
        let revision = revision.map(|it| format!("revision = \"{it}\"\n")).unwrap_or_default();
        self.model(&format!("source = \"hf:acme/tiny\"\n{revision}"));
    }

    /// Writes the `[model]` section anew.
    pub(crate) fn model(&self, fields: &str) {
        let spec = self.project.read(SPEC);
        let (before, rest) = spec.split_once("[model]\n").unwrap();
        let (_, after) = rest.split_once("\n[").unwrap();
        self.project.write(SPEC, &format!("{before}[model]\n{fields}\n[{after}"));
    }

    pub(crate) fn run(&self, arguments: &str) -> Ran {
        self.project.run(arguments)
    }

    /// Puts the weights into the volume, and nothing else.
    pub(crate) fn place(&self) -> Ran {
        self.run(&format!("apply --only {WEIGHTS}"))
    }

    pub(crate) fn volume(&self) -> PathBuf {
        self.project.volumes().join("table-4c19d2-model-cache")
    }

    /// A file as an engine sees it.
    pub(crate) fn file(&self, commit: &str, path: &str) -> PathBuf {
        self.volume().join("hub/models--acme--tiny/snapshots").join(commit).join(path)
    }

    /// Every file that the volume holds under a final name of Hugging Face's layout.
    pub(crate) fn blobs(&self) -> Vec<String> {
        let blobs = std::fs::read_dir(self.volume().join("hub/models--acme--tiny/blobs"));
        let names = blobs.into_iter().flatten().flatten();
        let mut names: Vec<String> =
            names.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.retain(|name| [40, 64].contains(&name.len()));
        names.sort();
        names
    }

    /// What the last run of the weights is said to have come to: bytes fetched, bytes reused.
    #[track_caller]
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let why = self.run(&format!("why {WEIGHTS}")).exits(0).stdout;
        let of = |name: &str| {
            let mut lines = why.lines().map(str::trim);
            let line = lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            line.unwrap_or_else(|| panic!("no {name} in {why}"))
        };
        (of("bytes-fetched"), of("bytes-reused"))
    }
}
