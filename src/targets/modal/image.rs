//! Images that Modal builds: from the same lock, pinned and not bit-identical. And the programs in which
//! one is built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::Modal;
use super::app::Program;
use crate::digest::Digest;
use crate::fingerprint::{Fingerprint, Key};
use crate::lock::pylock::{LockedWheel, Sources};
use crate::spec::{Base, Image, ImageReference, Model};
use crate::step::{Fact, Facts, Observation, Outcome, StepError, StepId, Task};
use crate::targets::{Deployment, ImageToBuild, Images, Programs, Target};

/// Raise when the same settings come to make another image.
const VERSION: u32 = 1;

/// Wheels of this size and more are installed before the rest: they seldom change. In bytes.
const LARGE: u64 = 50 << 20;

/// An image that Modal is to build.
#[derive(Debug, Clone)]
pub(super) struct ImageDescription {
    /// Its name in the project.
    name: String,
    /// `debian-slim`, or a reference with its digest.
    base: String,
    /// Its Python.
    python: String,
    /// Debian packages besides, each as `name=version`.
    packages: Vec<String>,
    /// What is installed, each as a requirement with its hash; what is large first.
    requirements: Vec<Vec<String>>,
    /// The image's variables.
    environment: BTreeMap<String, String>,
    /// The version of Modal's image builder.
    builder: &'static str,
}

/// The uv that installs inside Modal's images.
const UV: &str = "0.13.9";

/// Each locked wheel of the hub's client for Modal's Debian, with its hash.
const HUB_REQUIREMENTS: &str = include_str!("runtime/hub-requirements.txt");

impl ImageDescription {
    /// The image as Modal's client is told of it.
    fn of(ImageToBuild { image, locked, python, wheels }: &ImageToBuild) -> Self {
        let (base, packages) = match &image.base {
            Base::Debian { packages, .. } => ("debian-slim".to_owned(), packages.as_slice()),
            Base::Registry(reference) => {
                let locked = locked.as_ref().and_then(|it| it.base.as_ref());
                let digest = reference.digest.or(locked.map(|base| base.digest));
                (pinned(reference, digest), [].as_slice())
            }
            Base::Layout(reference) => (reference.to_string(), [].as_slice()),
        };
        let locked = locked.as_ref().and_then(|it| it.debian.as_ref());
        let version = |name: &str| {
            let mut all = locked.iter().flat_map(|debian| &debian.packages);
            Some(all.find(|package| package.name == name)?.version.clone())
        };
        // In the version that Modal's Debian has: a locked one would be older, and refused.
        let there = there(image);
        let more = packages.iter().map(|it| &*it.value).filter(|it| !is_there_already(it, there));
        let packages = more.map(|name| match version(name) {
            Some(version) => format!("{name}={version}"),
            None => name.to_owned(),
        });
        let sources = Sources::of(&image.choosing);
        let requirement = |wheel: &&LockedWheel| match sources.index_of(&wheel.name) {
            // Modal's installer knows the default index alone.
            Some(_) => format!("{} @ {} --hash={}", wheel.name, wheel.url, wheel.sha256),
            None => format!("{}=={} --hash={}", wheel.name, wheel.version, wheel.sha256),
        };
        let (large, small): (Vec<_>, Vec<_>) =
            wheels.iter().partition(|wheel| wheel.size.is_some_and(|size| size >= LARGE));
        let groups = [large, small].into_iter().filter(|group| !group.is_empty());
        Self {
            name: image.name.to_string(),
            base,
            python: python.to_string(),
            packages: packages.collect(),
            requirements: groups.map(|group| group.iter().map(requirement).collect()).collect(),
            environment: image.env.clone(),
            builder: image_builder(image),
        }
    }

    fn data(&self) -> Value {
        json!({
            "base": self.base,
            "python": self.python,
            "packages": self.packages,
            "requirements": self.requirements,
            "environment": self.environment,
            "uv": UV,
        })
    }

