//! `weights:<org/name or path>`: a model's files, verified, in the target's model cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use miette::Diagnostic;
use thiserror::Error;

use super::{AllPlaced, Placed};
use crate::digest::hex;
use crate::engine::PinnedFile;
use crate::event::Reporter;
use crate::fingerprint::Fingerprint;
use crate::hub::{FileDigest, Hub, HubError, Manifest, RemoteFile};
use crate::lock::LockedRepository;
use crate::spec::{FilePatterns, HubSource, Model, ModelSource, TargetType};
use crate::step::{
    Facts, Head, Inputs, Observation, Outcome, Resource, Step, StepError, StepId, Task, Wanted,
};
use crate::store::Store;
use crate::targets::{PinnedRepository, Target, Targets, Weights, WeightsOrigin};
use crate::workspace::{LockCell, Network, Workspace};

/// Raise when the same files come to lie otherwise in a volume.
const VERSION: u32 = 1;

/// The patterns leave nothing of a repository.
#[derive(Debug, Error, Diagnostic)]
#[error("`allow` and `ignore` leave no file of {repository} at {commit}")]
#[diagnostic(code(goatbuild::spec::no_files), help("it has {some}; `*` also stands for `/`"))]
struct NothingWanted {
    repository: String,
    commit: String,
    some: String,
}

/// What a step puts into a volume. Sources that come to the same share a step: two branches that
/// stand at one commit, say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Content {
    /// A directory of the project.
    Directory(String),
    /// A part of a commit on a hub.
    Commit(HubCommit),
    /// What a branch or tag on a hub stands for, which the lock doesn't say.
    Unlocked(HubSource),
    /// A file that an engine loads besides.
    File(PinnedFile),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct HubCommit {
    repository: String,
    commit: String,
    files: FilePatterns,
}

/// Who needs the same weights at the same target.
#[derive(Default)]
struct Users<'a> {
    sources: BTreeSet<&'a ModelSource>,
    models: Vec<String>,
}

/// Makes a step for all weights that a model or a draft needs.
pub(super) fn compile<'a>(
    workspace: &'a Workspace,
    reporter: &Reporter,
    steps: &mut Vec<Arc<dyn Step>>,
) -> Result<AllPlaced<'a>, StepError> {
    let mut users: BTreeMap<(Content, &'static dyn TargetType), Users<'_>> = BTreeMap::new();
    for model in workspace.project.models.values() {
        for source in model.sources() {
            let place = (content(&workspace.lock, source), model.target);
            let Users { sources, models } = users.entry(place).or_default();
            sources.insert(source);
            if models.last().is_none_or(|last| *last != model.name.as_str()) {
                models.push(model.name.to_string());
            }
        }
        for file in model.engine.kind.files(model, &workspace.engine_of(model)) {
            let users = users.entry((Content::File(*file), model.target)).or_default();
            users.models.push(model.name.to_string());
        }
    }
    let contents: Vec<&Content> = users.keys().map(|(content, _)| content).collect();
    let commits: BTreeSet<&HubCommit> = contents.iter().filter_map(|it| it.commit()).collect();
    let mut placed = AllPlaced::default();
    for ((content, target), Users { sources, models }) in &users {
        let mut name = match content {
            Content::Directory(path) => path.clone(),
            Content::Commit(commit) => commit.name(&commits),
            // Another part of the repository may be locked, and have its name.
            Content::Unlocked(source) if commits.iter().any(|it| it.is_of(source)) => {
                source.to_string()
            }
            Content::Unlocked(source) => source.repository.clone(),
            Content::File(file) => file.name.to_owned(),
        };
        if contents.iter().filter(|other| **other == content).count() > 1 {
            name = format!("{name}@{target}");
        }
        let id = StepId::weights(name);
        let step = match content {
            Content::Directory(path) => Weigh::directory(workspace, id, path, models, reporter)?,
            Content::Commit(commit) => {
                let revisions = sources.iter().filter_map(|source| source.hub());
                let revisions = revisions.map(|source| source.revision.clone()).collect();
                Weigh::commit(workspace, id, commit, revisions, models)?
            }
            Content::Unlocked(source) => Weigh::unlocked(workspace, id, source, models),
            Content::File(file) => Weigh::file(workspace, id, *file, models),
        };
        let place =
            || Placed { step: step.id().clone(), repository: step.pinned.repository.clone() };
        if let Content::File(file) = content {
            placed.files.insert((*target, file.name), place());
        }
        for source in sources {
            placed.sources.insert((*target, *source), place());
        }
        steps.push(Arc::new(step));
    }
    Ok(placed)
}

fn content(lock: &LockCell, source: &ModelSource) -> Content {
    match source {
        ModelSource::Path(path) => Content::Directory(path.clone()),
        ModelSource::Hub(source) => {
            let HubSource { repository, files, .. } = source.clone();
            match lock.commit(source) {
                Some(commit) => Content::Commit(HubCommit { repository, commit, files }),
                None => Content::Unlocked(source.clone()),
            }
        }
    }
}

