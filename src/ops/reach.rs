//! Which models a step belongs to, and what of what was asked for is done at a target: known before
//! anything is locked.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::plan::saved::Request;
use crate::spec::{Model, TargetType};
use crate::step::StepId;
use crate::steps;
use crate::workspace::Workspace;

/// What is to be done at a target: a model to serve, or a step that was named.
pub(super) fn wanted(
    workspace: &Workspace,
    request: &Request,
) -> BTreeSet<(&'static dyn TargetType, String)> {
    let models = workspace.project.models.values();
    if request.only.is_empty() {
        let all = request.models.is_empty();
        let named = |model: &&Arc<Model>| {
            all || request.models.iter().any(|name| name == model.name.as_str())
        };
        return models.filter(named).map(|it| (it.target, it.name.to_string())).collect();
    }
    let mut wanted = BTreeSet::new();
    for name in &request.only {
        let step = StepId::from(name.as_str());
        let users = workspace.project.models.values().filter(|model| steps::uses(model, &step));
        for model in users {
            if steps::is_at_target(&workspace.project, model, &step) {
                wanted.insert((model.target, name.clone()));
            }
        }
    }
    wanted
}

/// Whether a step belongs to any model of the project, as far as names tell.
pub(super) fn is_known(workspace: &Workspace, step: &StepId) -> bool {
    workspace.project.models.values().any(|model| steps::uses(model, step))
}
