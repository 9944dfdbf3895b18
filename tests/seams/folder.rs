//! A target that serves a model by writing a file into a directory, and builds an image by writing
//! another one.

use std::fs;
use std::path::PathBuf;

use async_trait::async_trait;
use goatbuild::fingerprint::{Change, Fingerprint, Key};
use goatbuild::hub::HashCache;
use goatbuild::plan::{PlannedModel, Unwanted};
use goatbuild::runtime::Check;
use goatbuild::spec::{Auth, Fields, Image, Model, Own, Takes, TargetType};
use goatbuild::step::{Fact, Facts, Observation, Outcome, StepError, StepId, Task};
use goatbuild::targets::{
    Deployment, ImageToBuild, Images, Live, Measured, Opening, Opens, PinnedRepository, Target,
    Weights,
};
use serde_json::{Value, json};

/// The directory, as files speak of it.
pub(super) struct FolderType;

/// `[target.folder] path`.
#[derive(Debug, PartialEq)]
struct Path(PathBuf);

/// `[serve] greeting`.
#[derive(Debug, PartialEq)]
struct Greeting(String);

impl TargetType for FolderType {
    fn name(&self) -> &'static str {
        "folder"
    }

    fn title(&self) -> &'static str {
        "a folder"
    }

    fn about(&self) -> &'static str {
        "A folder: files, and nothing that runs."
    }

    fn settings(&self, fields: &mut Fields<'_, '_, '_>) -> Own {
        let path = fields.text_or("path", "served", "Where the files are.");
        Own::new(Path(path.into()))
    }

    fn serve(&self, fields: &mut Fields<'_, '_, '_>) -> Own {
        Own::new(Greeting(fields.text_or("greeting", "", "What its file begins with.")))
    }

    fn auth(&self) -> Result<Auth, &'static str> {
        Err("for what is only written down")
    }

    fn takes(&self, _: &Own, _: &Image) -> Takes {
        Takes::Built
    }

    fn builds_images(&self) -> bool {
        true
    }
}

impl Opens for FolderType {
    fn open(&self, opening: &Opening<'_>) -> Option<Box<dyn Target>> {
        let Path(path) = opening.project.targets.of(self)?.get();
        Some(Box::new(Folder { path: path.clone() }))
    }
}

/// The directory.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn file(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.json"))
    }

    fn read(&self, name: &str) -> Option<Value> {
        serde_json::from_str(&fs::read_to_string(self.file(name)).ok()?).ok()
    }

    fn write(&self, name: &str, key: Key, value: &Value) -> Outcome {
        fs::create_dir_all(&self.path).unwrap();
        let sum = blake3::hash(value.to_string().as_bytes()).to_hex().to_string();
        let whole = json!({ "key": key.to_string(), "sum": sum, "value": value });
        fs::write(self.file(name), whole.to_string()).unwrap();
        Outcome { facts: facts(&sum), ..Outcome::default() }
    }

    fn observe(&self, name: &str, key: Option<&Key>) -> Observation {
        let Some(whole) = self.read(name) else { return Observation::Absent };
        let found: Key = whole["key"].as_str().unwrap().parse().unwrap();
        let sum = whole["sum"].as_str().unwrap();
        if key.is_some_and(|key| *key != found) {
            return Observation::Absent;
        }
        if blake3::hash(whole["value"].to_string().as_bytes()).to_hex().as_str() != sum {
            let field = "value".to_owned();
            return Observation::Drifted { changes: vec![Change { field, old: None, new: None }] };
        }
        Observation::Present { key: found, facts: facts(sum) }
    }
}

/// All that anybody consumes.
fn facts(sum: &str) -> Facts {
    ["image-id", "url", "instance"].map(|name| (name.to_owned(), sum.to_owned())).into()
}

#[async_trait]
impl Images for Folder {
    fn note(&self) -> &'static str {
        "written into a folder"
    }

    fn describe(&self, image: &ImageToBuild) -> Fingerprint {
        let mut fingerprint = Fingerprint::new("folder-image", 1);
        fingerprint.field("python", image.python);
        fingerprint
    }

    fn describe_pushed(&self, _: &str, _: &mut Fingerprint) {}

    fn observe(&self, key: Option<&Key>) -> Observation {
        self.observe("image", key)
    }

    async fn build(&self, image: &ImageToBuild, task: &Task) -> Result<Outcome, StepError> {
        Ok(self.write("image", task.key, &json!(image.image.name.to_string())))
    }
}

