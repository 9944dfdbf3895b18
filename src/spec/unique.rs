//! What no two models of a project may have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::{Model, TargetKind};
use super::problem::{Problem, SpecError};
use super::rollout::{CANDIDATE, Rollout};
use super::source::Place;

/// Names every second model that has what another one has.
pub(super) fn clashes<'a>(
    models: impl Iterator<Item = &'a Arc<Model>>,
    app_prefix: &str,
) -> Vec<SpecError> {
    let mut errors = Vec::new();
    let mut aliases: BTreeMap<&str, &Place> = BTreeMap::new();
    let mut labels: BTreeMap<String, &Place> = BTreeMap::new();
    let mut ports: BTreeMap<u16, &Place> = BTreeMap::new();
    for model in models {
        if let Some(gateway) = &model.gateway {
            let alias = &gateway.alias;
            if let Some(first) = aliases.get(alias.value.as_str()) {
                let problem = Problem::DuplicateAlias { alias: alias.value.clone() };
                let error = SpecError::new(problem, alias.place.clone());
                errors.push(error.with_first((*first).clone()));
            } else {
                aliases.insert(&alias.value, &alias.place);
            }
        }
        if model.target == TargetKind::Modal {
            let label = format!("{app_prefix}{}", model.name).replace('.', "-");
            let place = &model.file.place;
            let candidate =
                (model.serve.rollout == Rollout::Candidate).then(|| format!("{label}{CANDIDATE}"));
            for label in std::iter::once(label).chain(candidate) {
                if let Some(first) = labels.get(&label) {
                    let error = SpecError::new(Problem::DuplicateAddress { label }, place.clone());
                    errors.push(error.with_first((*first).clone()));
                } else {
                    labels.insert(label, place);
                }
            }
        }
        if let (TargetKind::Local, Some(port)) = (model.target, &model.serve.port) {
            if let Some(first) = ports.get(&port.value) {
                let problem = Problem::DuplicatePort { port: port.value };
                let error = SpecError::new(problem, port.place.clone());
                errors.push(error.with_first((*first).clone()));
            } else {
                ports.insert(port.value, &port.place);
            }
        }
    }
    errors
}
