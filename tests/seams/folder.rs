//! A target that serves a model by writing a file into a directory, and builds an image by writing
//! another one. What it can do besides is in `capabilities`.

use std::fs;
use std::path::PathBuf;

use async_trait::async_trait;
use goatbuild::fingerprint::{Change, Fingerprint, Key};
use goatbuild::hub::HashCache;
use goatbuild::plan::{PlannedModel, Unwanted};
use goatbuild::runtime::Check;
use goatbuild::spec::{Fields, Image, Model, Own, Takes, TargetType};
use goatbuild::step::{Fact, Facts, Observation, Outcome, StepError, StepId, Task};
use goatbuild::targets::{
    Candidates, Deployment, ImageToBuild, Images, Leases, Live, Measured, Opening, Opens,
    PinnedRepository, Target, Versions, Weights,
};
use serde_json::{Value, json};

/// The directory, as files speak of it.
pub(super) struct FolderType;

/// `[target.folder]`.
#[derive(Debug, PartialEq)]
struct Settings {
    path: PathBuf,
    /// Who answers for what is in its files.
    url: String,
}

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
        let path = fields.text_or("path", "served", "Where the files are.").into();
        let url = fields.text_or("url", "nowhere", "Who answers for them.");
        Own::new(Settings { path, url })
    }

    fn serve(&self, fields: &mut Fields<'_, '_, '_>) -> Own {
        Own::new(Greeting(fields.text_or("greeting", "", "What its file begins with.")))
    }

    fn takes(&self, _: &Own, _: &Image) -> Takes {
        Takes::Built
    }

    fn builds_images(&self) -> bool {
        true
    }

    fn has_candidates(&self) -> bool {
        true
    }
}

impl Opens for FolderType {
    fn open(&self, opening: &Opening<'_>) -> Option<Box<dyn Target>> {
        let Settings { path, url } = opening.project.targets.of(self)?.get();
        Some(Box::new(Folder { path: path.clone(), url: url.clone() }))
    }
}

/// The directory.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    url: String,
}

impl Folder {
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.json"))
    }

    fn read(&self, name: &str) -> Option<Value> {
        serde_json::from_str(&fs::read_to_string(self.file(name)).ok()?).ok()
    }

    /// Writes a file; `more` is known of it beside its digest.
    fn write(&self, name: &str, key: Key, value: &Value, more: Facts) -> Facts {
        let sum = blake3::hash(value.to_string().as_bytes()).to_hex().to_string();
        let mut facts: Facts =
            ["image-id", "url", "instance"].map(|name| (name.to_owned(), sum.clone())).into();
        facts.extend(more);
        let whole = json!({ "key": key.to_string(), "sum": sum, "value": value, "facts": facts });
        fs::create_dir_all(self.file(name).parent().unwrap()).unwrap();
        fs::write(self.file(name), whole.to_string()).unwrap();
        facts
    }

    /// Writes the file of a model, whatever it is called; says so in the journal.
    pub(super) fn serve(&self, name: &str, deployment: &Deployment, task: &Task) -> Facts {
        let Greeting(greeting) = deployment.spec.serve.own.get();
        let command = (deployment.command)(&deployment.model, "nowhere", 0, None);
        let value = json!({ "greeting": greeting, "command": command });
        let url = format!("{}/{name}/{greeting}/v1", self.url);
        let more = [Fact::URL.is(&url), Fact::SERVED_NAME.is(&deployment.served_name)].into();
        let facts = self.write(name, task.key, &value, more);
        self.tell(&format!("serves {greeting} as {name}"));
        facts
    }

    pub(super) fn observe(&self, name: &str, key: Option<&Key>) -> Observation {
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
        let facts = serde_json::from_value(whole["facts"].clone()).unwrap();
        Observation::Present { key: found, facts }
    }
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
        let name = json!(image.image.name.to_string());
        let facts = self.write("image", task.key, &name, Facts::new());
        Ok(Outcome { facts, ..Outcome::default() })
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
            always_on: None,
            in_reserve: 0,
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
        self.write("weights", task.key, &json!(facts), Facts::new());
        Ok(Outcome { facts, ..Outcome::default() })
    }

    fn observe_warmup(&self, _: &str, _: Option<&Key>) -> Observation {
        Observation::Absent
    }

    async fn warm_up(&self, deployment: &Deployment, _: &Task) -> Result<Outcome, StepError> {
        panic!("BUG: {} compiles nothing", deployment.model)
    }

    fn observe_deployment(&self, model: &str) -> Observation {
        match (self.observe(model, None), self.held(model)) {
            (Observation::Present { facts, .. }, Some(note)) => Observation::Held { facts, note },
            (seen, _) => seen,
        }
    }

    fn predict_deployment(&self, _: &Model) -> Facts {
        Facts::new()
    }

    async fn deploy(&self, deployment: &Deployment, task: &Task) -> Result<Outcome, StepError> {
        let facts = self.serve(&deployment.model, deployment, task);
        self.keep(&deployment.model);
        Ok(Outcome { facts, ..Outcome::default() })
    }

    fn observe_smoke(&self, model: &str) -> Observation {
        let passed = fs::read_to_string(self.path.join("passed").join(model)).unwrap_or_default();
        match (passed.split_once(' '), self.observe(model, None)) {
            (Some((key, instance)), Observation::Present { facts, .. })
                if Fact::INSTANCE.text_of(&facts) == instance =>
            {
                let facts = [Fact::INSTANCE.is(instance)].into();
                Observation::Present { key: key.parse().unwrap(), facts }
            }
            _ => Observation::Absent,
        }
    }

    async fn passed_smoke(
        &self,
        model: &str,
        instance: &str,
        key: Key,
        _: Measured,
    ) -> Result<(), StepError> {
        fs::create_dir_all(self.path.join("passed")).unwrap();
        fs::write(self.path.join("passed").join(model), format!("{key} {instance}")).unwrap();
        Ok(())
    }

    fn failed_deployment(&self, model: &str) -> Option<Key> {
        self.failed(model)
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
                told: None,
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

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }

    fn versions(&self) -> Option<&dyn Versions> {
        Some(self)
    }

    fn candidates(&self) -> Option<&dyn Candidates> {
        Some(self)
    }
}
