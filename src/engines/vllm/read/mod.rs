//! Reads what a vLLM takes out of its own source, without running it.
//!
//! The parser is followed from the program that is started, wherever its flags are defined. Compared
//! with what the parsers of versions from 0.8.5.post1 to 0.33.0 say themselves
//! (`tests/data/vllm-*.json`). What is written in some other way is noted as not seen, and then not
//! checked.

mod calls;
mod expressions;
mod follow;
mod keywords;
mod modules;
mod program;
mod registered;
mod rules;
mod syntax;
#[cfg(test)]
mod tests;
mod tokens;
mod tree;
mod types;

use std::collections::{BTreeMap, BTreeSet};

use self::modules::Modules;
use self::registered::registered;
use self::tree::{Expression, Statement};
use crate::engines::vllm::taken::{Taken, ValueKind};

/// Raise when more, or something else, is read out of the same wheel.
pub const READING: u32 = 2;

/// Among the files, what the wheel's scripts start.
const ENVIRONMENT: &str = "vllm.envs";
const REGISTRY: &str = "vllm.model_executor.models.registry";
/// Where parsers of tool calls are, newer first.
const TOOL_PARSERS: [&str; 2] = ["vllm.tool_parsers", "vllm.entrypoints.openai.tool_parsers"];
const REASONING: &str = "vllm.reasoning";
/// Where speculative decoding is configured, newer first.
const SPECULATIVE: [&str; 2] = ["vllm.config.speculative", "vllm.config"];

/// What reading came to.
#[derive(Debug)]
pub struct Reading {
    /// What is known so far.
    pub engine: Taken,
    /// Modules that would tell more. Some of them may not exist.
    pub wanted: BTreeSet<String>,
}

/// Reads the files of a wheel, given by their paths in it. Without files, it says which to begin
/// with.
pub fn read(files: &BTreeMap<String, String>, distribution: &str, version: &str) -> Reading {
    let modules = Modules::of(files);
    let arguments = program::arguments(&modules, files, version);
    let mut engine = Taken {
        reading: READING,
        distribution: distribution.to_owned(),
        version: version.to_owned(),
        environment: keys(&modules, ENVIRONMENT, |name| name == "environment_variables"),
        reasoning_parsers: registered(&modules, REASONING),
        architectures: keys(&modules, REGISTRY, |name| {
            let other = ["_PREVIOUSLY", "_OOT"];
            name.ends_with("_MODELS") && !other.iter().any(|start| name.starts_with(start))
        }),
        eagle3_targets: eagle3_targets(&modules),
        flags: arguments.flags,
        objects: arguments.objects,
        unread: arguments.unread,
        ..Taken::default()
    };
    for package in TOOL_PARSERS {
        engine.tool_parsers.extend(registered(&modules, package));
    }
    if arguments.reasoning_is_checked
        && let Some(flag) = engine.flags.get_mut("reasoning-parser")
    {
        let words = engine.reasoning_parsers.iter().cloned();
        flag.kind = ValueKind::OneOf(words.chain(["None".to_owned()]).collect());
    }
    // What no flag leads to is of no use.
    let mut used = BTreeSet::new();
    for flag in engine.flags.values() {
        reach(&engine, &flag.kind, &mut used);
    }
    engine.objects.retain(|name, _| used.contains(name));
    Reading { engine, wanted: modules.wanted() }
}

fn reach(engine: &Taken, kind: &ValueKind, used: &mut BTreeSet<String>) {
    if let ValueKind::Object(name) | ValueKind::Python(name) = kind
        && used.insert(name.clone())
    {
        for flag in engine.objects.get(name).into_iter().flat_map(BTreeMap::values) {
            reach(engine, &flag.kind, used);
        }
    }
}

/// The keys of a module's dictionaries whose name is wanted.
fn keys(modules: &Modules, module: &str, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let Some(module) = modules.get(module) else { return BTreeSet::new() };
    let mut found = BTreeSet::new();
    for statement in &module.statements {
        if let Statement::Assign { target, value: Some(Expression::Dict(pairs)), .. } = statement
            && target.last_name().is_some_and(&wanted)
        {
            let keys = pairs.iter().filter_map(|(key, _)| key.as_ref()?.text());
            found.extend(keys.map(str::to_owned));
        }
    }
    found
}

/// `eagle3_target_supported = [...]`, or the only model that older versions name in the condition.
fn eagle3_targets(modules: &Modules) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for module in SPECULATIVE {
        let Some(module) = modules.get(module) else { continue };
        walk(&module.statements, &mut |statement| {
            if let Statement::Assign { target, value: Some(Expression::List(items)), .. } =
                statement
                && target.last_name() == Some("eagle3_target_supported")
            {
                found.extend(items.iter().filter_map(|item| item.text()).map(str::to_owned));
            }
        });
    }
    found
}

/// Calls `visit` for all statements, inner ones too.
fn walk<'a>(statements: &'a [Statement], visit: &mut dyn FnMut(&'a Statement)) {
    for statement in statements {
        visit(statement);
        match statement {
            Statement::Function(function) => walk(&function.body, visit),
            Statement::Block { body, .. } => walk(body, visit),
            Statement::Class(class) => walk(&class.body, visit),
            _ => {}
        }
    }
}
