//! What a field's type makes of its flag: vLLM's `get_kwargs`, done on definitions.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{Meaning, Modules};
use super::syntax::{Class, Expression, Statement};
use crate::lock::{Flag, Kind, Many};

/// What a type says, as far as flags go by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hint<'a> {
    Nothing,
    Boolean,
    Integer,
    Float,
    Text,
    Dict,
    Literal(Vec<String>),
    /// A list, tuple or set of these.
    Many(Vec<Hint<'a>>),
    /// A dataclass, by its module and name.
    Dataclass(&'a str, &'a str),
    /// A pydantic model.
    Model(&'a str, &'a str),
    /// Anything that isn't built in.
    Other,
}

/// How flags are made of fields in this version.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Fields whose numbers take units.
    pub(super) sizes: BTreeSet<String>,
    /// Whether a dict may be given as a text that isn't JSON.
    pub(super) text_for_dict: bool,
}

/// Flattened: a union's parts, each once.
pub(super) fn hints<'a>(
    modules: &'a Modules,
    module: &'a str,
    of: &'a Expression,
) -> Vec<Hint<'a>> {
    let mut found = Vec::new();
    collect(modules, module, of, &mut found, 0);
    found
}

fn collect<'a>(
    modules: &'a Modules,
    module: &'a str,
    of: &'a Expression,
    found: &mut Vec<Hint<'a>>,
    depth: usize,
) {
    if depth > 12 {
        return found.push(Hint::Other);
    }
    match of {
        Expression::Either(left, right) => {
            collect(modules, module, left, found, depth + 1);
            collect(modules, module, right, found, depth + 1);
        }
        Expression::Index(base, arguments) => match base.last_name().unwrap_or_default() {
            "Union" | "Optional" => {
                for part in arguments {
                    collect(modules, module, part, found, depth + 1);
                }
                if base.last_name() == Some("Optional") {
                    found.push(Hint::Nothing);
                }
            }
            // The metadata behind a type says nothing of how it is written.
            "Annotated" | "SkipValidation" | "Final" => {
                if let Some(part) = arguments.first() {
                    collect(modules, module, part, found, depth + 1);
                }
            }
            "Literal" => {
                let mut words = Vec::new();
                literals(modules, module, of, &mut words);
                found.push(Hint::Literal(words));
            }
            "dict" | "Dict" => found.push(Hint::Dict),
            "list" | "List" | "tuple" | "Tuple" | "set" | "Set" => {
                let inner =
                    arguments.first().map(|part| hints(modules, module, part)).unwrap_or_default();
                found.push(Hint::Many(inner));
            }
            _ => found.push(Hint::Other),
        },
        Expression::Name(name) => match name.as_str() {
            "None" => found.push(Hint::Nothing),
            "bool" => found.push(Hint::Boolean),
            "int" => found.push(Hint::Integer),
            "float" => found.push(Hint::Float),
            "str" => found.push(Hint::Text),
            "dict" | "Dict" => found.push(Hint::Dict),
            name => match modules.meaning(module, name) {
                Some(Meaning::Value(module, value)) => {
                    collect(modules, module, value, found, depth + 1);
                }
                Some(Meaning::Class(module, class)) => {
                    found.push(match sort(modules, module, class) {
                        Sort::Dataclass => Hint::Dataclass(module, &class.name),
                        Sort::Model => Hint::Model(module, &class.name),
                        Sort::Plain => Hint::Other,
                    });
                }
                None => found.push(Hint::Other),
            },
        },
        _ => found.push(Hint::Other),
    }
}

/// The words of a `Literal[…]`, those of literals in it included.
pub(super) fn literals(
    modules: &Modules,
    module: &str,
    of: &Expression,
    words: &mut Vec<String>,
) -> bool {
    match of {
        Expression::Text(word) | Expression::Number(word) => words.push(word.clone()),
        Expression::Index(base, arguments) if base.last_name() == Some("Literal") => {
            return arguments.iter().all(|part| literals(modules, module, part, words));
        }
        Expression::Name(name) => {
            return match modules.meaning(module, name) {
                Some(Meaning::Value(module, value)) if !matches!(value, Expression::Name(_)) => {
                    literals(modules, module, value, words)
                }
                _ => false,
            };
        }
        _ => return false,
    }
    true
}

enum Sort {
    Dataclass,
    Model,
    Plain,
}