#[async_trait]
impl Target for Folder {
    fn name(&self) -> &'static str {
        FolderType.name()
    }

    fn plan_model(&self, model: &Model) -> PlannedModel {
        PlannedModel {
            model: model.name.to_string(),
            target: self.name().to_owned(),
            app: None,
            url: None,
            gpu: None,
            gpu_count: 0,
            usd_per_hour: None,
            notes: Vec::new(),
        }
    }

    fn describe(&self, model: &Model, fingerprint: &mut Fingerprint) {
        let Greeting(greeting) = model.serve.own.get();
        fingerprint.field("serve.greeting", greeting);
    }

    async fn check(&self, _: &[String]) -> Result<(), StepError> {
        Ok(())
    }

    async fn survey(&self) -> Result<Vec<Check>, StepError> {
        Ok(Vec::new())
    }

    async fn place(&self) -> Option<String> {
        Some(format!("served in {}", self.path.display()))
    }

    async fn look(&self) -> Result<(), StepError> {
        Ok(())
    }

    fn observe_weights(&self, pinned: &PinnedRepository, key: Option<&Key>) -> Observation {
        match self.observe("weights", key) {
            Observation::Present { key, .. } => Observation::Present { key, facts: pinned.facts() },
            other => other,
        }
    }

    async fn place_weights(
        &self,
        weights: &Weights,
        _: &dyn HashCache,
        task: &Task,
    ) -> Result<Outcome, StepError> {
        let facts = weights.pinned.facts();
        self.write("weights", task.key, &json!(facts));
        Ok(Outcome { facts, ..Outcome::default() })
    }

    fn observe_warmup(&self, _: &str, _: Option<&Key>) -> Observation {
        Observation::Absent
    }

    async fn warm_up(&self, deployment: &Deployment, _: &Task) -> Result<Outcome, StepError> {
        panic!("BUG: {} compiles nothing", deployment.model)
    }

    fn observe_deployment(&self, model: &str) -> Observation {
        self.observe(model, None)
    }

    fn predict_deployment(&self, _: &str, _: Option<u16>) -> Facts {
        Facts::new()
    }

    async fn deploy(&self, deployment: &Deployment, task: &Task) -> Result<Outcome, StepError> {
        let Greeting(greeting) = deployment.spec.serve.own.get();
        let command = (deployment.command)(&deployment.model, "nowhere", 0);
        let value = json!({ "greeting": greeting, "command": command });
        let Outcome { mut facts, evidence } = self.write(&deployment.model, task.key, &value);
        facts.extend([Fact::SERVED_NAME.is(&deployment.served_name)]);
        Ok(Outcome { facts, evidence })
    }

    fn observe_smoke(&self, _: &str) -> Observation {
        Observation::Absent
    }

    async fn passed_smoke(&self, _: &str, _: &str, _: Key, _: Measured) -> Result<(), StepError> {
        Ok(())
    }

    fn unwanted(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<Unwanted> {
        let gone = self.live().into_iter().filter(|live| !wanted(&live.model));
        gone.map(|live| Unwanted {
            id: StepId::deploy(&live.model),
            detail: live.url,
            model: live.model,
            absent: false,
        })
        .collect()
    }

    async fn remove(&self, model: &str) -> Result<(), StepError> {
        let _ = fs::remove_file(self.file(model));
        Ok(())
    }

    fn live(&self) -> Vec<Live> {
        let files = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let names = files.filter_map(|file| {
            let name = file.file_name().into_string().ok()?;
            name.strip_suffix(".json").map(str::to_owned)
        });
        let models = names.filter(|name| !["image", "weights"].contains(&name.as_str()));
        models
            .map(|model| Live {
                url: self.file(&model).display().to_string(),
                model,
                key: None,
                state: "running",
                pid: None,
                since: String::new(),
                version: None,
                replicas: None,
                auth: None,
                measured: None,
                detail: String::new(),
            })
            .collect()
    }

    fn log(&self, _: &str) -> Option<PathBuf> {
        None
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(self)
    }
}