    /// The small image that fetches from a hub.
    pub(super) fn of_the_hub() -> Value {
        json!({
            "base": "debian-slim",
            "python": "3.12",
            "packages": [],
            "requirements": [HUB_REQUIREMENTS.lines().collect::<Vec<_>>()],
            "environment": {},
            "uv": UV,
        })
    }
}

#[async_trait]
impl Images for Modal {
    fn note(&self) -> &'static str {
        "built by Modal: pinned, not bit-identical"
    }

    fn time_to_build(&self) -> Duration {
        super::price::BUILD
    }

    fn describe(&self, to_build: &ImageToBuild) -> Fingerprint {
        let ImageToBuild { image, python, wheels, .. } = to_build;
        let mut fingerprint = Fingerprint::new("modal-image", VERSION);
        fingerprint
            .field("target", self.name())
            .field("modal.environment", &self.settings.environment)
            .field("modal.image-builder", image_builder(image))
            .field("architecture", image.architecture.name())
            .field("python", python);
        describe_base(to_build, &mut fingerprint);
        for wheel in wheels {
            let version = format!("{} {}", wheel.version, wheel.sha256.hex());
            fingerprint.field(format_args!("wheel.{}", wheel.name), version);
        }
        for (name, value) in &image.env {
            fingerprint.field(format_args!("env.{name}"), value);
        }
        fingerprint
    }

    fn describe_pushed(&self, image: &str, fingerprint: &mut Fingerprint) {
        let registry = self.settings.registry.as_deref().unwrap_or_default();
        fingerprint
            .field("target.modal.registry", format_args!("{registry}/{image}"))
            .optional("target.modal.registry-secret", self.settings.registry_secret.as_ref())
            .field("modal.image-builder", super::driver::BUILDER);
    }

    fn observe(&self, key: Option<&Key>) -> Observation {
        if let Err(why) = &*self.world() {
            return Observation::Unobserved(Some(why.clone()));
        }
        let Some(key) = key else { return Observation::Unobserved(None) };
        match self.kept(|kept| kept.images.get(key).cloned()) {
            Some(id) => Observation::Present { key: *key, facts: image_facts(id) },
            None => Observation::Absent,
        }
    }

    async fn build(&self, image: &ImageToBuild, task: &Task) -> Result<Outcome, StepError> {
        let image = ImageDescription::of(image);
        self.settle_account(&task.reporter).await?;
        let directory = self.programs.join("images").join(&image.name);
        let about = format!("The image {}, as Modal builds it.", image.name);
        let file = Program::Image.write(&directory, &about, &image.data())?;
        task.reporter.message("Modal builds it");
        let request = json!({"file": file, "app": self.helper("image"), "builder": image.builder});
        let what = StepId::image(&image.name);
        let built = self.client.call(what.as_str(), "build", request, &task.reporter).await?;
        let id = built["id"].as_str().unwrap_or_default().to_owned();
        let kept = id.clone();
        self.keep(|it| drop(it.images.insert(task.key, kept)), &task.reporter).await?;
        Ok(Outcome { facts: image_facts(id), ..Outcome::default() })
    }
}

impl Programs for Modal {
    fn render(
        &self,
        deployment: &Deployment,
        image: Option<&ImageToBuild>,
    ) -> Vec<(PathBuf, String)> {
        let image = image.map(|image| ImageDescription::of(image).data());
        let mut programs = vec![(Program::Serve, self.serving(deployment))];
        programs.extend(
            deployment.warm_cache.map(|key| (Program::Warmup, self.warming(deployment, &key))),
        );
        let rendered = programs.into_iter().map(|(program, (about, mut data))| {
            if let Some(image) = &image {
                data["image"] = image.clone();
            }
            let path = PathBuf::from(&deployment.model).join(program.file());
            (path, program.render(&about, &data))
        });
        rendered.collect()
    }

