//! Follows a parser through the functions that it is handed to, up to the calls of `add_argument`
//! that fill it.
//!
//! Both branches of a condition are followed, each once: more may be found than one start of the
//! program takes, never less. What can't be followed is noted.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::calls::MethodCall;
use super::keywords::{Keywords, Objects, Reading};
use super::modules::{Binding, Meaning, Module, Modules};
use super::rules::{self, Rules};
use super::tree::{Argument, Class, Expression, Function, Statement};
use super::types;
use crate::engines::vllm::taken::{Flag, ValueKind};

/// Flags by name, and the objects that they take.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) flags: BTreeMap<String, Flag>,
    pub(super) objects: Objects,
    /// The only ones that are taken, when the parser has a list of them: not to be seen here.
    pub(super) reasoning_is_checked: bool,
    /// What the parser was handed to and could not be followed to: there may be more flags.
    pub(super) unread: BTreeSet<String>,
}

/// Keyword arguments that several names may stand for, as in Python.
pub(super) type Entry = Rc<RefCell<Keywords>>;
pub(super) type Entries = Rc<RefCell<BTreeMap<String, Entry>>>;

/// What a name stands for while a function runs, as far as it matters.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    /// The parser, or a group of it.
    Parser,
    /// Keyword arguments by field: what `get_kwargs` returns.
    Entries(Entries),
    /// Those of one field.
    Entry(Entry),
    /// A class, or an object of it.
    Class(Owner<'a>),
}

/// A class and the module that it is defined in.
pub(super) type Owner<'a> = (&'a str, &'a Class);

/// A function that is being followed.
pub(super) struct Scope<'a> {
    pub(super) module: &'a str,
    /// The class it was called on, and the one that defines it.
    pub(super) classes: Option<(Owner<'a>, Owner<'a>)>,
    names: HashMap<String, Value<'a>>,
    imports: HashMap<String, Binding>,
    returned: Option<Value<'a>>,
}

/// Calls go no deeper than this.
const DEEPEST: usize = 32;

/// Where platforms that aren't vLLM's own may add flags: those that vLLM brings add none, as read
/// in 0.8.5.post1 to 0.33.0.
const HOOK: &str = "pre_register_and_update";

pub(super) struct Follower<'a> {
    pub(super) modules: &'a Modules,
    rules: Rules,
    /// Beginnings of flags that say yes, and those of the flags that the parser adds to say no.
    inverses: Vec<(String, String)>,
    depth: usize,
    pub(super) found: Arguments,
}

impl<'a> Follower<'a> {
    pub(super) fn new(modules: &'a Modules) -> Self {
        Self {
            modules,
            rules: Rules::default(),
            inverses: Vec::new(),
            depth: 0,
            found: Arguments::default(),
        }
    }

    /// Follows what a module does when it is the program.
    pub(super) fn program(&mut self, module: &'a str, body: &'a [Statement]) {
        self.parser(module);
        let mut scope = Scope::new(module, None);
        self.run(&mut scope, body);
    }

    /// Follows a method that makes a parser.
    pub(super) fn method(&mut self, owner: Owner<'a>, function: &'a Function) {
        self.parser(owner.0);
        let mut scope = Scope::new(owner.0, Some((owner, owner)));
        self.run(&mut scope, &function.body);
    }

    /// Reads what the parser's class does of its own, where a module names it.
    fn parser(&mut self, module: &'a str) {
        for name in self.modules.get(module).into_iter().flat_map(Module::names) {
            if is_parser(name)
                && let Some(Meaning::Class(module, _)) = self.modules.meaning(module, name)
                && let Some(module) = self.modules.get(module)
            {
                self.inverses.extend(rules::inverses(module));
            }
        }
    }

    /// What was found, with the flags that the parser adds of itself.
    pub(super) fn finish(mut self) -> Arguments {
        let mut more = BTreeMap::new();
        for (name, flag) in &self.found.flags {
            for (prefix, inverse) in &self.inverses {
                if flag.kind == ValueKind::Toggle
                    && let Some(rest) = format!("--{name}").strip_prefix(prefix)
                {
                    let name = format!("{inverse}{rest}").trim_start_matches('-').to_owned();
                    more.insert(name, Flag::one(ValueKind::Switch));
                }
            }
        }
        more.append(&mut self.found.flags);
        self.found.flags = more;
        self.found
    }

