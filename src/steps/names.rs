//! The names of a project's steps without compiling it: for a shell that asks while somebody types,
//! where weights can't be read and nothing may be written.

use std::collections::{BTreeMap, BTreeSet};

use super::{Users, models_of, name_at, users};
use crate::engine::Locked;
use crate::lock::LockFile;
use crate::plan::saved::Request;
use crate::spec::{Base, ImageName, Model, ModelSource, Project, Smoke, Takes, TargetType, When};
use crate::step::{StepId, StepKind, Subject};

/// What the steps of a project are called. Layers are those that were built before; parts of a
/// repository at several commits go by the repository's name.
pub fn names(project: &Project, lock: &LockFile) -> BTreeSet<StepId> {
    let mut names = BTreeSet::new();
    let mut bases: Vec<&Base> = Vec::new();
    let mut built: BTreeSet<&ImageName> = BTreeSet::new();
    let users = users(project);
    let is_ours = |users: &Users| !models_of(users, |takes| takes != Takes::Built).is_empty();
    let served = users.iter().filter(|(_, users)| is_ours(users)).map(|(name, _)| *name);
    for name in served.chain(without_models(project)) {
        let image = &project.images[name];
        built.insert(name);
        names.insert(StepId::image(name));
        // Of images with the same base, the first has the step.
        if !bases.contains(&&image.base) {
            bases.push(&image.base);
            names.insert(StepId::base(name));
        }
        if lock.images.get(name.as_str()).is_some_and(|locked| locked.python.is_some()) {
            names.insert(StepId::python(name));
        }
    }
    for (name, users) in &users {
        for (takes, target) in users.keys() {
            match takes {
                Takes::Cached => false,
                Takes::Pushed => names.insert(StepId::push(name)),
                Takes::Built => names.insert(StepId::image(name_at(*target, name, users))),
            };
        }
    }
    let is_layer = |id: &&StepId| {
        matches!(id.kind(), Some(StepKind::Wheels | StepKind::Build))
            && id
                .name()
                .split_once('/')
                .is_some_and(|(image, _)| built.iter().any(|name| name.as_str() == image))
    };
    names.extend(lock.built.keys().filter(is_layer).cloned());
    let mut weights: BTreeMap<&str, BTreeSet<&dyn TargetType>> = BTreeMap::new();
    for model in project.models.values() {
        let Chain { warmup, smoke, gateway } = Chain::of(project, model);
        names.insert(StepId::deploy(&model.name));
        names.extend(warmup.then(|| StepId::warmup(&model.name)));
        names.extend(smoke.then(|| StepId::smoke(&model.name)));
        names.extend(gateway.then(|| StepId::gateway(&model.name)));
        let adapters = model.adapters.iter().filter(|_| gateway);
        names.extend(adapters.map(|it| StepId::gateway_of_adapter(&model.name, &it.value)));
        for source in model.sources() {
            let name = match source {
                ModelSource::Path(path) => path,
                ModelSource::Hub(source) => &source.repository,
            };
            weights.entry(name).or_default().insert(model.target);
        }
        let config =
            model.source.hub().and_then(|hub| lock.hub.get(&hub.to_string())?.config.as_ref());
        let model_type = config.and_then(|config| config.model_type.clone());
        let locked = Locked { model_type, ..Locked::default() };
        for file in model.engine.kind.files(model, &locked) {
            weights.entry(file.name).or_default().insert(model.target);
        }
    }
    for (name, targets) in weights {
        let several = targets.len() > 1;
        let called = |target| if several { format!("{name}@{target}") } else { name.to_owned() };
        names.extend(targets.into_iter().map(|target| StepId::weights(called(target))));
    }
    names
}

/// What of what was asked for is done at which target: models to serve, or steps that were named.
pub fn at_targets(
    project: &Project,
    request: &Request,
) -> BTreeMap<&'static dyn TargetType, BTreeSet<String>> {
    let mut wanted: BTreeMap<&'static dyn TargetType, BTreeSet<String>> = BTreeMap::new();
    for model in project.models.values() {
        let its = if request.only.is_empty() {
            let name = model.name.as_str();
            let is_asked = request.models.is_empty() || request.models.iter().any(|it| it == name);
            Vec::from_iter(is_asked.then(|| name.to_owned()))
        } else {
            let is_its = |name: &&String| {
                let step = StepId::from(name.as_str());
                uses(model, &step) && is_at_target(project, model, &step)
            };
            request.only.iter().filter(is_its).cloned().collect()
        };
        if !its.is_empty() {
            wanted.entry(model.target).or_default().extend(its);
        }
    }
    wanted
}

/// The images that no model is served from, sorted: they are built when somebody asks for them.
pub fn without_models(project: &Project) -> impl Iterator<Item = &ImageName> {
    let is_used = |image: &ImageName| project.models.values().any(|it| it.image.value == *image);
    project.images.keys().filter(move |image| !is_used(image))
}

/// Whether any model of the project has this step, or an image that none has, as far as names tell.
pub fn is_known(project: &Project, step: &StepId) -> bool {
    let is_built = |image: &ImageName| step.subject() == Subject::Image(image.as_str());
    project.models.values().any(|model| uses(model, step)) || without_models(project).any(is_built)
}

/// Whether a model has this step, as far as names tell.
fn uses(model: &Model, step: &StepId) -> bool {
    match step.subject() {
        Subject::Image(image) => image == model.image.value.as_str(),
        Subject::Weights(name) => model.sources().any(|source| match source {
            ModelSource::Path(path) => path == name,
            ModelSource::Hub(source) => source.repository == name,
        }),
        Subject::Model(name) => name == model.name.as_str(),
    }
}

/// Whether asking for this step of a model needs the model's target, and not this machine's cache
/// alone.
fn is_at_target(project: &Project, model: &Model, step: &StepId) -> bool {
    let elsewhere = !model.target.is_here();
    match step.kind() {
        Some(StepKind::Base | StepKind::Python | StepKind::Wheels | StepKind::Build) => false,
        // Where both build one, each has a step.
        Some(StepKind::Image) => elsewhere && image_there(project, model).as_ref() == Some(step),
        Some(StepKind::Push) => elsewhere,
        Some(StepKind::Weights) => {
            let mut others = project.target_types.iter().filter(|it| *it != model.target);
            elsewhere && !others.any(|other| step.name().ends_with(&format!("@{other}")))
        }
        Some(StepKind::Warmup | StepKind::Deploy | StepKind::Smoke | StepKind::Gateway) | None => {
            true
        }
    }
}

/// The step in which a model's target builds its image, if it does; known before anything is locked.
fn image_there(project: &Project, model: &Model) -> Option<StepId> {
    let users = users(project).remove(&model.image.value)?;
    let is_built = project.takes(model) == Takes::Built;
    is_built.then(|| StepId::image(name_at(model.target, &model.image.value, &users)))
}

/// Which steps a model has beside its deployment.
pub(super) struct Chain {
    pub(super) warmup: bool,
    pub(super) smoke: bool,
    pub(super) gateway: bool,
}

impl Chain {
    pub(super) fn of(project: &Project, model: &Model) -> Self {
        let compiles = model.engine.kind.compiles(model);
        Self {
            warmup: compiles && model.serve.warmup == When::Auto,
            smoke: model.serve.smoke != Smoke::Never,
            gateway: project.gateway.is_some() && model.gateway.is_some(),
        }
    }
}