    fn advice(&self, model: &Model, directory: &Path) -> String {
        let name = model.name.as_str();
        format!(
            "`modal deploy --env {} --name {} {}` deploys it, once its weights are in the volume",
            self.settings.environment,
            self.app(name),
            directory.join(name).join("serve.py").display(),
        )
    }
}

fn describe_base(ImageToBuild { image, locked, .. }: &ImageToBuild, fingerprint: &mut Fingerprint) {
    match &image.base {
        Base::Debian { suite, packages } => {
            fingerprint.field("base.debian", suite);
            let locked = locked.as_ref().and_then(|it| it.debian.as_ref());
            // Modal's Debian has what these need already, in versions of its own.
            for wanted in packages {
                let mut packages = locked.iter().flat_map(|debian| &debian.packages);
                let found = packages.find(|package| package.name == wanted.value);
                let label = format_args!("package.{}", wanted.value);
                fingerprint.optional(label, found.map(|package| &package.version));
            }
        }
        Base::Registry(reference) => {
            // A tag may move; what it was locked to does not.
            let locked = locked.as_ref().and_then(|it| it.base.as_ref());
            let digest = reference.digest.or(locked.map(|base| base.digest));
            fingerprint.field("base.image", reference).optional("base.digest", digest);
        }
        Base::Layout(reference) => {
            fingerprint.field("base.layout", reference);
        }
    }
}

fn image_facts(id: String) -> Facts {
    [Fact::IMAGE_ID.is(id)].into()
}

/// The version of Modal's image builder that is asked for, part of what an image it builds is.
///
/// From `modal/builder/base-images.json` of the client 1.6: 2025.06 builds on bookworm, 2026.10
/// on trixie. Images on other bases only take over the builder's own tools.
fn image_builder(image: &Image) -> &'static str {
    match &image.base {
        Base::Debian { suite, .. } if suite == "trixie" => "2026.10",
        _ => "2025.06",
    }
}

/// What Modal's Debian has, in the names of each release: its client makes it of the official slim Python
/// image with `apt-get install -y gcc gfortran build-essential` (`debian_slim` in `modal/_image.py` 1.6.4). So
/// it is what these depend on, what is essential, and what the Python image installs: `apt-cache depends
/// --recurse` of the release's archive, without second alternatives. Of trixie it has what is required there,
/// too, as `debootstrap --variant=minbase` installs it, and as `awk` what that takes, mawk.
const THERE: [(&str, &str); 2] = [
    ("2025.06", include_str!("runtime/debian-slim-bookworm.txt")),
    ("2026.10", include_str!("runtime/debian-slim-trixie.txt")),
];

/// What the Debian has on which an image is built.
fn there(image: &Image) -> &'static str {
    let builder = image_builder(image);
    THERE.iter().find(|(version, _)| *version == builder).map_or("", |(_, names)| *names)
}

/// Whether Modal's Debian, which brings a Python of its own, has what a package is for.
fn is_there_already(package: &str, there: &str) -> bool {
    package == "python3"
        || package.starts_with("python3-")
        || there.lines().any(|name| name == package)
}

/// A reference without its tag, by digest.
fn pinned(reference: &ImageReference, digest: Option<Digest>) -> String {
    match digest {
        Some(digest) => format!("{}/{}@{digest}", reference.registry, reference.repository),
        None => reference.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_modals_debian_has_gets_no_version_of_the_locks() {
        let [(_, bookworm), (_, trixie)] = THERE;
        for (there, own, others) in
            [(bookworm, "libssl3", "libssl3t64"), (trixie, "libssl3t64", "libssl3")]
        {
            for package in
                ["gcc", "libc6-dev", "libgomp1", "libstdc++6", "python3-dev", "zlib1g", own]
            {
                assert!(is_there_already(package, there), "{package}");
            }
            for package in ["git", "libnuma1", "ffmpeg", "python", "libpython3.11", "", others] {
                assert!(!is_there_already(package, there), "{package}");
            }
            assert!(there.lines().is_sorted());
        }
    }
}
