//! The kinds of steps, and how a project compiles into them.
//!
//! Adding one is one file and one call in [`compile`].

mod asked;
mod base;
mod based;
mod bottom;
mod build;
mod candidate;
mod check;
mod deploy;
mod downloads;
mod failed_starts;
mod gateway;
mod image;
mod image_there;
mod names;
mod programs;
mod pulled;
mod push;
mod pushed;
mod python;
mod smoke;
mod started;
mod warmup;
mod weights;
mod wheels;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::PinnedFile;
use crate::event::Reporter;
use crate::fingerprint::Key;
use crate::graph::Graph;
use crate::spec::{ImageName, Model, ModelSource, Project, Takes, TargetType};
use crate::step::{Fact, Input, Inputs, Resource, Step, StepError, StepId};
use crate::targets::PinnedRepository;
use crate::workspace::Workspace;
pub use asked::server;
pub use based::told;
pub use check::{check, doubts, lacks};
use deploy::ImageInput;
use names::Chain;
pub use names::{at_targets, is_known, names, without_models};
pub use programs::programs;
pub use pushed::{foreseen_pushes, look_at_pushed};
pub use smoke::{NotPassed, asking, smoke_key};
use started::Lying;
pub use started::Started;

/// How long the requests of a warm-up, and of a smoke test, may take.
const REQUESTS: Duration = Duration::from_secs(600);

/// Compiles a project into its DAG, without the models whose images are not locked: only who asks
/// for a part of the project has any.
pub fn compile(workspace: &Workspace, reporter: &Reporter) -> Result<Graph, StepError> {
    let mut steps: Vec<Arc<dyn Step>> = Vec::new();
    let images = compile_images(workspace, &mut steps);
    let weights = weights::compile(workspace, reporter, &mut steps)?;
    for model in workspace.project.models.values() {
        let Some(image) = images.get(&(model.image.value.clone(), model.target)).cloned() else {
            continue;
        };
        compile_model(workspace, model, image, &weights, &mut steps);
    }
    Ok(Graph::new(steps)?)
}

/// Compiles the images of a project alone, as far as they are locked.
pub fn images(workspace: &Workspace) -> Result<Graph, StepError> {
    let mut steps = Vec::new();
    compile_images(workspace, &mut steps);
    Ok(Graph::new(steps)?)
}

/// The engine of a model of a locked project, before any weights are anywhere. What the lock leaves
/// open stands there as it is written, such as a branch for a commit.
pub fn foreseen(
    workspace: &Workspace,
    model: &Arc<Model>,
    reporter: &Reporter,
) -> Result<Started, StepError> {
    let mut steps: Vec<Arc<dyn Step>> = Vec::new();
    let placed = weights::compile(workspace, reporter, &mut steps)?;
    let commits: HashMap<_, _> = steps
        .iter()
        .filter_map(|step| Some((step.id().clone(), Fact::COMMIT.of(&step.predict())?.clone())))
        .collect();
    let pinned = |placed: &Placed, written: &str| {
        let commit = commits.get(&placed.step).filter(|commit| !commit.is_empty());
        let commit = commit.map_or(written, |commit| commit).to_owned();
        PinnedRepository { repository: placed.repository.clone(), commit }
    };
    let of_source = |source: &ModelSource| {
        pinned(placed.source(model, source), source.hub().map_or("", |hub| &hub.revision))
    };
    let locked = Arc::new(workspace.engine_of(model));
    let named = model.named.iter().map(|named| (named.flag.clone(), of_source(&named.source)));
    let files = model.engine.kind.files(model, &locked).iter();
    let lying = Lying {
        weights: of_source(&model.source),
        draft: model.draft.as_ref().map(|draft| of_source(&draft.source)),
        named: named.collect(),
        files: files.map(|file| (file.variable, pinned(placed.file(model, file), ""))).collect(),
    };
    Ok(started::started(&workspace.project, &locked, model, lying))
}

/// What whoever starts or asks a model's engine has to have: where the accelerators are elsewhere, there
/// are as many as are asked for.
fn engine_resource(model: &Model) -> Resource {
    if model.target.is_here() { Resource::Accelerator } else { Resource::Network }
}

/// Where a step puts the weights of a source.
#[derive(Debug, Clone)]
struct Placed {
    step: StepId,
    repository: String,
}

/// All that is put into volumes.
#[derive(Default)]
struct AllPlaced<'a> {
    /// The weights of every source, by target and source.
    sources: HashMap<(&'static dyn TargetType, &'a ModelSource), Placed>,
    /// What engines load besides, by target and name.
    files: HashMap<(&'static dyn TargetType, &'static str), Placed>,
}

impl<'a> AllPlaced<'a> {
    fn source<'s>(&'s self, model: &Model, source: &'s ModelSource) -> &'s Placed
    where
        'a: 's,
    {
        let sources: &HashMap<(_, &'s ModelSource), Placed> = &self.sources;
        &sources[&(model.target, source)]
    }

    fn file(&self, model: &Model, file: &PinnedFile) -> &Placed {
        &self.files[&(model.target, file.name)]
    }
}

/// Pure steps without inputs, by key: the same work is one step, whichever image asks first.
type Shared = HashMap<Key, StepId>;

fn share<S: Step + 'static>(
    step: S,
    shared: &mut Shared,
    steps: &mut Vec<Arc<dyn Step>>,
) -> StepId {
    let key = step.describe(&Inputs::default()).key();
    let id = shared.entry(key).or_insert_with(|| {
        let id = step.id().clone();
        steps.push(Arc::new(step));
        id
    });
    id.clone()
}

