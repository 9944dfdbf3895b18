//! `deploy:<model>`: a model, served at its target.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::started::{Lying, Started, started};
use super::{AllPlaced, Placed, REQUESTS, candidate, engine_resource, image_there};
use crate::engine::{Engine, Locked};
use crate::engines::json;
use crate::fingerprint::{Fingerprint, Key};
use crate::spec::{Api, ImageReference, Located, Model, Project, Rollout, Smoke, Value};
use crate::step::{
    Adoptable, Edge, EngineUse, Fact, Facts, Head, Input, Inputs, Observation, Outcome, Step,
    StepError, StepId, Task, Wanted,
};
use crate::targets::{Deployment, PinnedRepository, Target, Targets};
use crate::workspace::{Registries, Workspace};

/// Raise when the same settings come to mean another deployment.
const VERSION: u32 = 2;

/// What deploying and warming up a model share.
#[derive(Clone)]
pub(super) struct ModelToServe {
    pub(super) project: Arc<Project>,
    pub(super) targets: Arc<Targets>,
    registries: Arc<Registries>,
    /// The engine in its image.
    locked: Arc<Locked>,
    pub(super) model: Arc<Model>,
    /// What it is asked for.
    pub(super) api: Api,
    pub(super) image: ImageInput,
    pub(super) weights: Placed,
    pub(super) draft: Option<Placed>,
    /// What its flags name, by the value that names it.
    named: Vec<(String, Placed)>,
    /// What its engine loads besides, by the variable that says where that is.
    files: Vec<(&'static str, Placed)>,
}

/// The image that serves, as its target takes it.
#[derive(Clone)]
pub(super) enum ImageInput {
    /// Out of the cache on this machine, by digest.
    Cached(StepId),
    /// Out of a registry, by digest, once it was pushed there.
    Pushed {
        /// What made it.
        image: StepId,
        /// What pushed it.
        push: StepId,
    },
    /// The target has built it, and has a name of its own for it.
    There(StepId),
}

impl ImageInput {
    fn step(&self) -> &StepId {
        match self {
            Self::Cached(step) | Self::There(step) | Self::Pushed { image: step, .. } => step,
        }
    }

    fn facts(&self) -> &'static [Fact] {
        match self {
            Self::Cached(_) | Self::Pushed { .. } => &[Fact::DIGEST],
            Self::There(_) => image_there::FACTS,
        }
    }

    fn inputs(&self) -> Vec<Input> {
        let facts = Input::facts(self.step().clone(), self.facts());
        match self {
            Self::Cached(_) => vec![Input { blobs: true, ..facts }],
            Self::There(_) => vec![facts],
            Self::Pushed { push, .. } => {
                vec![facts, Input { step: push.clone(), edge: Edge::Order, blobs: false }]
            }
        }
    }

    /// What identifies it.
    fn identity<'a>(&self, inputs: &'a Inputs) -> &'a str {
        inputs.fact(self.step(), self.facts()[0])
    }
}

const WEIGHTS_FACTS: &[Fact] = &[Fact::COMMIT];

impl ModelToServe {
    pub(super) fn new(
        workspace: &Workspace,
        model: &Arc<Model>,
        image: ImageInput,
        weights: &AllPlaced<'_>,
    ) -> Self {
        let placed = |source| weights.source(model, source).clone();
        let locked = Arc::new(workspace.engine_of(model));
        let files = model.engine.kind.files(model, &locked).iter();
        Self {
            project: Arc::clone(&workspace.project),
            targets: Arc::clone(&workspace.targets),
            registries: Arc::clone(&workspace.registries),
            files: files.map(|it| (it.variable, weights.file(model, it).clone())).collect(),
            locked,
            api: workspace.api_of(model),
            model: Arc::clone(model),
            image,
            weights: placed(&model.source),
            draft: model.draft.as_ref().map(|draft| placed(&draft.source)),
            named: model.named.iter().map(|it| (it.flag.clone(), placed(&it.source))).collect(),
        }
    }

