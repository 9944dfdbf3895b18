//! An engine that knows one flag, keeps what it makes in a volume of its own, and is planned, applied,
//! found changed and removed like any other once a line names it.

use std::collections::BTreeMap;
use std::fs;

use goatbuild::engine::{Cache, Engine, FlagProblem, Serving, Subject};
use goatbuild::ops::{destroy, open};
use goatbuild::plan::Action;
use goatbuild::plan::saved::Request;
use goatbuild::spec::{Model, Value};

use super::{Silent, applied, did, planned, project, site};

pub(super) struct Echo;

const CACHES: [Cache; 1] = [Cache { volume: "echo-cache", mount: "/root/.cache/echo" }];

impl Engine for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn title(&self) -> &'static str {
        "Echo"
    }

    fn caches(&self) -> &'static [Cache] {
        &CACHES
    }

    fn check(&self, model: &Model) -> Vec<FlagProblem> {
        let unknown = model.engine.flags.keys().filter(|flag| *flag != "voice");
        let problem = |flag: &String| FlagProblem {
            subject: Subject::Flag(flag.clone()),
            message: format!("Echo has no flag `{flag}`"),
            help: "it has `voice`".to_owned(),
        };
        unknown.map(problem).collect()
    }

    fn compiles(&self, _: &Model) -> bool {
        false
    }

    fn command(&self, model: &Model, serving: &Serving<'_>) -> Vec<String> {
        let voice = match model.engine.flags.get("voice").map(|flag| &flag.value) {
            Some(Value::String(voice)) => voice,
            _ => "plain",
        };
        ["echo-server", serving.weights, "--voice", voice].map(str::to_owned).into()
    }

    fn environment(&self, mounts: &[&str]) -> BTreeMap<String, String> {
        [("ECHO_CACHE".to_owned(), mounts.concat())].into()
    }

    fn health(&self, _: &Model) -> String {
        "/up".to_owned()
    }

    fn lists_served_name(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_registered_in_one_line_is_planned_applied_found_changed_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    project(root);
    let spec = root.join("specs/m.toml");
    let text = fs::read_to_string(&spec).unwrap();
    let others = text.find("[engine]").unwrap()..text.find("[serve]").unwrap();
    let with = |flag: &str| {
        let mut edited = text.clone();
        edited.replace_range(others.clone(), &format!("[engine]\nname = \"echo\"\n{flag}\n"));
        fs::write(&spec, edited).unwrap();
    };
    let (site, all) = (site(root), Request::default());

    with("vioce = \"low\"");
    let error = open::whole(&site).unwrap_err();
    assert!(format!("{error:?}").contains("Echo has no flag `vioce`"), "{error:?}");

    with("voice = \"low\"");
    assert!(matches!(did(&planned(&site, &all).await, "deploy:m"), Action::Run | Action::Pending));
    applied(&site, all.clone()).await;
    let served = root.join("served/m.json");
    let text_of = || fs::read_to_string(&served).unwrap();
    assert!(text_of().contains("echo-server") && text_of().contains("low"), "{}", text_of());
    assert_eq!(did(&planned(&site, &all).await, "deploy:m"), Action::Fresh);
    let workspace = open::whole(&site).unwrap();
    let model = &workspace.project.models["m"];
    let volumes: Vec<&str> =
        workspace.project.volumes_of(model).map(|(name, _)| name.as_str()).collect();
    assert_eq!(volumes, ["echo-cache", "model-cache"], "no other engine's");
    drop(workspace);

    // Its flag is part of the key.
    with("voice = \"high\"");
    assert_eq!(did(&planned(&site, &all).await, "deploy:m"), Action::Run);
    applied(&site, all.clone()).await;

    // Somebody meddled with what is served.
    fs::write(&served, text_of().replace("high", "shrill")).unwrap();
    assert_eq!(did(&planned(&site, &all).await, "deploy:m"), Action::Run);
    applied(&site, all.clone()).await;
    assert!(text_of().contains("high"), "{}", text_of());

    fs::remove_file(&spec).unwrap();
    assert_eq!(did(&planned(&site, &all).await, "deploy:m"), Action::Remove);
    destroy::destroy(&site, &Silent(None), "m", false, true).await.unwrap();
    assert!(!served.exists());
}
