//! `build:<image>/<package>`: a package of the project's own, built in the image's base without a
//! network, kept as a wheel and as a layer.

mod backend;
mod error;
pub(super) mod place;
mod root;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::base::{LAYER_FACTS, has_layer, layer_facts};
use super::bottom::{Wanted, layer};
use super::wheels::Downloaded;
use crate::blocking::blocking;
use crate::digest::hex;
use crate::fingerprint::Fingerprint;
use crate::leftovers::Scratch;
use crate::platform::Runtime;
use crate::python::SourceEntry;
use crate::runtime;
use crate::spec::{self, ImageName};
use crate::step::{
    Fact, Facts, Head, Input, Inputs, Outcome, Resource, Step, StepError, StepId, StepKind, Task,
};
use crate::wheel::{self, Content, Scheme, WheelFile};
use crate::words;
use crate::workspace::{BUILDS, Cache, LockedPackage, LockedParts, Workspace};
use backend::Built;
use error::BuildError;
use root::Root;

/// Raise when the same sources come to make another layer.
const VERSION: u32 = 1;

/// The facts that an image needs of a package that was built.
pub(super) const FACTS: &[Fact] =
    &[Fact::DIGEST, Fact::DIFF_ID, Fact::SIZE, Fact::WHEEL, Fact::WHEEL_DIGEST];

/// So many files are told apart when one of them changes.
const TOLD_APART: usize = 500;

/// The earliest time that a zip archive can hold, and so the earliest for sources: 1980.
const ZIP_EPOCH: u64 = 315_532_800;

pub(super) struct Build {
    cache: Arc<Cache>,
    head: Head,
    image: spec::Image,
    runtime: Runtime,
    package: LockedPackage,
    requirements: Downloaded,
    epoch: u64,
    supervisor: PathBuf,
}

/// The steps of an image's own packages. `base` is what makes its base, and `python` the Python that
/// it adds.
pub(super) fn packages(
    workspace: &Workspace,
    image: &ImageName,
    models: &[String],
    base: &Input,
    python: Option<&StepId>,
) -> Vec<Build> {
    let LockedParts { runtime, local, .. } = workspace.images.parts(image);
    let python = python.map(|step| Input::blobs(step.clone(), LAYER_FACTS));
    let inputs: Vec<Input> = std::iter::once(base.clone()).chain(python).collect();
    let build = |package: LockedPackage| Build {
        cache: Arc::clone(&workspace.cache),
        head: Head::pure(StepId::build(image, &package.name), Resource::Cpu, models)
            .taking(inputs.clone()),
        image: workspace.project.images[image].clone(),
        runtime,
        requirements: Downloaded::new(workspace, package.wheels.clone()),
        package,
        epoch: workspace.settings.epoch,
        supervisor: workspace.settings.program.clone(),
    };
    local.into_iter().map(build).collect()
}

/// The wheel that a step has built, as its facts tell of it.
pub(super) fn wheel_of(
    cache: &Cache,
    step: &StepId,
    inputs: &Inputs,
) -> Result<WheelFile, StepError> {
    let digest = inputs.digest(step, Fact::WHEEL_DIGEST)?;
    let path = cache.layout()?.blobs().path(digest);
    Ok(WheelFile::alone(path, inputs.fact(step, Fact::WHEEL)))
}

impl Build {
    /// Builds the package twice, and makes a layer of what came of it first.
    async fn make(&self, task: &Task) -> Result<Outcome, StepError> {
        let reporter = &task.reporter;
        reporter.message("fetching what builds it");
        let files = self.requirements.fetch(task).await?;
        let root = self.root(files, task).await?;
        let name = &self.package.name;
        reporter.message(format!("building {name}"));
        let first = self.build(&root, false, task).await?;
        reporter.message(format!("building {name} once more, to see whether it is the same"));
        let second = self.build(&root, true, task).await?;
        if let Some(told) = unlike(name, &first.content, &second.content) {
            reporter.notice(told);
        }
        let (cache, scheme) = (Arc::clone(&self.cache), self.scheme());
        let reporter = reporter.clone();
        blocking(move || {
            let layout = cache.layout()?;
            let mut kept = layout.blobs().writer()?;
            let mut packed = File::open(&first.packed).map_err(BuildError::file(&first.packed))?;
            std::io::copy(&mut packed, &mut kept).map_err(BuildError::file(&first.packed))?;
            let (digest, _) = kept.commit()?;
            let filename = first.filename.clone();
            let wheel = WheelFile::alone(layout.blobs().path(digest), &filename);
            let mut blob = layout.blobs().layer_writer()?;
            let layer = wheel::build_layer(&[wheel], &scheme, &mut blob, &reporter)?;
            blob.commit(&layer)?;
            let mut facts = layer_facts(&layer);
            facts.extend([Fact::WHEEL.is(filename), Fact::WHEEL_DIGEST.is(digest)]);
            Ok(Outcome { facts, evidence: Facts::new() })
        })
        .await
    }