    fn run(&mut self, scope: &mut Scope<'a>, body: &'a [Statement]) {
        for statement in body {
            match statement {
                Statement::Assign { target, value: Some(value), .. } => {
                    self.assign(scope, target, value);
                }
                Statement::Change { target } => self.change(scope, target),
                Statement::Delete(target) => {
                    if let Some((entry, word)) = self.entry(scope, target) {
                        entry.borrow_mut().unset(word);
                    }
                }
                Statement::Block { keyword, head, body } => {
                    if keyword == "for"
                        && let Expression::Call(function, _) = head
                        && let Expression::Attribute(of, items) = &**function
                        && items == "items"
                        && let Some(Value::Entries(all)) = self.value(scope, of)
                        && adds_arguments(body)
                    {
                        for (field, entry) in &*all.borrow() {
                            let flag = entry.borrow().clone().flag();
                            self.found.flags.insert(field.replace('_', "-"), flag);
                        }
                        continue;
                    }
                    self.value(scope, head);
                    self.run(scope, body);
                }
                Statement::Expression(expression) => drop(self.value(scope, expression)),
                Statement::Return(expression) => {
                    let value = self.value(scope, expression);
                    scope.returned = scope.returned.take().or(value);
                }
                import @ (Statement::Import { .. } | Statement::ImportModule { .. }) => {
                    scope.imports.extend(self.modules.imports(scope.module, import));
                }
                _ => {}
            }
        }
    }

    fn assign(&mut self, scope: &mut Scope<'a>, target: &'a Expression, value: &'a Expression) {
        if let Expression::Name(name) = target {
            match self.value(scope, value) {
                Some(value) => drop(scope.names.insert(name.clone(), value)),
                // The other branch of a condition may have more to say.
                None if matches!(scope.names.get(name), Some(Value::Parser)) => {}
                None => drop(scope.names.remove(name)),
            }
        } else if let Some((entry, word)) = self.entry(scope, target) {
            let mut keywords = entry.borrow().clone();
            self.set(scope, &mut keywords, word, value);
            entry.replace(keywords);
        } else {
            self.value(scope, value);
        }
    }

    /// `kwargs["field"]["choices"] += [...]`: which ones can't be seen.
    fn change(&mut self, scope: &mut Scope<'a>, target: &'a Expression) {
        if let Some((entry, "choices")) = self.entry(scope, target) {
            entry.borrow_mut().change_choices(None);
        }
    }

    pub(super) fn set(
        &mut self,
        scope: &Scope<'a>,
        keywords: &mut Keywords,
        word: &str,
        value: &Expression,
    ) {
        let mut reading = Reading {
            modules: self.modules,
            module: scope.module,
            rules: &self.rules,
            objects: &mut self.found.objects,
            reasoning_is_checked: &mut self.found.reasoning_is_checked,
        };
        keywords.set(word, value, &mut reading);
    }

    /// `kwargs["field"]["word"]`: the field's keywords and the word.
    pub(super) fn entry(
        &mut self,
        scope: &mut Scope<'a>,
        target: &'a Expression,
    ) -> Option<(Entry, &'a str)> {
        let Expression::Index(of, word) = target else { return None };
        let Some(Value::Entry(entry)) = self.value(scope, of) else { return None };
        Some((entry, word.first()?.text()?))
    }

