//! What no two models of a project may have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::Model;
use super::problem::{Problem, SpecError};
use super::source::Place;

/// Names every second model that has what another one has.
pub(super) fn clashes<'a>(
    models: impl Iterator<Item = &'a Arc<Model>>,
    app_prefix: &str,
) -> Vec<SpecError> {
    let mut errors = Vec::new();
    let mut aliases: BTreeMap<&str, &Place> = BTreeMap::new();
    let mut claimed: BTreeMap<Problem, Place> = BTreeMap::new();
    for model in models {
        let entry = model.gateway.iter().map(|entry| &entry.alias);
        // Where there is no gateway, nobody has an alias.
        let adapters = model.adapters.iter().filter(|_| model.gateway.is_some());
        for alias in entry.chain(adapters) {
            if let Some(first) = aliases.get(alias.value.as_str()) {
                let problem = Problem::DuplicateAlias { alias: alias.value.clone() };
                let error = SpecError::new(problem, alias.place.clone());
                errors.push(error.with_first((*first).clone()));
            } else {
                aliases.insert(&alias.value, &alias.place);
            }
        }
        for (problem, place) in model.target.claims(model, app_prefix) {
            if let Some(first) = claimed.get(&problem) {
                errors.push(SpecError::new(problem, place).with_first(first.clone()));
            } else {
                claimed.insert(problem, place);
            }
        }
    }
    errors
}
