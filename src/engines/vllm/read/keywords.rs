//! Keyword arguments of one `add_argument`, and what they make of its flag.

use std::collections::BTreeMap;

use super::modules::{Meaning, Modules};
use super::rules::{self, Rules};
use super::tree::{Expression, Statement};
use super::{types, walk};
use crate::engines::vllm::taken::{Flag, Many, ValueKind};

/// Objects by name, each with its fields.
pub(super) type Objects = BTreeMap<String, BTreeMap<String, Flag>>;

/// Keyword arguments of one `add_argument`, as far as they decide what is taken.
#[derive(Debug, Clone)]
pub(super) struct Keywords {
    /// What the type reads, or the action makes of it.
    kind: ValueKind,
    choices: Choices,
    many: Many,
}

/// Which words are taken.
#[derive(Debug, Clone)]
enum Choices {
    /// All that the type reads.
    Any,
    /// These.
    Words(Vec<String>),
    /// Some, and it can't be seen which.
    Unseen,
}

/// What is needed to read a keyword's value.
pub(super) struct Reading<'a, 'r> {
    pub(super) modules: &'a Modules,
    pub(super) module: &'a str,
    pub(super) rules: &'r Rules,
    pub(super) objects: &'r mut Objects,
    /// Whether the words of a flag are the registered parsers of reasoning.
    pub(super) reasoning_is_checked: &'r mut bool,
}

impl Default for Keywords {
    fn default() -> Self {
        Self::of(Flag::one(ValueKind::Text))
    }
}

impl Keywords {
    pub(super) fn of(flag: Flag) -> Self {
        match flag.kind {
            ValueKind::OneOf(words) => {
                Self { kind: ValueKind::Text, choices: Choices::Words(words), many: flag.many }
            }
            kind => Self { kind, choices: Choices::Any, many: flag.many },
        }
    }

    /// The flag that they make.
    pub(super) fn flag(self) -> Flag {
        let kind = match self.choices {
            Choices::Words(words)
                if !matches!(self.kind, ValueKind::Switch | ValueKind::Toggle) =>
            {
                ValueKind::OneOf(words)
            }
            _ => self.kind,
        };
        Flag { kind, many: self.many }
    }

    /// One keyword argument, over what is known so far.
    pub(super) fn set(&mut self, word: &str, value: &Expression, reading: &mut Reading<'_, '_>) {
        match word {
            "type" => {
                self.kind = reading.kind(value);
                // A type of vLLM's own may turn other words into these.
                if is_own(value) && !matches!(self.choices, Choices::Any) {
                    self.choices = Choices::Unseen;
                }
            }
            "action" => match (value.text(), value.last_name()) {
                (Some("store_true" | "store_false"), _) => self.kind = ValueKind::Switch,
                (Some("append"), _) => self.many = Many::Repeated,
                (_, Some("BooleanOptionalAction")) => self.kind = ValueKind::Toggle,
                _ => {}
            },
            "nargs" => {
                self.many = match value.text() {
                    Some("?") => Many::Optional,
                    _ => Many::Several,
                }
            }
            "choices" => {
                self.choices = match reading.choices(value) {
                    Some(mut words) => {
                        // `None` among them stands for the flag's absence.
                        if let Choices::Words(before) = &self.choices
                            && before.iter().any(|word| word == "None")
                            && !words.iter().any(|word| word == "None")
                        {
                            words.push("None".to_owned());
                        }
                        Choices::Words(words)
                    }
                    None => Choices::Unseen,
                };
            }
            _ => {}
        }
    }

    /// Takes a keyword argument away.
    pub(super) fn unset(&mut self, word: &str) {
        match word {
            "nargs" if self.many == Many::Several => self.many = Many::One,
            "choices" => self.choices = Choices::Any,
            "type" => self.kind = ValueKind::Text,
            _ => {}
        }
    }

    /// The choices without one; without a word, they are changed in a way that can't be seen.
    pub(super) fn change_choices(&mut self, removed: Option<&str>) {
        match (&mut self.choices, removed) {
            (Choices::Words(words), Some(removed)) => words.retain(|word| word != removed),
            _ => self.choices = Choices::Unseen,
        }
    }
}

/// Whether a type is a function that vLLM has for this flag alone.
fn is_own(value: &Expression) -> bool {
    match value {
        Expression::Call(_, arguments) => arguments.first().is_some_and(|it| is_own(&it.value)),
        Expression::Lambda(_) => true,
        other => !matches!(other.last_name(), Some("str" | "int" | "float")),
    }
}

