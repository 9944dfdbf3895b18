//! How a version makes flags of fields: what its `get_kwargs` does that others don't.

use std::collections::BTreeMap;

use super::modules::Module;
use super::tree::{Expression, Function, Statement};
use super::walk;
use crate::engines::vllm::taken::ValueKind;

/// How flags are made of fields in this version.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Fields whose numbers are read in a way of their own, with units for one.
    pub(super) numbers: BTreeMap<String, ValueKind>,
    /// Whether a dict may be given as a text that isn't JSON.
    pub(super) text_for_dict: bool,
    /// Whether a flag that takes a text or a truth may stand alone.
    pub(super) text_or_yes: bool,
}

impl Rules {
    /// The rules of the module that makes flags of fields.
    pub(super) fn of(module: &Module) -> Self {
        let mut rules = Self::default();
        walk(&module.statements, &mut |statement| match statement {
            Statement::Function(function) if function.name == "union_dict_and_str" => {
                rules.text_for_dict = true;
            }
            Statement::Function(function) => rules.function(function),
            _ => {}
        });
        rules
    }

    /// What a whole number of this field is written as.
    pub(super) fn whole(&self, field: &str) -> ValueKind {
        self.numbers.get(field).cloned().unwrap_or(ValueKind::Integer)
    }

    /// `if name == "max_model_len": kwargs[name]["type"] = human_readable_int_or_auto`, and the like
    /// with several names.
    fn function(&mut self, function: &Function) {
        let mut lists = BTreeMap::new();
        walk(&function.body, &mut |statement| match statement {
            Statement::Assign { target: Expression::Name(name), value: Some(value), .. } => {
                if matches!(value, Expression::List(_)) {
                    lists.insert(name.as_str(), value);
                }
            }
            Statement::Block { head: Expression::Compare(left, sign, right), body, .. } => {
                let names = match &**right {
                    Expression::Name(name) => lists.get(name.as_str()).copied(),
                    other => Some(other),
                };
                let Some(names) = names else { return };
                if *sign == "==" && left.last_name() == Some("type_hints") {
                    self.text_or_yes |= is_text_or_yes(names);
                }
                if let (Some("name"), Some(kind)) = (left.last_name(), number(body)) {
                    let names = match names {
                        Expression::List(names) => names.as_slice(),
                        one => std::slice::from_ref(one),
                    };
                    for name in names.iter().filter_map(Expression::text) {
                        self.numbers.insert(name.to_owned(), kind.clone());
                    }
                }
            }
            _ => {}
        });
    }
}

/// `{bool, str, type(None)}`
fn is_text_or_yes(types: &Expression) -> bool {
    let Expression::List(types) = types else { return false };
    let has = |name| types.iter().any(|one| one.last_name() == Some(name));
    types.len() == 3 && has("bool") && has("str")
}

/// What the first type that a block gives reads.
fn number(body: &[Statement]) -> Option<ValueKind> {
    body.iter().find_map(|statement| match statement {
        Statement::Assign { target: Expression::Index(..), value: Some(value), .. } => {
            by_name(value.last_name()?)
        }
        _ => None,
    })
}

/// What vLLM's own functions for numbers read.
pub(super) fn by_name(function: &str) -> Option<ValueKind> {
    match function {
        "human_readable_int" => Some(ValueKind::Size),
        "human_readable_int_or_auto" => Some(ValueKind::SizeOrAuto),
        _ => None,
    }
}

/// `_inverse_prefixes = {"--enable-": "--disable-"}`, as 0.33.0's parser has it: what may be said no
/// to by another flag.
pub(super) fn inverses(module: &Module) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(&module.statements, &mut |statement| {
        if let Statement::Assign { target, value: Some(Expression::Dict(pairs)), .. } = statement
            && target.last_name() == Some("_inverse_prefixes")
        {
            let pair = |(key, value): &(Option<Expression>, Expression)| {
                Some((key.as_ref()?.text()?.to_owned(), value.text()?.to_owned()))
            };
            found.extend(pairs.iter().filter_map(pair));
        }
    });
    found
}