impl Content {
    fn commit(&self) -> Option<&HubCommit> {
        match self {
            Self::Directory(_) | Self::Unlocked(_) | Self::File(_) => None,
            Self::Commit(commit) => Some(commit),
        }
    }
}

impl HubCommit {
    fn is_of(&self, source: &HubSource) -> bool {
        self.repository == source.repository
    }

    /// The repository's name, and as much more as tells this part of it from `all` others.
    fn name(&self, all: &BTreeSet<&Self>) -> String {
        let same: Vec<_> = all.iter().filter(|it| it.repository == self.repository).collect();
        if same.len() < 2 {
            return self.repository.clone();
        }
        let name = format!("{}@{}", self.repository, &self.commit[..8]);
        let parts = same.iter().filter(|it| it.commit == self.commit).count();
        if parts < 2 || self.files.is_everything() {
            return name;
        }
        let FilePatterns { allow, ignore } = &self.files;
        let patterns = blake3::hash(format!("{allow:?} {ignore:?}").as_bytes());
        format!("{name}-{}", hex(&patterns.as_bytes()[..4]))
    }
}

struct Weigh {
    targets: Arc<Targets>,
    network: Arc<Network>,
    store: Arc<Store>,
    lock: Arc<LockCell>,
    /// Whether the lock is to stay as it is.
    is_locked: bool,
    /// A model that they are for: where it is served, they are needed.
    model: Arc<Model>,
    head: Head,
    pinned: PinnedRepository,
    source: Source,
}

enum Source {
    Directory {
        from: PathBuf,
        manifest: Manifest,
    },
    /// What stands here for nothing yet.
    Unlocked(HubSource),
    Hub {
        /// The branches, tags and commits that are meant.
        revisions: BTreeSet<String>,
        files: FilePatterns,
    },
    /// A file with an address of its own.
    File(PinnedFile),
}

/// A file in the words of a hub's lists.
fn listed(file: &PinnedFile) -> RemoteFile {
    let digest = FileDigest::sha256(file.sha256)
        .unwrap_or_else(|error| panic!("BUG: {} is pinned by {error}", file.name));
    RemoteFile { path: file.file.to_owned(), size: file.size, digest }
}

impl Weigh {
    fn new(workspace: &Workspace, head: Head, pinned: PinnedRepository, source: Source) -> Self {
        let model = head.models.first().and_then(|name| workspace.project.models.get(&**name));
        let model = model.unwrap_or_else(|| panic!("BUG: {} is needed by no model", head.id));
        let mut step = Self {
            targets: Arc::clone(&workspace.targets),
            network: Arc::clone(&workspace.network),
            store: Arc::clone(&workspace.store),
            lock: Arc::clone(&workspace.lock),
            is_locked: workspace.settings.locked,
            model: Arc::clone(model),
            head,
            pinned,
            source,
        };
        step.head.errand = step.target().time_to_fetch(step.bytes());
        step
    }

    /// How much it is, where that is known.
    fn bytes(&self) -> Option<u64> {
        match &self.source {
            Source::Hub { files, .. } => {
                Some(self.locked()?.wanted(files).map(|file| file.size).sum())
            }
            Source::File(file) => Some(file.size),
            Source::Directory { .. } | Source::Unlocked(_) => None,
        }
    }

    fn directory(
        workspace: &Workspace,
        id: StepId,
        path: &str,
        models: &[String],
        reporter: &Reporter,
    ) -> Result<Self, StepError> {
        let manifest = workspace.manifests.of(path, reporter)?;
        let name: String =
            path.chars().map(|letter| if letter == '/' { '-' } else { letter }).collect();
        let pinned = PinnedRepository {
            // No organisation on a hub is called so by accident: its models are not fetched here.
            repository: format!("local/{}", name.trim_matches('-')),
            commit: manifest.commit(),
        };
        let head = Head::effect(id, Resource::Disk, models);
        let source = Source::Directory { from: workspace.root.join(path), manifest };
        Ok(Self::new(workspace, head, pinned, source))
    }

    fn file(workspace: &Workspace, id: StepId, file: PinnedFile, models: &[String]) -> Self {
        // Whatever stands for a commit has as many digits.
        let (repository, commit) = (file.name.to_owned(), file.sha256[..40].to_owned());
        let head = Head::effect(id, Resource::Network, models);
        Self::new(workspace, head, PinnedRepository { repository, commit }, Source::File(file))
    }

    fn unlocked(workspace: &Workspace, id: StepId, source: &HubSource, models: &[String]) -> Self {
        let (repository, commit) = (source.repository.clone(), String::new());
        let head = Head::effect(id, Resource::Network, models);
        let pinned = PinnedRepository { repository, commit };
        Self::new(workspace, head, pinned, Source::Unlocked(source.clone()))
    }