impl Reading<'_, '_> {
    /// What a `type=` argument reads.
    fn kind(&mut self, value: &Expression) -> ValueKind {
        match value {
            Expression::Call(function, arguments)
                if matches!(function.last_name(), Some("optional_type" | "parse_type")) =>
            {
                arguments.first().map_or(ValueKind::Text, |inner| self.kind(&inner.value))
            }
            Expression::Attribute(class, function)
                if function == "from_cli" || function == "from_json" =>
            {
                let Some(Meaning::Class(of, class)) = self.modules.named(self.module, class) else {
                    return ValueKind::Json;
                };
                let name = class.name.clone();
                types::objects(self.modules, of, &name, self.rules, self.objects);
                if reads(&class.body, function, "literal_eval") {
                    ValueKind::Python(name)
                } else {
                    ValueKind::Object(name)
                }
            }
            Expression::Lambda(body) => match &**body {
                Expression::Call(function, _) if is_json(function) => ValueKind::Json,
                _ => ValueKind::Text,
            },
            other => match other.last_name() {
                Some("str") => ValueKind::Text,
                Some("int") => ValueKind::Integer,
                Some("float") => ValueKind::Number,
                Some("loads") => ValueKind::Json,
                Some("union_dict_and_str") => ValueKind::JsonOrText,
                Some(name) => rules::by_name(name).unwrap_or_else(|| self.function(other)),
                None => ValueKind::Unread,
            },
        }
    }

    /// What a function of vLLM's own reads: a text, as far as can be seen.
    fn function(&self, name: &Expression) -> ValueKind {
        match self.modules.named(self.module, name) {
            Some(Meaning::Function(_, function)) => {
                let mut json = false;
                walk(&function.body, &mut |statement| {
                    if let Statement::Assign {
                        value: Some(Expression::Call(function, _)), ..
                    }
                    | Statement::Return(Expression::Call(function, _)) = statement
                    {
                        json |= is_json(function);
                    }
                });
                if json { ValueKind::Unread } else { ValueKind::Text }
            }
            _ => ValueKind::Unread,
        }
    }

    /// The words of a `choices=` argument, when they can be seen.
    fn choices(&mut self, value: &Expression) -> Option<Vec<String>> {
        match value {
            Expression::List(items) => {
                let mut words = Vec::new();
                for item in items {
                    match item {
                        Expression::Text(word) | Expression::Number(word) => {
                            words.push(word.clone());
                        }
                        Expression::Name(none) if none == "None" => words.push(none.clone()),
                        Expression::Spread(inner) => words.extend(self.choices(inner)?),
                        _ => return None,
                    }
                }
                Some(words)
            }
            Expression::Name(_) | Expression::Attribute(..) => {
                match self.modules.named(self.module, value)? {
                    Meaning::Value(module, value) => Reading {
                        module,
                        modules: self.modules,
                        rules: self.rules,
                        objects: self.objects,
                        reasoning_is_checked: self.reasoning_is_checked,
                    }
                    .choices(value),
                    _ => None,
                }
            }
            Expression::Index(base, _) if base.last_name() == Some("Literal") => {
                let mut words = Vec::new();
                types::literals(self.modules, self.module, value, &mut words).then_some(words)
            }
            Expression::Call(function, arguments) => {
                let inner = &arguments.first()?.value;
                if inner.last_name() == Some("reasoning_parsers") {
                    *self.reasoning_is_checked = true;
                    return None;
                }
                match function.last_name()? {
                    "get_args" | "list" | "sorted" | "tuple" => self.choices(inner),
                    _ => None,
                }
            }
            // `[f.value for f in SomeEnum]`
            Expression::Comprehension(element, over) if element.last_name() == Some("value") => {
                let Meaning::Class(_, class) = self.modules.named(self.module, over)? else {
                    return None;
                };
                let member = |statement: &Statement| match statement {
                    Statement::Assign { value: Some(Expression::Text(word)), .. } => {
                        Some(word.clone())
                    }
                    _ => None,
                };
                Some(class.body.iter().filter_map(member).collect())
            }
            _ => None,
        }
    }
}

fn is_json(function: &Expression) -> bool {
    matches!(function.last_name(), Some("loads" | "validate_json" | "model_validate_json"))
}

/// Whether a class's method hands its text to this function.
fn reads(body: &[Statement], method: &str, reader: &str) -> bool {
    let mut found = false;
    for statement in body {
        let Statement::Function(function) = statement else { continue };
        if function.name != method {
            continue;
        }
        walk(&function.body, &mut |statement| {
            found |= matches!(statement, Statement::Assign { value: Some(Expression::Call(function, _)), .. }
                if function.last_name() == Some(reader));
        });
    }
    found
}
