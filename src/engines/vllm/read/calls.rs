//! Calls within what is followed: of the parser, of keyword arguments, of functions by name.

use super::follow::{Follower, Owner, Scope, Value};
use super::keywords::Keywords;
use super::modules::Meaning;
use super::tree::{Argument, Expression, Function, Statement};
use crate::engines::vllm::taken::{Flag, ValueKind};

/// What a method's call came to.
pub(super) enum MethodCall<'a> {
    /// What a method returned that is known here, if that matters.
    Known(Option<Value<'a>>),
    /// Of none of these: a function to be followed, if any.
    Other,
}

impl<'a> Follower<'a> {
    /// A method of the parser, of keyword arguments or of their choices.
    pub(super) fn method_call(
        &mut self,
        scope: &mut Scope<'a>,
        of: &'a Expression,
        method: &str,
        arguments: &'a [Argument],
    ) -> MethodCall<'a> {
        if let Some((entry, "choices")) = self.entry(scope, of) {
            let removed = if method == "remove" {
                arguments.first().and_then(|argument| self.text(scope, &argument.value))
            } else {
                None
            };
            entry.borrow_mut().change_choices(removed);
            return MethodCall::Known(None);
        }
        let Some(value) = self.value(scope, of) else { return MethodCall::Other };
        MethodCall::Known(match value {
            Value::Parser => match method {
                "add_argument" => {
                    self.add(scope, arguments);
                    None
                }
                "add_argument_group" | "add_mutually_exclusive_group" => Some(Value::Parser),
                _ => None,
            },
            Value::Entry(entry) => {
                match (method, arguments.first().and_then(|argument| argument.value.text())) {
                    ("pop", Some(word)) => entry.borrow_mut().unset(word),
                    ("update", _) => {
                        let mut keywords = entry.borrow().clone();
                        self.words(scope, &mut keywords, arguments);
                        entry.replace(keywords);
                    }
                    _ => {}
                }
                None
            }
            Value::Entries(all) => {
                let field = arguments.first().and_then(|argument| argument.value.text());
                let field = field.filter(|_| method == "pop");
                field.and_then(|field| all.borrow_mut().remove(field).map(Value::Entry))
            }
            Value::Class(_) => return MethodCall::Other,
        })
    }

    /// The text that a name stands for.
    fn text(&self, scope: &Scope<'a>, value: &'a Expression) -> Option<&'a str> {
        match value {
            Expression::Text(text) => Some(text),
            name => match self.meaning(scope, name)? {
                Meaning::Value(_, value) => value.text(),
                _ => None,
            },
        }
    }

    /// The function that is called, its module, and the classes of a method.
    #[expect(clippy::type_complexity, reason = "read in one place")]
    pub(super) fn callee(
        &mut self,
        scope: &mut Scope<'a>,
        function: &'a Expression,
    ) -> Option<(&'a Function, &'a str, Option<(Owner<'a>, Owner<'a>)>)> {
        if let Some(Meaning::Function(module, function)) = self.meaning(scope, function) {
            return Some((function, module, None));
        }
        let Expression::Attribute(of, name) = function else { return None };
        let is_super = matches!(&**of, Expression::Call(function, _)
            if function.last_name() == Some("super"));
        let (called_on, after) = if is_super {
            let (called_on, defined_in) = scope.classes?;
            (called_on, Some(defined_in))
        } else {
            match self.value(scope, of)? {
                Value::Class(owner) => (owner, None),
                _ => return None,
            }
        };
        let mut owners = self.order(called_on).into_iter();
        if let Some(after) = after {
            owners.find(|(module, class)| *module == after.0 && class.name == after.1.name);
        }
        owners.find_map(|owner| {
            let function = owner.1.body.iter().find_map(|statement| match statement {
                Statement::Function(function) if function.name == *name => Some(function),
                _ => None,
            })?;
            Some((function, owner.0, Some((called_on, owner))))
        })
    }

    /// A class and its bases, in the order in which methods are looked for.
    fn order(&self, owner: Owner<'a>) -> Vec<Owner<'a>> {
        let mut all = vec![owner];
        for base in &owner.1.bases {
            if let Some(Meaning::Class(module, class)) = self.modules.named(owner.0, base) {
                all.extend(self.order((module, class)));
            }
        }
        all
    }

    /// Notes that the parser went where nobody can follow; it is taken to come back.
    pub(super) fn lost(
        &mut self,
        scope: &Scope<'a>,
        function: &Expression,
        values: &[Option<Value<'a>>],
    ) -> Option<Value<'a>> {
        let parser = values.iter().flatten().find(|value| matches!(value, Value::Parser))?;
        let name = function.last_name().unwrap_or("a call");
        self.found.unread.insert(format!("{}: {name}", scope.module));
        Some(parser.clone())
    }

    /// One call of `add_argument`.
    pub(super) fn add(&mut self, scope: &mut Scope<'a>, arguments: &'a [Argument]) {
        let places: Vec<_> =
            arguments.iter().filter(|it| it.name.is_none() && !it.spread).collect();
        let names: Vec<&str> = places
            .iter()
            .filter_map(|argument| argument.value.text()?.strip_prefix("--"))
            .collect();
        if places.is_empty() || places.iter().any(|argument| argument.value.text().is_none()) {
            self.found.unread.insert(format!("{}: add_argument", scope.module));
        }
        let mut keywords = Keywords::default();
        self.words(scope, &mut keywords, arguments);
        let flag = keywords.flag();
        for name in names {
            self.found.flags.insert(name.to_owned(), flag.clone());
        }
    }

    /// The keyword arguments of a call.
    pub(super) fn words(
        &mut self,
        scope: &mut Scope<'a>,
        keywords: &mut Keywords,
        arguments: &'a [Argument],
    ) {
        // What was made of a field comes first: the call's own arguments say more.
        for argument in arguments.iter().filter(|argument| argument.spread) {
            self.spread(scope, &argument.value, keywords);
        }
        for argument in arguments {
            match (&argument.name, &argument.value) {
                (Some(word), value) => self.set(scope, keywords, word, value),
                (None, table @ Expression::Dict(_)) => self.spread(scope, table, keywords),
                _ => {}
            }
        }
    }

    fn spread(&mut self, scope: &mut Scope<'a>, value: &'a Expression, keywords: &mut Keywords) {
        if let Expression::Dict(pairs) = value {
            for (key, value) in pairs {
                match key {
                    None => self.spread(scope, value, keywords),
                    Some(Expression::Text(word)) => self.set(scope, keywords, word, value),
                    Some(_) => {}
                }
            }
            return;
        }
        match self.value(scope, value) {
            Some(Value::Entry(entry)) => keywords.clone_from(&entry.borrow()),
            // What it takes can't be seen.
            _ => *keywords = Keywords::of(Flag::one(ValueKind::Unread)),
        }
    }
}