/// The images that models are served from, as their targets take them.
type Images = HashMap<(ImageName, &'static dyn TargetType), ImageInput>;

/// The models that take an image, by how their target takes it.
type Users = BTreeMap<(Takes, &'static dyn TargetType), Vec<String>>;

fn users(project: &Project) -> BTreeMap<&ImageName, Users> {
    let mut users: BTreeMap<&ImageName, Users> = BTreeMap::new();
    for model in project.models.values() {
        let users = users.entry(&model.image.value).or_default();
        let way = (project.takes(model), model.target);
        users.entry(way).or_default().push(model.name.to_string());
    }
    users
}

/// The models of those that take an image like this.
fn models_of(users: &Users, takes: impl Fn(Takes) -> bool) -> Vec<String> {
    let models = users.iter().filter(|((way, _), _)| takes(*way)).flat_map(|(_, models)| models);
    let mut models: Vec<String> = models.cloned().collect();
    models.sort();
    models
}

/// What the image is called that a target builds; where others are made, too, its plain name is one
/// of theirs.
fn name_at(target: &dyn TargetType, image: &ImageName, users: &Users) -> String {
    let is_only =
        users.keys().all(|(takes, it)| *takes != Takes::Cached && it.name() == target.name());
    if is_only { image.to_string() } else { format!("{image}@{}", target.name()) }
}

fn compile_images(workspace: &Workspace, steps: &mut Vec<Arc<dyn Step>>) -> Images {
    let mut images = Images::new();
    let mut shared = Shared::default();
    for (image, users) in users(&workspace.project) {
        if !workspace.images.has(image) {
            continue;
        }
        let ours = models_of(&users, |takes| takes != Takes::Built);
        let built =
            (!ours.is_empty()).then(|| compile_image(workspace, image, &ours, &mut shared, steps));
        let pushed = models_of(&users, |takes| takes == Takes::Pushed);
        let pushed = built.clone().filter(|_| !pushed.is_empty()).map(|built| {
            let step = push::Push::new(workspace, image, &pushed, built);
            let id = step.id().clone();
            steps.push(Arc::new(step));
            id
        });
        for ((takes, target), models) in &users {
            let input = match (takes, &built, &pushed) {
                (Takes::Cached, Some(built), _) => ImageInput::Cached(built.clone()),
                (Takes::Pushed, Some(image), Some(push)) => {
                    ImageInput::Pushed { image: image.clone(), push: push.clone() }
                }
                (Takes::Cached | Takes::Pushed, ..) => {
                    panic!("BUG: {image} is taken from here, and not built")
                }
                (Takes::Built, ..) => {
                    let name = name_at(*target, image, &users);
                    let step =
                        image_there::ImageThere::new(workspace, *target, image, &name, models);
                    let id = step.id().clone();
                    steps.push(Arc::new(step));
                    ImageInput::There(id)
                }
            };
            images.insert((image.clone(), *target), input);
        }
    }
    // Last, so that what they share with an image that is served keeps that one's name.
    for image in names::without_models(&workspace.project) {
        if workspace.images.has(image) {
            compile_image(workspace, image, &[], &mut shared, steps);
        }
    }
    images
}

fn compile_image(
    workspace: &Workspace,
    image: &ImageName,
    models: &[String],
    shared: &mut Shared,
    steps: &mut Vec<Arc<dyn Step>>,
) -> StepId {
    let base = if let Some(origin) = workspace.registries.origin(&workspace.project.images[image]) {
        let step = pulled::Pulled::new(workspace, image, origin, models);
        Input::blobs(share(step, shared, steps), pulled::FACTS)
    } else {
        let step = base::Base::new(workspace, image, models);
        Input::blobs(share(step, shared, steps), base::LAYER_FACTS)
    };
    let python = python::Python::new(workspace, image, models);
    let python = python.map(|step| share(step, shared, steps));
    let mut layers: Vec<StepId> = python.iter().cloned().collect();
    for step in wheels::slots(workspace, image, models) {
        layers.push(share(step, shared, steps));
    }
    let mut own = Vec::new();
    for step in build::packages(workspace, image, models, &base, python.as_ref()) {
        own.push(step.id().clone());
        steps.push(Arc::new(step));
    }
    let step = image::Image::new(workspace, image, models, base, layers, own);
    let id = step.id().clone();
    steps.push(Arc::new(step));
    id
}

fn compile_model(
    workspace: &Workspace,
    model: &Arc<Model>,
    image: ImageInput,
    weights: &AllPlaced<'_>,
    steps: &mut Vec<Arc<dyn Step>>,
) {
    let serving = deploy::ModelToServe::new(workspace, model, image, weights);
    let chain = Chain::of(&workspace.project, model);
    let warmup = chain.warmup.then(|| {
        let step = warmup::Warmup::new(serving.clone());
        let id = step.id().clone();
        steps.push(Arc::new(step));
        id
    });
    let deploy = deploy::Deploy::new(serving, warmup.as_ref());
    let deploy_id = deploy.id().clone();
    steps.push(Arc::new(deploy));
    let smoke = chain.smoke.then(|| {
        let step = smoke::Smoke::new(workspace, model, &deploy_id);
        let id = step.id().clone();
        steps.push(Arc::new(step));
        id
    });
    if let (Some(gateway), Some(entry)) = (&workspace.gateway, &model.gateway) {
        let alias = &entry.alias.value;
        let step = gateway::Wire::new(workspace, gateway, model, alias, &deploy_id, smoke.as_ref());
        steps.push(Arc::new(step));
        for adapter in &model.adapters {
            let alias = entry.adapter_alias(&adapter.value);
            let (names, smoke) = ((&*alias, &*adapter.value), smoke.as_ref());
            let step = gateway::Wire::adapter(workspace, gateway, model, names, &deploy_id, smoke);
            steps.push(Arc::new(step));
        }
    }
}