    fn scheme(&self) -> Scheme {
        Scheme { python: self.runtime.python, epoch: self.epoch }
    }

    /// What it is built in: the base and its Python, with what builds it.
    async fn root(&self, files: Vec<WheelFile>, task: &Task) -> Result<Root, StepError> {
        let layout = self.cache.layout()?;
        let [base, python @ ..] = self.inputs() else { panic!("BUG: built on nothing") };
        let wanted = Wanted { image: &self.image, runtime: self.runtime };
        let bottom = wanted.of(&self.cache, base, &layout, &task.inputs)?;
        let python = python
            .iter()
            .map(|input| layer(input, "python".to_owned(), &task.inputs).map_err(StepError::from));
        let python = python.collect::<Result<Vec<_>, _>>()?;
        let (architecture, scheme) = (self.image.architecture, self.scheme());
        let (roots, reporter) = (self.cache.roots(), task.reporter.clone());
        blocking(move || {
            root::unpack(&layout, &roots, architecture, scheme, (bottom, python), &files, &reporter)
        })
        .await
    }

    /// Builds it from a private copy of its sources, for the second time from one that was made
    /// otherwise.
    async fn build(&self, root: &Root, again: bool, task: &Task) -> Result<Built, StepError> {
        let within = self.cache.temporary();
        let sources = Arc::clone(&self.package.sources);
        let time = self.epoch.max(ZIP_EPOCH);
        let place = blocking(move || {
            std::fs::create_dir_all(&within).map_err(BuildError::file(&within))?;
            let place = Scratch::make(&within, BUILDS).map_err(BuildError::file(&within))?;
            for directory in ["source", "wheel"] {
                let directory = place.path().join(directory);
                std::fs::create_dir(&directory).map_err(BuildError::file(&directory))?;
            }
            sources.copy(&place.path().join("source"), time, again)?;
            Ok::<_, StepError>(place)
        })
        .await?;
        let step = self.id().clone();
        let sandbox = backend::sandbox(root, place.path(), &self.package, time);
        // However long that takes: nobody knows better than who waits for it.
        let output =
            runtime::run(&sandbox, Duration::MAX, &self.supervisor, &task.reporter).await?;
        let package = self.package.clone();
        blocking(move || backend::built(place, &package, &step, &output)).await
    }

    fn has_wheel(&self, facts: &Facts) -> bool {
        match (self.cache.layout(), Fact::WHEEL_DIGEST.digest_of(facts)) {
            (Ok(layout), Some(digest)) => layout.blobs().has(digest),
            _ => false,
        }
    }
}

/// What is told of two builds of the same sources that are not the same.
fn unlike(package: &str, first: &Content, second: &Content) -> Option<String> {
    let differing = wheel::differing(first, second);
    (!differing.is_empty()).then(|| {
        let named = words::some(&differing);
        format!("{package} is not reproducible: two builds differ in {named}; the first is kept")
    })
}

#[async_trait]
impl Step for Build {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, inputs: &Inputs) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("build", VERSION);
        fingerprint
            .field("layout", wheel::LAYOUT_VERSION)
            .field("python", self.runtime.python)
            .field("source-date-epoch", self.epoch);
        for input in self.inputs() {
            let kind = input.step.kind().map(StepKind::word).unwrap_or_default();
            let digest = inputs.fact(&input.step, Fact::DIGEST);
            fingerprint.field(format!("layer.{kind}"), digest);
        }
        for wheel in &self.package.wheels {
            let version = format!("{} {}", wheel.version, wheel.sha256.hex());
            fingerprint.field(format!("requires.{}", wheel.name), version);
        }
        let entries = &self.package.sources.entries;
        if entries.len() <= TOLD_APART {
            for (name, entry) in entries {
                fingerprint.field(format!("source.{name}"), told(entry));
            }
        } else {
            let mut hasher = blake3::Hasher::new();
            for (name, entry) in entries {
                for part in [name, &told(entry)] {
                    hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
                }
            }
            fingerprint.field("sources", hex(&hasher.finalize().as_bytes()[..16]));
        }
        fingerprint
    }

    fn has_blobs(&self, facts: &Facts) -> bool {
        has_layer(&self.cache, facts) && self.has_wheel(facts)
    }

    fn may_differ(&self) -> bool {
        true
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        match self.make(task).await {
            Err(error) if self.requirements.were_damaged(&error, task).await? => {
                self.make(task).await
            }
            made => made,
        }
    }
}

/// A source as a key and its reasons have it.
fn told(entry: &SourceEntry) -> String {
    match entry {
        SourceEntry::File { digest, executable: false } => digest.clone(),
        SourceEntry::File { digest, executable: true } => format!("{digest}, executable"),
        SourceEntry::Link(to) => format!("→ {}", Path::new(to).display()),
    }
}