    pub(super) fn target(&self) -> &dyn Target {
        self.targets.of(&self.model)
    }

    pub(super) fn inputs(&self) -> Vec<Input> {
        // A draft that is the model itself is no second input.
        let others = self.draft.iter().chain(self.named.iter().map(|(_, placed)| placed));
        let others = others.chain(self.files.iter().map(|(_, placed)| placed));
        let mut weights = vec![&self.weights.step];
        for Placed { step, .. } in others {
            if !weights.contains(&step) {
                weights.push(step);
            }
        }
        let weights = weights.into_iter().map(|step| Input::facts(step.clone(), WEIGHTS_FACTS));
        self.image.inputs().into_iter().chain(weights).collect()
    }

    /// The head of a step that starts this model's engine.
    pub(super) fn head(&self, id: StepId, inputs: Vec<Input>, engine: EngineUse) -> Head {
        let resource = engine_resource(&self.model);
        let head = Head::effect(id, resource, &[self.model.name.to_string()]).taking(inputs);
        Head { engine: Some(engine), ..head }
    }

    /// Everything that can change what is compiled; also part of what is deployed.
    pub(super) fn describe_compiled(&self, inputs: &Inputs, fingerprint: &mut Fingerprint) {
        self.describe_place(inputs, fingerprint);
        self.describe_flags(inputs, fingerprint, |engine, flag| engine.reaches_compile_key(flag));
        for (at, argument) in self.model.engine.extra_args.iter().enumerate() {
            fingerprint.field(format_args!("engine.extra-args.{at}"), &argument.text);
        }
        for (name, value) in &self.model.env {
            fingerprint.field(format_args!("env.{name}"), value);
        }
        fingerprint
            .field("serve.fast-boot", self.model.serve.fast_boot)
            // The engine is another one then, warmed up or not.
            .optional("serve.snapshot", self.model.serve.snapshot.then_some(true));
        if let Some(hardware) = &self.model.hardware {
            fingerprint
                .field("hardware.gpu", &hardware.gpu)
                .field("hardware.count", hardware.count)
                .optional("hardware.exact", hardware.exact.then_some(true));
        }
    }

    /// How a deployment takes the place of what stands where nothing says it: what somebody else made
    /// is what clients rely on, so that nothing replaces it that wasn't tried out.
    fn default_rollout(&self) -> Rollout {
        let target = self.target();
        let can_try = target.candidates().is_some() && self.model.serve.smoke != Smoke::Never;
        match target.observe_deployment(self.model.name.as_str()) {
            Observation::Foreign { adoptable: Adoptable::Yes, .. } if can_try => Rollout::Candidate,
            _ => Rollout::InPlace,
        }
    }

    fn describe_place(&self, inputs: &Inputs, fingerprint: &mut Fingerprint) {
        let engine = self.model.engine.kind.name();
        fingerprint
            .field("target", self.target().name())
            .field("image", self.image.identity(inputs))
            .field("engine.name", engine);
        let model = Some(("model", &self.weights, &self.model.source));
        let draft = self.draft.as_ref().zip(self.model.draft.as_ref());
        let draft = draft.map(|(placed, draft)| ("draft", placed, &draft.source));
        for (table, placed, source) in model.into_iter().chain(draft) {
            fingerprint
                .field(format_args!("{table}.source"), &placed.repository)
                .field(format_args!("{table}.revision"), inputs.fact(&placed.step, Fact::COMMIT));
            if let Some(source) = source.hub() {
                for (key, patterns) in source.files.fields() {
                    fingerprint.field(format_args!("{table}.{key}"), patterns);
                }
            }
        }
        if let Some(draft) = &self.model.draft {
            fingerprint
                .field("draft.method", &draft.method)
                .field("draft.num-speculative-tokens", draft.num_speculative_tokens);
        }
        if let Some(command) = &self.model.engine.command {
            let words: Vec<Value> = command.command.iter().cloned().map(Value::String).collect();
            fingerprint
                .field("engine.command", json(&Value::Array(words)))
                .field("engine.health", &command.health);
        }
        for (name, volume) in self.project.volumes_of(&self.model) {
            let place = format_args!("{} at {}", volume.name, volume.mount);
            fingerprint.field(format_args!("volumes.{name}"), place);
        }
    }

