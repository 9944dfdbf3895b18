//! Any server that speaks the `OpenAI` API, its command line written in the spec.

use std::collections::BTreeMap;

use super::vllm::TOOL_PARSER;
use super::{CACHES, HABITS, offline};
use crate::engine::{Cache, Engine, FlagProblem, Serving, Subject, Written, WrittenWord};
use crate::spec::{CommandEngine, Model, nearest};

/// Whatever a spec's command line starts.
pub struct Command;

/// What a command line may leave to be filled in.
const PLACEHOLDERS: [&str; 4] = ["host", "port", "model", "draft"];

/// The name in the braces that `rest` closes; none for other uses of braces, such as JSON.
fn name(rest: &str) -> Option<&str> {
    let (name, _) = rest.split_once('}')?;
    let is_name = !name.is_empty() && name.bytes().all(|letter| letter.is_ascii_lowercase());
    is_name.then_some(name)
}

fn spec(model: &Model) -> &CommandEngine {
    model
        .engine
        .command
        .as_ref()
        .unwrap_or_else(|| panic!("BUG: {} has the engine `command` without one", model.name))
}

impl Engine for Command {
    fn name(&self) -> &'static str {
        "command"
    }

    fn title(&self) -> &'static str {
        "`command`"
    }

    fn about(&self) -> &'static str {
        "a command line of your own"
    }

    fn is_written_out(&self) -> bool {
        true
    }

    fn caches(&self) -> &'static [Cache] {
        &CACHES
    }

    fn check(&self, model: &Model) -> Vec<FlagProblem> {
        let unknown = |part: &String| {
            let names: Vec<&str> = part.split('{').skip(1).filter_map(name).collect();
            let known = |name: &str| {
                PLACEHOLDERS.contains(&name) && (name != "draft" || model.draft.is_some())
            };
            names.into_iter().find(|name| !known(name)).map(str::to_owned)
        };
        let problem = |name: String| FlagProblem {
            subject: Subject::Flag("command".to_owned()),
            message: format!("`{{{name}}}` stands for nothing"),
            help: match nearest(&name, PLACEHOLDERS) {
                Some("draft") => "`{draft}` is the path of what `[draft]` names".to_owned(),
                Some(near) => format!("did you mean `{{{near}}}`?"),
                None => "there are `{host}`, `{port}`, `{model}` and `{draft}`".to_owned(),
            },
        };
        spec(model).command.iter().filter_map(unknown).map(problem).collect()
    }

    fn compiles(&self, model: &Model) -> bool {
        spec(model).compiles && !model.serve.fast_boot
    }

    fn import(&self, words: &[WrittenWord]) -> Option<Written> {
        super::import::written_out(words)
    }

    fn command(&self, model: &Model, serving: &Serving<'_>) -> Vec<String> {
        spec(model)
            .command
            .iter()
            .map(|part| {
                part.replace("{host}", serving.host)
                    .replace("{port}", &serving.port.to_string())
                    .replace("{model}", serving.model)
                    .replace("{draft}", serving.draft.unwrap_or_default())
            })
            .collect()
    }

    fn environment(&self, _: &[&str]) -> BTreeMap<String, String> {
        offline()
    }

    fn left_to_specs(&self) -> &'static [&'static str] {
        &HABITS
    }

    fn health(&self, model: &Model) -> String {
        spec(model).health.clone()
    }

    /// vLLM's name for them: a server of any kind may write such files, and none has to.
    fn cache_factors(&self) -> Option<&'static str> {
        Some("cache_key_factors.json")
    }

    /// vLLM's, too.
    fn graphs(&self) -> &'static [&'static str] {
        &["torch_aot_compile"]
    }

    fn lists_served_name(&self) -> bool {
        false
    }

    /// As far as its command line has vLLM's flag.
    fn calls_tools(&self, model: &Model) -> bool {
        let flags = spec(model).command.iter().filter_map(|word| word.strip_prefix("--"));
        flags
            .filter_map(|flag| flag.strip_prefix(TOOL_PARSER))
            .any(|rest| rest.is_empty() || rest.starts_with('='))
    }
}
