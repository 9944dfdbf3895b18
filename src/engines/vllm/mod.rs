//! vLLM. Known to specs already; this version can't start it yet, and says so before anything runs.

pub mod read;

use std::collections::BTreeMap;

use super::{Engine, FlagProblem, Serving, offline};
use crate::spec::Model;

pub(super) struct Vllm;

impl Engine for Vllm {
    fn check(&self, model: &Model) -> Vec<FlagProblem> {
        vec![FlagProblem {
            flag: Some("name".to_owned()),
            message: format!("{}: the engine vllm can't be started by this version", model.name),
            help: "use `engine.name = \"mlx-lm\"`, or `\"command\"` with vLLM's command line"
                .to_owned(),
        }]
    }

    fn compiles(&self, model: &Model) -> bool {
        !model.serve.fast_boot
    }

    fn command(&self, model: &Model, _: &Serving<'_>) -> Vec<String> {
        panic!("BUG: {} was not refused", model.name)
    }

    fn environment(&self) -> BTreeMap<String, String> {
        offline()
    }

    fn health(&self, _: &Model) -> String {
        "/health".to_owned()
    }

    fn lists_served_name(&self) -> bool {
        true
    }
}
