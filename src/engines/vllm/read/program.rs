//! Where the program that is started makes its parser.

use std::collections::{BTreeMap, BTreeSet};

use super::super::command::{PROGRAM, starts_script};
use super::follow::{Arguments, Follower};
use super::modules::{Binding, Modules};
use super::tree::{Class, Expression, Function, Statement};
use super::walk;
use crate::engine::ENTRY_POINTS;

/// What the program's parser takes, by the command line that starts this version.
pub(super) fn arguments(
    modules: &Modules,
    files: &BTreeMap<String, String>,
    version: &str,
) -> Arguments {
    let mut follower = Follower::new(modules);
    if starts_script(version) {
        let points = files.get(ENTRY_POINTS).map_or("", String::as_str);
        if let Some((module, function)) = script(points, "vllm") {
            subcommand(&mut follower, modules, module, function, "serve");
        }
    } else if let Some(program) = modules.get(PROGRAM) {
        let is_main = |head: &Expression| matches!(head, Expression::Compare(name, "==", _) if name.last_name() == Some("__name__"));
        for statement in &program.statements {
            if let Statement::Block { head, body, .. } = statement
                && is_main(head)
            {
                follower.program(PROGRAM, body);
            }
        }
    }
    follower.finish()
}

/// The module and the function of a console script: `vllm = vllm.entrypoints.cli.main:main`.
fn script<'a>(entry_points: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let mut lines = entry_points.lines().map(str::trim);
    lines.find(|line| *line == "[console_scripts]")?;
    let value = lines.take_while(|line| !line.starts_with('[')).find_map(|line| {
        let (found, value) = line.split_once('=')?;
        (found.trim() == name).then(|| value.trim())
    })?;
    value.split_once(':')
}

/// Follows the subcommand of this name: a class among the modules that the program imports.
fn subcommand<'a>(
    follower: &mut Follower<'a>,
    modules: &'a Modules,
    program: &str,
    function: &str,
    name: &str,
) {
    for module in imported(modules, program, function) {
        let Some((module, found)) = modules.entry(&module) else { continue };
        for statement in &found.statements {
            if let Statement::Class(class) = statement
                && is_named(class, name)
            {
                for function in methods(class).filter(|function| makes_parser(function)) {
                    follower.method((module, class), function);
                }
            }
        }
    }
}

/// The modules that a program imports, within a function too.
fn imported(modules: &Modules, program: &str, function: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let Some(module) = modules.get(program) else { return found };
    let mut add = |statement: &Statement| {
        if let Statement::ImportModule { module, .. } = statement {
            found.insert(module.clone());
        }
        for (_, binding) in modules.imports(program, statement) {
            match binding {
                Binding::Import { module, name } => {
                    found.insert(format!("{module}.{name}"));
                    found.insert(module);
                }
                Binding::Module(module) => drop(found.insert(module)),
                _ => {}
            }
        }
    };
    walk(&module.statements, &mut |statement| match statement {
        Statement::Function(inner) if inner.name == function => {
            walk(&inner.body, &mut |statement| add(statement));
        }
        _ => {}
    });
    module.statements.iter().for_each(add);
    found.retain(|module| module.starts_with("vllm."));
    found
}

fn methods(class: &Class) -> impl Iterator<Item = &Function> {
    class.body.iter().filter_map(|statement| match statement {
        Statement::Function(function) => Some(function),
        _ => None,
    })
}

/// `name = "serve"`, or `self.name = "serve"` when an object is made.
fn is_named(class: &Class, name: &str) -> bool {
    let mut found = false;
    walk(&class.body, &mut |statement| {
        found |= matches!(statement, Statement::Assign { target, value: Some(value), .. }
            if target.last_name() == Some("name") && value.text() == Some(name));
    });
    found
}

/// Whether a method calls `add_parser`.
fn makes_parser(function: &Function) -> bool {
    let mut found = false;
    walk(&function.body, &mut |statement| {
        let (Statement::Assign { value: Some(value), .. }
        | Statement::Expression(value)
        | Statement::Return(value)) = statement
        else {
            return;
        };
        found |= calls(value, "add_parser");
    });
    found
}

fn calls(expression: &Expression, name: &str) -> bool {
    let Expression::Call(function, arguments) = expression else { return false };
    function.last_name() == Some(name)
        || matches!(&**function, Expression::Attribute(of, _) if calls(of, name))
        || arguments.iter().any(|argument| calls(&argument.value, name))
}
