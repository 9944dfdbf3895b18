//! Words that are registered by name: parsers of tool calls and of reasoning.

use std::collections::BTreeSet;

use super::modules::Modules;
use super::tree::{Argument, Expression, Statement};
use super::walk;

/// The words that a package registers.
pub(super) fn registered(modules: &Modules, package: &str) -> BTreeSet<String> {
    let Some(module) = modules.get(package) else { return BTreeSet::new() };
    let mut words = BTreeSet::new();
    walk(&module.statements, &mut |statement| {
        if let Statement::Assign { target, value: Some(Expression::Dict(pairs)), .. } = statement
            && target.last_name().is_some_and(|name| name.ends_with("_TO_REGISTER"))
        {
            let keys = pairs.iter().filter_map(|(key, _)| key.as_ref()?.text());
            words.extend(keys.map(str::to_owned));
        }
    });
    if !words.is_empty() {
        return words;
    }
    // Older: each parser's module registers itself, with a decorator.
    for name in modules.imported_by(package) {
        let Some(module) = modules.get(&name) else { continue };
        walk(&module.statements, &mut |statement| {
            let Statement::Class(class) = statement else { return };
            for decorator in &class.decorators {
                let Expression::Call(function, arguments) = decorator else { continue };
                if function.last_name() != Some("register_module") {
                    continue;
                }
                let named = |it: &&Argument| it.name.as_deref().is_none_or(|name| name == "name");
                match arguments.iter().find(named).map(|it| &it.value) {
                    Some(Expression::Text(word)) => drop(words.insert(word.clone())),
                    Some(Expression::List(items)) => {
                        words
                            .extend(items.iter().filter_map(|item| item.text()).map(str::to_owned));
                    }
                    _ => {}
                }
            }
        });
    }
    words
}