    fn describe_flags(
        &self,
        inputs: &Inputs,
        fingerprint: &mut Fingerprint,
        wanted: impl Fn(&dyn Engine, &str) -> bool,
    ) {
        let engine = self.model.engine.kind;
        for (flag, value) in &self.model.engine.flags {
            if wanted(engine, flag) {
                fingerprint.field(format_args!("engine.{flag}"), json(&value.value));
            }
        }
        for (value, placed) in &self.named {
            let flag = value.split('.').next().unwrap_or(value);
            if wanted(engine, flag) {
                fingerprint.field(format_args!("engine.{value}.source"), &placed.repository).field(
                    format_args!("engine.{value}.revision"),
                    inputs.fact(&placed.step, Fact::COMMIT),
                );
            }
        }
    }

    /// What it takes of secrets, and how often those were replaced, but for what its target tells itself.
    fn describe_secrets(&self, fingerprint: &mut Fingerprint) {
        for (variable, Located { value: secret, .. }) in &self.model.secret_env {
            let generation = self.project.secrets.get(secret).map_or(1, |it| it.generation);
            let label = format!("secrets.{secret}.generation");
            if fingerprint.get(&label).is_none() {
                fingerprint.field(label, generation);
            }
            fingerprint.field(format_args!("secret-env.{variable}"), secret);
        }
    }

    /// The reference that an image is taken by which was pushed.
    fn image_from(&self, inputs: &Inputs) -> Option<String> {
        let ImageInput::Pushed { .. } = &self.image else { return None };
        let repository = self.registries.pushed(&self.model.image.value);
        let ImageReference { registry, repository, .. } = repository;
        Some(format!("{registry}/{repository}@{}", self.image.identity(inputs)))
    }

    /// The name that the deployment of this key alone is to answer to: where others go on answering for
    /// a while, and the engine takes one more. It is in no key, since it is one.
    pub(super) fn mark(&self, key: Key) -> Option<String> {
        let is_told = self.model.engine.kind.takes_several_names();
        (is_told && self.target().rolling().is_some()).then(|| key.to_string())
    }

    pub(super) fn deployment(&self, inputs: &Inputs, warm_cache: Option<Key>) -> Deployment {
        let model = Arc::clone(&self.model);
        let engine = model.engine.kind;
        let placed = |placed: &Placed| {
            let commit = inputs.fact(&placed.step, Fact::COMMIT).to_owned();
            PinnedRepository { repository: placed.repository.clone(), commit }
        };
        let lying = Lying {
            weights: placed(&self.weights),
            draft: self.draft.as_ref().map(placed),
            named: self.named.iter().map(|(value, it)| (value.clone(), placed(it))).collect(),
            files: self.files.iter().map(|(variable, it)| (*variable, placed(it))).collect(),
        };
        let weights = lying.weights.clone();
        let Started { environment, command } = started(&self.project, &self.locked, &model, lying);
        Deployment {
            model: model.name.to_string(),
            spec: Arc::clone(&model),
            api: self.api,
            image: self.image.identity(inputs).to_owned(),
            image_name: model.image.value.to_string(),
            image_from: self.image_from(inputs),
            gpu: model.hardware.is_some(),
            weights,
            served_name: model.serve.served_names.first().to_owned(),
            mark: None,
            environment,
            port: model.serve.port.as_ref().map(|port| port.value),
            health: engine.health(&model),
            startup_timeout: model.serve.startup_timeout,
            warm_cache,
            cache_factors: engine.cache_factors(),
            graphs: engine.graphs(),
            command,
        }
    }
}

pub(super) struct Deploy {
    serving: ModelToServe,
    head: Head,
    warms: bool,
    rollout: Rollout,
}