    /// What an expression stands for, calls in it followed.
    pub(super) fn value(
        &mut self,
        scope: &mut Scope<'a>,
        expression: &'a Expression,
    ) -> Option<Value<'a>> {
        match expression {
            Expression::Name(name) => match scope.names.get(name) {
                Some(value) => Some(value.clone()),
                None => self.class(scope, expression),
            },
            Expression::Attribute(..) => self.class(scope, expression),
            Expression::Index(of, key) => match (self.value(scope, of)?, key.first()?) {
                (Value::Entries(all), Expression::Text(field)) => {
                    Some(Value::Entry(all.borrow().get(field)?.clone()))
                }
                _ => None,
            },
            Expression::Call(function, arguments) => self.call(scope, function, arguments),
            _ => None,
        }
    }

    fn class(&self, scope: &Scope<'a>, path: &Expression) -> Option<Value<'a>> {
        match self.meaning(scope, path)? {
            Meaning::Class(module, class) => Some(Value::Class((module, class))),
            _ => None,
        }
    }

    /// What a name means where it is used: imports within the function come first.
    pub(super) fn meaning(&self, scope: &Scope<'a>, path: &Expression) -> Option<Meaning<'a>> {
        if let Expression::Name(name) = path
            && let Some(Binding::Import { module, name }) = scope.imports.get(name)
        {
            return self.modules.meaning(module, name);
        }
        self.modules.named(scope.module, path)
    }

    fn call(
        &mut self,
        scope: &mut Scope<'a>,
        function: &'a Expression,
        arguments: &'a [Argument],
    ) -> Option<Value<'a>> {
        let name = function.last_name().unwrap_or_default();
        if name == "get_kwargs" {
            let class = self.value(scope, &arguments.first()?.value);
            let Some(Value::Class(class)) = class else { return None };
            return Some(Value::Entries(self.entries(scope, function, class)));
        }
        if let Expression::Attribute(of, _) = function {
            if name == "add_parser" {
                return Some(Value::Parser);
            }
            if let MethodCall::Known(value) = self.method_call(scope, of, name, arguments) {
                return value;
            }
        }
        if is_parser(name) {
            return Some(Value::Parser);
        }
        let values: Vec<_> =
            arguments.iter().map(|argument| self.value(scope, &argument.value)).collect();
        if ["deepcopy", "copy", "dict"].contains(&name) {
            return values.into_iter().next()?;
        }
        let handed = |value: &Value<'_>| {
            matches!(value, Value::Parser | Value::Entries(_) | Value::Entry(_))
        };
        if name == HOOK || !values.iter().flatten().any(handed) {
            return None;
        }
        let callee = self.callee(scope, function).filter(|_| self.depth < DEEPEST);
        let Some((function, module, classes)) = callee else {
            return self.lost(scope, function, &values);
        };
        let mut inner = Scope::new(module, classes);
        let mut parameters = function.parameters.iter();
        if let Some((called_on, _)) = classes
            && !function.is_static()
            && let Some(name) = parameters.next()
        {
            inner.names.insert(name.clone(), Value::Class(called_on));
        }
        for (argument, value) in arguments.iter().zip(values) {
            let parameter = argument.name.as_ref().or_else(|| parameters.next());
            if let (Some(parameter), Some(value)) = (parameter, value) {
                inner.names.insert(parameter.clone(), value);
            }
        }
        self.depth += 1;
        self.run(&mut inner, &function.body);
        self.depth -= 1;
        inner.returned
    }

    /// What `get_kwargs` returns for a class.
    fn entries(
        &mut self,
        scope: &Scope<'a>,
        function: &Expression,
        (module, class): Owner<'a>,
    ) -> Entries {
        if let Some(Meaning::Function(making, _)) = self.meaning(scope, function)
            && let Some(making) = self.modules.get(making)
        {
            self.rules = Rules::of(making);
        }
        let mut entries = BTreeMap::new();
        let fields = types::fields(self.modules, module, class);
        self.found.unread.extend(fields.unread);
        for (field, module, kind) in fields.all {
            let hints = types::hints(self.modules, module, kind);
            let flag = types::flag(field, &hints, &self.rules);
            for hint in &hints {
                if let types::Hint::Dataclass(of, name) = hint {
                    let objects = &mut self.found.objects;
                    types::objects(self.modules, of, name, &self.rules, objects);
                }
            }
            entries.insert(field.to_owned(), Rc::new(RefCell::new(Keywords::of(flag))));
        }
        Rc::new(RefCell::new(entries))
    }
}

impl<'a> Scope<'a> {
    fn new(module: &'a str, classes: Option<(Owner<'a>, Owner<'a>)>) -> Self {
        let (names, imports) = (HashMap::new(), HashMap::new());
        Self { module, classes, names, imports, returned: None }
    }
}

fn is_parser(class: &str) -> bool {
    class.ends_with("ArgumentParser")
}

fn adds_arguments(body: &[Statement]) -> bool {
    body.iter().any(|statement| {
        matches!(statement, Statement::Expression(Expression::Call(function, _))
            if function.last_name() == Some("add_argument"))
    })
}
