//! What is needed: by a spec of any environment, by what is deployed, by the last runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::container::Loaded;
use crate::digest::Digest;
use crate::fingerprint::Key;
use crate::lock::LockFile;
use crate::oci::{Layout, OciError};
use crate::plan::Plan;
use crate::step::{Fact, Facts, Subject};
use crate::store::Recent;
use crate::workspace::{LockedParts, Workspace};

/// No index, manifest or configuration is larger; most layers are.
const LARGEST_DOCUMENT: u64 = 4 << 20;

/// What is needed.
#[derive(Debug, Clone, Default)]
pub struct Needed {
    digests: BTreeSet<Digest>,
    keys: BTreeSet<Key>,
    /// Those that specs ask for, and so in volumes of their own environments.
    planned: BTreeSet<Key>,
    /// Steps of the specs, each with its environment: what stands for them counts.
    steps: BTreeSet<(String, String)>,
    /// File names below `cache/wheels`, `cache/debs`, `cache/scripts` and `cache/pythons`.
    downloads: BTreeSet<String>,
    /// Repositories with a commit, or with none where all may be needed; and the keys of the steps of
    /// the specs that put it into a volume.
    weights: BTreeMap<(String, String), BTreeSet<Key>>,
    /// Digests of all files of a repository's commit, in hexadecimal, where the lock lists them.
    listed: BTreeMap<(String, String), BTreeSet<String>>,
    /// Environments, `""` for the default one, each with a name as the target knows it.
    volumes: BTreeSet<(String, String)>,
    /// What targets on this machine wrote down of their deployments: what it names is in use.
    deployed: String,
}

impl Needed {
    /// Adds what one environment asks for.
    pub fn add_environment(&mut self, workspace: &Workspace, plan: &Plan) {
        let project = &workspace.project;
        let environment = project.environment.as_ref().map_or("", |name| name.as_str());
        for step in &plan.steps {
            self.keys.extend(step.key);
            self.planned.extend(step.key);
            self.steps.insert((environment.to_owned(), step.id.to_string()));
            let is_weights = matches!(step.id.subject(), Subject::Weights(_));
            self.add_facts(&step.facts, step.key.filter(|_| is_weights));
        }
        for (name, image) in &project.images {
            let LockedParts { wheels, local, .. } = workspace.images.parts(name);
            let all = wheels.iter().chain(local.iter().flat_map(|package| &package.wheels));
            self.downloads.extend(all.map(|wheel| format!("{}.whl", wheel.sha256.hex())));
            // One that a killed pull began with is not in the lock.
            let origin = workspace.registries.origin(image);
            self.digests.extend(origin.and_then(|origin| origin.pinned()));
        }
        workspace.lock.read(|lock| self.add_lock(lock));
        let volumes = project.volumes.values();
        self.volumes.extend(volumes.map(|volume| (environment.to_owned(), volume.name.clone())));
    }

    pub(super) fn add_lock(&mut self, lock: &LockFile) {
        for image in lock.images.values() {
            let packages = image.debian.iter().flat_map(|debian| &debian.packages);
            self.downloads.extend(packages.map(|package| package.sha256.hex()));
            let python =
                image.python.iter().map(|python| format!("python-{}", python.sha256.hex()));
            self.downloads.extend(python);
            if let Some(base) = &image.base {
                self.digests.extend([base.digest].into_iter().chain(base.index));
                self.digests.extend(base.layers.iter().map(|layer| layer.digest));
            }
        }
        for (name, locked) in &lock.hub {
            let repository = name.split('@').next().unwrap_or(name);
            let files = locked.files.iter().map(|file| file.digest.hex());
            self.listed.insert((repository.to_owned(), locked.commit.clone()), files.collect());
        }
    }

    /// Whether a spec of the environment asks for the step.
    pub fn has_step(&self, environment: &str, step: &str) -> bool {
        self.steps.contains(&(environment.to_owned(), step.to_owned()))
    }

    /// Adds what stands, and what the last runs made or tried.
    pub fn add_past(&mut self, recent: &Recent) {
        self.keys.extend(&recent.keys);
        recent.facts.iter().for_each(|facts| self.add_facts(facts, None));
    }

    /// Adds what is deployed, as its target wrote it down.
    pub fn add_deployed(&mut self, text: &str) {
        let digits = |letter: char| !letter.is_ascii_hexdigit();
        self.digests.extend(text.split(digits).filter_map(|digits| Digest::from_hex(digits).ok()));
        self.deployed.push_str(text);
    }

    /// Keys of all that is needed.
    pub fn keys(&self) -> &BTreeSet<Key> {
        &self.keys
    }

    fn add_facts(&mut self, facts: &Facts, puts: Option<Key>) {
        self.digests.extend(facts.values().filter_map(|value| value.parse::<Digest>().ok()));
        if let (Some(repository), Some(commit)) =
            (Fact::REPOSITORY.of(facts), Fact::COMMIT.of(facts))
        {
            self.add_weights(repository, commit, puts);
        }
    }