impl Deploy {
    pub(super) fn new(serving: ModelToServe, warmup: Option<&StepId>) -> Self {
        let mut inputs = serving.inputs();
        inputs.extend(warmup.map(|step| Input {
            step: step.clone(),
            edge: Edge::Order,
            blobs: false,
        }));
        let serve = &serving.model.serve;
        let rollout = serve.rollout.unwrap_or_else(|| serving.default_rollout());
        let note = serving.target().note(&serving.model, rollout);
        let engine = match rollout {
            Rollout::InPlace => EngineUse { starts: true, asks: false, busy: Duration::ZERO },
            // Its candidate starts, too, and is stopped right away.
            Rollout::Candidate => {
                EngineUse { starts: true, asks: true, busy: serve.startup_timeout + REQUESTS }
            }
        };
        let head = serving.head(StepId::deploy(&serving.model.name), inputs, engine);
        Self { head: Head { note, ..head }, warms: warmup.is_some(), rollout, serving }
    }
}

#[async_trait]
impl Step for Deploy {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, inputs: &Inputs) -> Fingerprint {
        let serve = &self.serving.model.serve;
        let mut fingerprint = Fingerprint::new("deploy", VERSION);
        self.serving.describe_compiled(inputs, &mut fingerprint);
        self.serving.describe_flags(inputs, &mut fingerprint, |engine, flag| {
            !engine.reaches_compile_key(flag)
        });
        // Whatever is compiled is the same with other words.
        for (variable, placed) in &self.serving.files {
            let label = format_args!("env.{variable}");
            fingerprint.field(label, inputs.fact(&placed.step, Fact::COMMIT));
        }
        let project = &self.serving.project;
        fingerprint
            .field("project", project.owner())
            .field("serve.served-name", &serve.served_names);
        let heeded = |label: &str| !self.serving.model.target.ignores().contains(&label);
        for (label, value) in [
            ("serve.max-inputs", serve.max_inputs.to_string()),
            ("serve.scaledown-window", format!("{:?}", serve.scaledown_window)),
            ("serve.timeout", format!("{:?}", serve.timeout)),
        ] {
            fingerprint.optional(label, heeded(label).then_some(value));
        }
        fingerprint.optional("serve.port", serve.port.as_ref().map(|port| port.value));
        self.serving.target().describe(&self.serving.model, &mut fingerprint);
        self.serving.describe_secrets(&mut fingerprint);
        if let ImageInput::Pushed { .. } = &self.serving.image {
            // The same image from elsewhere is another program.
            let images = image_there::images(self.serving.target());
            images.describe_pushed(self.serving.model.image.value.as_str(), &mut fingerprint);
        }
        fingerprint
    }

    fn predict(&self) -> Facts {
        let serve = &self.serving.model.serve;
        let mut facts = self.serving.target().predict_deployment(&self.serving.model);
        facts.extend([Fact::SERVED_NAME.is(serve.served_names.first())]);
        facts
    }

    fn exclusive(&self) -> Option<String> {
        Some(format!("deployment:{}", self.serving.model.name))
    }

    fn observe(&self, _: Option<Wanted<'_>>) -> Observation {
        self.serving.target().observe_deployment(self.serving.model.name.as_str())
    }

    fn applied(&self, _: &Inputs) -> Option<Fingerprint> {
        self.serving.target().applied_deployment(self.serving.model.name.as_str())
    }

    fn as_described_now(&self, applied: &Fingerprint) -> Fingerprint {
        applied.without(self.serving.model.target.ignores())
    }

    fn failed(&self) -> Option<Key> {
        self.serving.target().failed_deployment(self.serving.model.name.as_str())
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let warm = self.warms.then(|| super::warmup::describe(&self.serving, &task.inputs).key());
        let mark = self.serving.mark(task.key);
        let deployment = Deployment { mark, ..self.serving.deployment(&task.inputs, warm) };
        match self.rollout {
            Rollout::InPlace => self.serving.target().deploy(&deployment, task).await,
            Rollout::Candidate => candidate::first(&self.serving, &deployment, task).await,
        }
    }
}
