//! The names of a project's steps without compiling it: for a shell that asks while somebody types,
//! where weights can't be read and nothing may be written.

use std::collections::{BTreeMap, BTreeSet};

use super::{Users, name_at_modal, users};
use crate::lock::LockFile;
use crate::spec::{Base, ImageName, Model, ModelSource, Project, TargetKind, When};
use crate::step::{StepId, StepKind};

/// What the steps of a project are called. Layers are those that were built before; parts of a
/// repository at several commits go by the repository's name.
pub fn names(project: &Project, lock: &LockFile) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut bases: Vec<&Base> = Vec::new();
    let mut built: BTreeSet<&ImageName> = BTreeSet::new();
    for (name, Users { here, pushed, at_modal }) in users(project) {
        let image = &project.images[name];
        if !here.is_empty() || !pushed.is_empty() {
            built.insert(name);
            names.insert(format!("image:{name}"));
            // Of images with the same base, the first has the step.
            if !bases.contains(&&image.base) {
                bases.push(&image.base);
                names.insert(format!("base:{name}"));
            }
            if lock.images.get(name.as_str()).is_some_and(|locked| locked.python.is_some()) {
                names.insert(format!("python:{name}"));
            }
        }
        if !pushed.is_empty() {
            names.insert(format!("push:{name}"));
        }
        if !at_modal.is_empty() {
            names.insert(format!("image:{}", name_at_modal(name, &here)));
        }
    }
    let is_layer = |id: &&StepId| {
        id.is(StepKind::Wheels)
            && id
                .name()
                .split_once('/')
                .is_some_and(|(image, _)| built.iter().any(|name| name.as_str() == image))
    };
    names.extend(lock.built.keys().filter(is_layer).map(ToString::to_string));
    let mut weights: BTreeMap<&str, BTreeSet<TargetKind>> = BTreeMap::new();
    for model in project.models.values() {
        let steps = of_model(project, model);
        names.extend(steps.into_iter().map(|kind| format!("{kind}:{}", model.name)));
        for source in model.sources() {
            let name = match source {
                ModelSource::Path(path) => path,
                ModelSource::Hub(source) => &source.repository,
            };
            weights.entry(name).or_default().insert(model.target);
        }
    }
    for (name, targets) in weights {
        let several = targets.len() > 1;
        let called = |target| if several { format!("{name}@{target}") } else { name.to_owned() };
        names.extend(targets.into_iter().map(|target| format!("weights:{}", called(target))));
    }
    names
}

fn of_model(project: &Project, model: &Model) -> Vec<&'static str> {
    let compiles = model.engine.kind.compiles(model);
    let mut kinds = vec!["deploy"];
    kinds.extend((compiles && model.serve.warmup == When::Auto).then_some("warmup"));
    kinds.extend((model.serve.smoke == When::Auto).then_some("smoke"));
    kinds.extend((project.gateway.is_some() && model.gateway.is_some()).then_some("gateway"));
    kinds
}
