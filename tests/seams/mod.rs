//! What is registered in one line is planned, applied, found changed and removed by the code that the
//! commands use: a target that serves by writing files into a directory, and an engine with one flag.

mod capabilities;
mod changes;
mod engine;
mod folder;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::Echo;
use folder::FolderType;
use goatbuild::debian::Mirrors;
use goatbuild::engine::Engines;
use goatbuild::engines::command::Command;
use goatbuild::event::Reporter;
use goatbuild::exec::Interrupt;
use goatbuild::fetch::Patience;
use goatbuild::lock::pylock::{PythonRequest, Sources};
use goatbuild::ops::agreed::Agreed;
use goatbuild::ops::apply::Asked;
use goatbuild::ops::open::Site;
use goatbuild::ops::{End, Events, Frontend, Work, apply, destroy, plan};
use goatbuild::plan::saved::Request;
use goatbuild::plan::{Action, Plan};
use goatbuild::platform::{Architecture, MajorMinor, Runtime};
use goatbuild::targets::{Openers, Opens};
use goatbuild::workspace::Settings;

/// The one line of an engine.
const ENGINES: Engines = Engines::new(&[&Command, &Echo]);

/// The one line of a target.
const KINDS: &[&dyn Opens] = &[&FolderType];

/// Agrees to everything, and looks at nothing but a file that it removes when it is told to wait.
struct Silent(Option<PathBuf>);

impl Frontend for Silent {
    fn note(&self, text: &str) {
        if let Some(file) = self.0.as_ref().filter(|_| text.starts_with("waiting for another")) {
            fs::remove_file(file).unwrap();
        }
    }

    fn confirm(&self, _: &str) -> Option<bool> {
        Some(true)
    }

    fn progress(&self, _: Work) -> (Reporter, End) {
        (Reporter::silent(), Box::new(|| ()))
    }

    fn planned(&self, _: &Plan) {}

    fn events(&self, _: usize) -> (Events, End) {
        (Arc::new(|_| ()), Box::new(|| ()))
    }
}

fn site(root: &Path) -> Site {
    Site {
        directory: Some(root.to_owned()),
        environment: None,
        settings: Settings {
            offline: true,
            locked: false,
            state: root.join("state"),
            program: root.join("goatbuild"),
            epoch: 0,
            patience: Patience::default(),
            mirrors: Mirrors::default(),
            files_mirror: None,
            credentials: Vec::new(),
            engines: ENGINES,
            targets: Openers::new(KINDS),
            variable: |_| None,
            hub: || panic!("no hub is asked"),
        },
        patience: Duration::ZERO,
        ci_run: None,
    }
}

/// A project with one model, whose image no one has to resolve.
fn project(root: &Path) {
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let folder = root.join("served");
    write(
        "goatbuild.toml",
        &format!("[project]\nid = \"seams-1\"\n[target.folder]\npath = \"{}\"\n", folder.display()),
    );
    write(
        "specs/m.toml",
        "image = \"i\"\n[model]\nsource = \"path:weights\"\n[engine]\nname = \"command\"\n\
         command = [\"serve\"]\n[serve]\nsmoke = \"never\"\ngreeting = \"hello\"\n",
    );
    let digest = "0".repeat(64);
    write(
        "images/i.toml",
        &format!(
            "base = \"registry.lan/base@sha256:{digest}\"\npython = \"3.12\"\nglibc = \"2.35\"\n"
        ),
    );
    let version = |major, minor| MajorMinor { major, minor };
    let runtime = Runtime {
        architecture: Architecture::Amd64,
        glibc: version(2, 35),
        python: version(3, 12),
    };
    let (requirements, overrides) = (Vec::new(), Vec::new());
    let request = PythonRequest {
        image: "i".to_owned(),
        requirements,
        overrides,
        sources: Sources::default(),
        runtime,
    };
    let digest = request.digest();
    let runtime = toml::Value::try_from(runtime).unwrap();
    write(
        "images/i.pylock.toml",
        &format!(
            "lock-version = \"1.0\"\npackages = []\n[tool.goatbuild]\nrequest = {digest:?}\n\
             runtime = {runtime}\n"
        ),
    );
    write("weights/model.safetensors", "weights");
}