fn sort(modules: &Modules, module: &str, class: &Class) -> Sort {
    let called = |expression: &Expression, name: &str| match expression {
        Expression::Call(function, _) => function.last_name() == Some(name),
        other => other.last_name() == Some(name),
    };
    if class.decorators.iter().any(|decorator| called(decorator, "dataclass")) {
        return Sort::Dataclass;
    }
    for base in &class.bases {
        if base.last_name() == Some("BaseModel") {
            return Sort::Model;
        }
        if let Some(name) = base.last_name()
            && let Some(Meaning::Class(module, base)) = modules.meaning(module, name)
            && matches!(sort(modules, module, base), Sort::Model)
        {
            return Sort::Model;
        }
    }
    Sort::Plain
}

/// The fields of a class, those of its bases first: name, module and type.
pub(super) fn fields<'a>(
    modules: &'a Modules,
    module: &'a str,
    class: &'a Class,
) -> Vec<(&'a str, &'a str, &'a Expression)> {
    let mut all = Vec::new();
    for base in &class.bases {
        if let Some(name) = base.last_name()
            && let Some(Meaning::Class(module, base)) = modules.meaning(module, name)
        {
            all.extend(fields(modules, module, base));
        }
    }
    for statement in &class.body {
        let Statement::Assign { target: Expression::Name(name), annotation: Some(kind), value } =
            statement
        else {
            continue;
        };
        let base = match kind {
            Expression::Index(base, _) => base.last_name(),
            other => other.last_name(),
        };
        if matches!(base, Some("ClassVar" | "InitVar")) || is_private(value.as_ref()) {
            continue;
        }
        all.retain(|(known, ..)| known != name);
        all.push((name.as_str(), module, kind));
    }
    all
}

/// Whether a field's value says that nobody may give it.
fn is_private(value: Option<&Expression>) -> bool {
    let Some(Expression::Call(function, arguments)) = value else { return false };
    let never = Expression::Name("False".to_owned());
    function.last_name() == Some("PrivateAttr")
        || arguments.iter().any(|it| it.name.as_deref() == Some("init") && it.value == never)
}

/// What the flag of a field with this name and type takes.
pub(super) fn flag(name: &str, hints: &[Hint<'_>], rules: &Rules) -> Flag {
    let has = |hint: &Hint<'_>| hints.contains(hint);
    let optional = has(&Hint::Nothing);
    for hint in hints {
        if let Hint::Dataclass(_, name) = hint {
            return Flag::one(Kind::Object((*name).to_owned()));
        }
    }
    if has(&Hint::Boolean) {
        return Flag::one(Kind::Toggle);
    }
    for hint in hints {
        if let Hint::Literal(words) = hint {
            // Beside `str`, the words are only a help text.
            return Flag::one(if has(&Hint::Text) {
                Kind::Text
            } else {
                one_of(words.clone(), optional)
            });
        }
    }
    for hint in hints {
        if let Hint::Many(inner) = hint {
            let kind = match inner.as_slice() {
                [Hint::Integer] => Kind::Integer,
                [Hint::Float] => Kind::Number,
                [Hint::Literal(words)] => one_of(words.clone(), optional),
                _ => Kind::Text,
            };
            return Flag { kind, many: Many::Several };
        }
    }
    Flag::one(if has(&Hint::Integer) {
        if rules.sizes.contains(name) { Kind::Size } else { Kind::Integer }
    } else if has(&Hint::Float) {
        Kind::Number
    } else if has(&Hint::Dict) {
        let also_text = has(&Hint::Text) || has(&Hint::Other);
        if rules.text_for_dict && also_text { Kind::JsonOrText } else { Kind::Json }
    } else {
        Kind::Text
    })
}

fn one_of(mut words: Vec<String>, optional: bool) -> Kind {
    words.sort();
    words.dedup();
    if optional {
        words.push("None".to_owned());
    }
    Kind::OneOf(words)
}

/// The fields of a class and of every class that they hold.
pub(super) fn objects(
    modules: &Modules,
    module: &str,
    name: &str,
    rules: &Rules,
    into: &mut BTreeMap<String, BTreeMap<String, Flag>>,
) {
    let Some(Meaning::Class(module, class)) = modules.meaning(module, name) else { return };
    if into.contains_key(&class.name) {
        return;
    }
    into.insert(class.name.clone(), BTreeMap::new());
    let mut known = BTreeMap::new();
    for (field, module, kind) in fields(modules, module, class) {
        if field.starts_with('_') {
            continue;
        }
        let hints = hints(modules, module, kind);
        let mut flag = flag(field, &hints, rules);
        for hint in &hints {
            if let Hint::Dataclass(of, class) | Hint::Model(of, class) = hint {
                objects(modules, of, class, rules, into);
                flag = Flag::one(Kind::Object((*class).to_owned()));
            }
        }
        known.insert(field.to_owned(), flag);
    }
    into.insert(class.name.clone(), known);
}