    fn commit(
        workspace: &Workspace,
        id: StepId,
        content: &HubCommit,
        revisions: BTreeSet<String>,
        models: &[String],
    ) -> Result<Self, StepError> {
        let HubCommit { repository, commit, files } = content.clone();
        let pinned = PinnedRepository { repository, commit };
        let head = Head::effect(id, Resource::Network, models);
        let source = Source::Hub { revisions, files };
        let step = Self::new(workspace, head, pinned, source);
        if let (Some(locked), Source::Hub { files, .. }) = (step.locked(), &step.source) {
            step.wanted(&locked, files)?;
        }
        Ok(step)
    }

    fn target(&self) -> &dyn Target {
        self.targets.of(&self.model)
    }

    /// What the lock knows of the commit.
    fn locked(&self) -> Option<LockedRepository> {
        let PinnedRepository { repository, commit } = &self.pinned;
        self.lock.read(|lock| {
            let of_repository = |name: &str| name.split('@').next() == Some(repository);
            let mut entries = lock.hub.iter().filter(|(name, _)| of_repository(name));
            entries.find(|(_, locked)| locked.commit == *commit).map(|(_, locked)| locked.clone())
        })
    }

    /// The files of the commit: as locked, else as the hub lists them now, which is then locked.
    async fn listed(&self, hub: &Hub) -> Result<LockedRepository, StepError> {
        if let Some(locked) = self.locked() {
            return Ok(locked);
        }
        let PinnedRepository { repository, commit } = &self.pinned;
        let (listed, _) = hub.listing(repository, commit).await?;
        if listed.commit != *commit {
            return Err(HubError::Changed {
                repository: repository.clone(),
                path: "the list of files".to_owned(),
                what: "commit",
                listed: commit.clone(),
                found: listed.commit,
            }
            .into());
        }
        if !self.is_locked {
            let (name, entry) = (format!("{repository}@{commit}"), listed.clone());
            self.lock.change(|lock| drop(lock.hub.insert(name, entry)))?;
        }
        Ok(listed)
    }

    fn wanted(
        &self,
        listed: &LockedRepository,
        files: &FilePatterns,
    ) -> Result<Vec<RemoteFile>, NothingWanted> {
        let wanted: Vec<_> = listed.wanted(files).cloned().collect();
        if wanted.is_empty() {
            let PinnedRepository { repository, commit } = self.pinned.clone();
            let some = listed.files.iter().map(|file| &*file.path).take(8);
            let some = some.collect::<Vec<_>>().join(", ");
            return Err(NothingWanted { repository, commit, some });
        }
        Ok(wanted)
    }
}

#[async_trait]
impl Step for Weigh {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, _: &Inputs) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("weights", VERSION);
        fingerprint
            .field("target", self.target().name())
            .field("repository", &self.pinned.repository)
            .field("model.revision", &self.pinned.commit);
        if let Source::Hub { files, .. } = &self.source {
            for (key, patterns) in files.fields() {
                fingerprint.field(format_args!("model.{key}"), patterns);
            }
        }
        fingerprint
    }

    fn predict(&self) -> Facts {
        self.pinned.facts()
    }

    fn unlocked(&self) -> Option<String> {
        match &self.source {
            Source::Unlocked(source) => Some(format!("hf:{source}")),
            Source::Directory { .. } | Source::Hub { .. } | Source::File(_) => None,
        }
    }

    fn exclusive(&self) -> Option<String> {
        Some(format!("volume:{}", self.pinned.repository))
    }

    fn observe(&self, wanted: Option<Wanted<'_>>) -> Observation {
        self.target().observe_weights(&self.pinned, wanted.map(|wanted| wanted.key))
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let origin = match &self.source {
            Source::Directory { from, manifest } => {
                WeightsOrigin::Directory { manifest: manifest.clone(), from: from.clone() }
            }
            Source::Unlocked(source) => panic!("BUG: hf:{source} was not refused"),
            Source::File(pinned) => WeightsOrigin::File {
                pinned: *pinned,
                file: listed(pinned),
                mirror: self.network.files_mirror.clone(),
                fetcher: self.network.fetcher.clone(),
            },
            Source::Hub { revisions, files } => {
                let hub = self.network.hub()?.telling(&task.reporter);
                let listed = self.listed(&hub).await?;
                let files = self.wanted(&listed, files)?;
                // As what needs a token was looked up before: by what is known of any revision.
                let repository = &self.pinned.repository;
                let access = self.lock.read(|lock| lock.access(repository)).or(listed.access);
                let branches = revisions.iter().filter(|name| **name != self.pinned.commit);
                WeightsOrigin::Hub { hub, branches: branches.cloned().collect(), access, files }
            }
        };
        let weights = Weights { pinned: self.pinned.clone(), origin };
        self.target().place_weights(&weights, &*self.store, task).await
    }
}
