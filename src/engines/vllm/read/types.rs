//! What a field's type makes of its flag: vLLM's `get_kwargs`, done on definitions.

use std::collections::BTreeMap;

use super::modules::{Meaning, Modules};
use super::rules::Rules;
use super::tree::{Class, Expression, Statement};
use crate::engines::vllm::taken::{Flag, Many, ValueKind};

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
    /// A name that can't be followed to what it stands for.
    Unknown,
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
            _ => named(modules, module, of, found, depth),
        },
        Expression::Attribute(..) => named(modules, module, of, found, depth),
        _ => found.push(Hint::Other),
    }
}

/// Modules of which no class is written as JSON.
const PLAIN: [&str; 8] = [
    "collections",
    "enum",
    "pathlib",
    "torch",
    "transformers",
    "types",
    "typing",
    "typing_extensions",
];

fn named<'a>(
    modules: &'a Modules,
    module: &'a str,
    of: &'a Expression,
    found: &mut Vec<Hint<'a>>,
    depth: usize,
) {
    match modules.named(module, of) {
        Some(Meaning::Value(module, value)) => collect(modules, module, value, found, depth + 1),
        Some(Meaning::Class(module, class)) => found.push(match sort(modules, module, class) {
            Sort::Dataclass => Hint::Dataclass(module, &class.name),
            Sort::Model => Hint::Model(module, &class.name),
            Sort::Dict => Hint::Dict,
            Sort::Plain => Hint::Other,
            Sort::Unknown => Hint::Unknown,
        }),
        Some(Meaning::Foreign(of)) if PLAIN.contains(&of.split('.').next().unwrap_or(of)) => {
            found.push(Hint::Other);
        }
        Some(Meaning::Function(..)) => found.push(Hint::Other),
        // Built in, such as `object`.
        None if of.last_name().is_some_and(|name| name.starts_with(char::is_lowercase)) => {
            found.push(Hint::Other);
        }
        Some(Meaning::Foreign(_)) | None => found.push(Hint::Unknown),
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
    Dict,
    Plain,
    /// A base or a decorator can't be followed.
    Unknown,
}

fn sort(modules: &Modules, module: &str, class: &Class) -> Sort {
    let mut sorts =
        class.decorators.iter().map(|it| decorated(modules, module, it)).collect::<Vec<_>>();
    let unindexed = |base: &'_ Expression| match base {
        Expression::Index(base, _) => base.last_name().map(str::to_owned),
        base => base.last_name().map(str::to_owned),
    };
    sorts.extend(class.bases.iter().map(|base| match unindexed(base).as_deref() {
        Some("BaseModel") => Sort::Model,
        Some("dict") => Sort::Dict,
        _ => match modules.named(module, base) {
            Some(Meaning::Class(of, base)) => sort(modules, of, base),
            Some(_) => Sort::Plain,
            // `object`, `Generic[T]`
            None if !matches!(base, Expression::Name(name) if !is_built_in(name)) => Sort::Plain,
            None => Sort::Unknown,
        },
    }));
    let plain = |sort: &Sort| matches!(sort, Sort::Plain);
    let known = |sort: &Sort| !matches!(sort, Sort::Plain | Sort::Unknown);
    match sorts.iter().position(known).or_else(|| sorts.iter().position(|sort| !plain(sort))) {
        Some(at) => sorts.swap_remove(at),
        None => Sort::Plain,
    }
}

fn is_built_in(name: &str) -> bool {
    name.starts_with(char::is_lowercase) || name.ends_with("Exception") || name.ends_with("Error")
}

/// What a decorator makes of a class: vLLM has one of its own that makes dataclasses.
fn decorated(modules: &Modules, module: &str, decorator: &Expression) -> Sort {
    let called = match decorator {
        Expression::Call(function, _) => function,
        other => other,
    };
    if called.last_name() == Some("dataclass") {
        return Sort::Dataclass;
    }
    match modules.named(module, called) {
        Some(Meaning::Function(_, function)) => {
            let makes = function.decorators.iter().any(|decorator| {
                matches!(decorator, Expression::Call(function, _)
                    if function.last_name() == Some("dataclass_transform"))
            });
            if makes { Sort::Dataclass } else { Sort::Plain }
        }
        Some(_) => Sort::Plain,
        None => Sort::Unknown,
    }
}

/// The fields of a class.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    /// Those of its bases first: name, module and type.
    pub(super) all: Vec<(&'a str, &'a str, &'a Expression)>,
    /// A base that can't be followed, and may have more.
    pub(super) unread: Option<String>,
}

/// The fields of a class and of its bases.
pub(super) fn fields<'a>(modules: &'a Modules, module: &'a str, class: &'a Class) -> Fields<'a> {
    let mut found = Fields::default();
    for base in &class.bases {
        match modules.named(module, base) {
            Some(Meaning::Class(module, base)) => {
                let inherited = fields(modules, module, base);
                found.all.extend(inherited.all);
                found.unread = found.unread.or(inherited.unread);
            }
            None if matches!(base, Expression::Name(name) if !is_built_in(name)) => {
                found.unread = base.last_name().map(|base| format!("{module}.{base}"));
            }
            _ => {}
        }
    }
    let all = &mut found.all;
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
    found
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
            return Flag::one(ValueKind::Object((*name).to_owned()));
        }
    }
    if rules.text_or_yes && optional && has(&Hint::Boolean) && has(&Hint::Text) {
        return Flag { kind: ValueKind::Text, many: Many::Optional };
    }
    if has(&Hint::Boolean) {
        return Flag::one(ValueKind::Toggle);
    }
    for hint in hints {
        if let Hint::Literal(words) = hint {
            // Beside `str`, the words are only a help text.
            return Flag::one(if has(&Hint::Text) {
                ValueKind::Text
            } else {
                one_of(words.clone(), optional)
            });
        }
    }
    for hint in hints {
        if let Hint::Many(inner) = hint {
            let kind = match inner.as_slice() {
                [Hint::Integer] => ValueKind::Integer,
                [Hint::Float] => ValueKind::Number,
                [Hint::Literal(words)] => one_of(words.clone(), optional),
                _ => ValueKind::Text,
            };
            return Flag { kind, many: Many::Several };
        }
    }
    Flag::one(if has(&Hint::Integer) {
        rules.whole(name)
    } else if has(&Hint::Float) {
        ValueKind::Number
    } else if has(&Hint::Dict) {
        let also_text = has(&Hint::Text) || has(&Hint::Other);
        if rules.text_for_dict && also_text { ValueKind::JsonOrText } else { ValueKind::Json }
    } else if has(&Hint::Unknown) && !has(&Hint::Text) {
        ValueKind::Unread
    } else {
        ValueKind::Text
    })
}

fn one_of(mut words: Vec<String>, optional: bool) -> ValueKind {
    words.sort();
    words.dedup();
    if optional {
        words.push("None".to_owned());
    }
    ValueKind::OneOf(words)
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
    let fields = fields(modules, module, class);
    // Of an object that is known in part, no field is known to be wrong.
    if fields.unread.is_some() {
        return;
    }
    for (field, module, kind) in fields.all {
        if field.starts_with('_') {
            continue;
        }
        let hints = hints(modules, module, kind);
        let mut flag = flag(field, &hints, rules);
        for hint in &hints {
            if let Hint::Dataclass(of, class) | Hint::Model(of, class) = hint {
                objects(modules, of, class, rules, into);
                flag = Flag::one(ValueKind::Object((*class).to_owned()));
            }
        }
        known.insert(field.to_owned(), flag);
    }
    into.insert(class.name.clone(), known);
}