/// What a plan of the project does, step by step.
async fn planned(site: &Site, request: &Request) -> Vec<(String, Action)> {
    let workspace = goatbuild::ops::open::whole(site).unwrap();
    let options = plan::settling(&workspace, request);
    let planned = plan::plan(&workspace, &Silent(None), request, options).await.unwrap();
    planned.plan.steps.iter().map(|step| (step.id.to_string(), step.action)).collect()
}

async fn applied(site: &Site, request: Request) {
    let agreed = Agreed { all: true, ..Agreed::default() };
    let asked = Asked { request, refresh: false, agreed, keep_going: false };
    let applied = apply::apply(site, &Silent(None), asked, &Interrupt::default()).await.unwrap();
    assert!(applied.report.failed.is_empty(), "{:?}", applied.report.failed);
}

fn did(steps: &[(String, Action)], step: &str) -> Action {
    let found = steps.iter().find(|(id, _)| id == step);
    found.unwrap_or_else(|| panic!("no {step} in {steps:?}")).1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_registered_in_one_line_is_planned_applied_found_changed_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    project(root);
    let (site, all) = (site(root), Request::default());
    let everything = ["weights:weights", "image:i", "deploy:m"];

    let steps = planned(&site, &all).await;
    for step in everything {
        assert!(matches!(did(&steps, step), Action::Run | Action::Pending), "{steps:?}");
    }
    applied(&site, all.clone()).await;
    let served = root.join("served/m.json");
    let text = fs::read_to_string(&served).unwrap();
    assert!(text.contains("hello") && text.contains("serve"), "{text}");
    let steps = planned(&site, &all).await;
    for step in everything {
        assert_eq!(did(&steps, step), Action::Fresh, "{steps:?}");
    }

    // Its own field of [serve] is part of the key.
    let spec = root.join("specs/m.toml");
    let edited = fs::read_to_string(&spec).unwrap().replace("hello", "good day");
    fs::write(&spec, edited).unwrap();
    assert_eq!(did(&planned(&site, &all).await, "deploy:m"), Action::Run);
    applied(&site, all.clone()).await;

    // Somebody meddled with what is served.
    let text = fs::read_to_string(&served).unwrap();
    fs::write(&served, text.replace("good day", "good night")).unwrap();
    assert_eq!(did(&planned(&site, &all).await, "deploy:m"), Action::Run);
    applied(&site, all.clone()).await;
    assert!(fs::read_to_string(&served).unwrap().contains("good day"));

    // Without a spec, it goes when it is asked to, and otherwise by name.
    fs::remove_file(&spec).unwrap();
    assert_eq!(did(&planned(&site, &all).await, "deploy:m"), Action::Remove);
    destroy::destroy(&site, &Silent(None), "m", false, true).await.unwrap();
    assert!(!served.exists());
}

/// A mistake in a target's own settings is told like any other.
#[test]
fn its_own_fields_are_read_and_published() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    project(root);
    let file = root.join("goatbuild.toml");
    let text = fs::read_to_string(&file).unwrap().replace("path =", "paht =");
    fs::write(&file, text).unwrap();
    let error = goatbuild::ops::open::whole(&site(root)).unwrap_err();
    assert!(format!("{error:?}").contains("did you mean `path`"), "{error:?}");
    let targets = Openers::new(KINDS).types();
    let kinds = goatbuild::spec::Kinds { targets, ..goatbuild::project::kinds() };
    let schema = goatbuild::spec::Document::Spec.schema(&kinds);
    assert!(schema.contains("\"greeting\"") && !schema.contains("min-containers"), "{schema}");
}
