//! Any server that speaks the `OpenAI` API, its command line written in the spec.

use std::collections::BTreeMap;

use super::{Engine, FlagProblem, Serving, offline};
use crate::spec::{CommandEngine, Model};

pub(super) struct Command;

fn spec(model: &Model) -> &CommandEngine {
    model
        .engine
        .command
        .as_ref()
        .unwrap_or_else(|| panic!("BUG: {} has the engine `command` without one", model.name))
}

impl Engine for Command {
    fn check(&self, _: &Model) -> Vec<FlagProblem> {
        Vec::new()
    }

    fn compiles(&self, model: &Model) -> bool {
        spec(model).compiles && !model.serve.fast_boot
    }

    fn command(&self, model: &Model, serving: &Serving<'_>) -> Vec<String> {
        spec(model)
            .command
            .iter()
            .map(|part| {
                part.replace("{host}", serving.host)
                    .replace("{port}", &serving.port.to_string())
                    .replace("{model}", serving.model)
            })
            .collect()
    }

    fn environment(&self) -> BTreeMap<String, String> {
        offline()
    }

    fn health(&self, model: &Model) -> String {
        spec(model).health.clone()
    }

    fn lists_served_name(&self) -> bool {
        false
    }
}