    pub(super) fn add_weights(&mut self, repository: &str, commit: &str, puts: Option<Key>) {
        let weights = (repository.to_owned(), commit.to_owned());
        self.weights.entry(weights).or_default().extend(puts);
    }

    /// Adds all that needed documents name: manifests, configurations, layers. Call it once all else
    /// was added.
    pub fn add_parts(&mut self, layout: &Layout) -> Result<(), OciError> {
        let mut todo: Vec<Digest> = self.digests.iter().copied().collect();
        while let Some(digest) = todo.pop() {
            let blobs = layout.blobs();
            if !blobs.has(digest) || blobs.len(digest)? > LARGEST_DOCUMENT {
                continue;
            }
            let bytes = match blobs.read(digest) {
                // What is damaged names nothing.
                Err(OciError::Damaged { .. }) => continue,
                read => read?,
            };
            for named in named(&bytes) {
                if self.digests.insert(named) {
                    todo.push(named);
                }
            }
        }
        Ok(())
    }

    /// Whether a blob or an unpacked image is needed.
    pub(super) fn needs_digest(&self, digest: Digest) -> bool {
        self.digests.contains(&digest)
    }

    /// Whether an image that an engine has is needed.
    pub fn needs_loaded(&self, image: &Loaded) -> bool {
        self.digests.iter().any(|digest| image.is_of(*digest))
    }

    /// Whether a wheel, a package or a Python is needed, by its file's name.
    pub(super) fn needs_download(&self, name: &str) -> bool {
        self.downloads.contains(name)
    }

    /// The environments that have a volume of this name, `""` for the default one.
    pub fn with_volume(&self, name: &str) -> impl Iterator<Item = &str> {
        let with = self.volumes.iter().filter(move |(_, known)| known == name);
        with.map(|(environment, _)| environment.as_str())
    }

    /// Whether what is deployed has this directory.
    pub(super) fn is_deployed(&self, directory: &Path) -> bool {
        // As JSON spells it, in which it is written down.
        let named = serde_json::to_string(directory).unwrap_or_default();
        let named = named.trim_end_matches('"');
        let mut in_use = self.deployed.match_indices(named);
        let ends = |at: usize| self.deployed[at..].starts_with(['"', '/']);
        in_use.any(|(at, _)| ends(at + named.len()))
            || self.is_deployed_under_another_name(directory)
    }

    /// Whether a path that is written down leads there by links.
    fn is_deployed_under_another_name(&self, directory: &Path) -> bool {
        let Ok(directory) = directory.canonicalize() else { return false };
        let written = self.deployed.split('"').filter(|text| text.starts_with('/'));
        let paths = written.filter_map(|path| Path::new(path).canonicalize().ok());
        paths.into_iter().any(|path| path.starts_with(&directory))
    }

    /// Whether any of a repository is needed.
    pub(super) fn needs_repository(&self, repository: &str) -> bool {
        self.weights.keys().any(|(known, _)| known == repository)
    }

    /// Whether a repository's commit is needed.
    pub(super) fn needs_weights(&self, repository: &str, commit: &str) -> bool {
        let has =
            |commit: &str| self.weights.contains_key(&(repository.to_owned(), commit.to_owned()));
        has(commit) || has("") || self.deployed.contains(commit)
    }

    /// The commits of a repository that are needed, `""` for one that isn't known yet; each with the
    /// keys of the steps of the specs that put it into a volume.
    pub(super) fn commits(&self, repository: &str) -> impl Iterator<Item = (&str, &BTreeSet<Key>)> {
        let of = self.weights.iter().filter(move |((known, _), _)| known == repository);
        of.map(|((_, commit), puts)| (commit.as_str(), puts))
    }

    /// Digests of a commit's files, where they are listed.
    pub(super) fn files(&self, repository: &str, commit: &str) -> Option<&BTreeSet<String>> {
        self.listed.get(&(repository.to_owned(), commit.to_owned()))
    }

    /// Whether a key is needed for what the last runs made, and no spec asks for it.
    pub(super) fn is_past(&self, key: &str) -> bool {
        self.needs_key(key) && !key.parse().is_ok_and(|key: Key| self.planned.contains(&key))
    }

    pub(super) fn needs_key(&self, key: &str) -> bool {
        key.parse().is_ok_and(|key: Key| self.keys.contains(&key)) || self.deployed.contains(key)
    }
}

/// The digests that an index or a manifest names.
fn named(document: &[u8]) -> Vec<Digest> {
    let Ok(document) = serde_json::from_slice::<Value>(document) else { return Vec::new() };
    let lists = ["manifests", "layers"].iter().filter_map(|name| document[*name].as_array());
    let all = lists.flatten().chain([&document["config"]]);
    all.filter_map(|entry| entry["digest"].as_str()?.parse().ok()).collect()
}
