//! Follows a parser through the functions that it is handed to, up to the calls of `add_argument`
//! that fill it.
//!
//! Both branches of a condition are followed, each once: more may be found than one start of the
//! program takes, never less. What can't be followed is noted.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::keywords::{Keywords, Objects, Reading};
use super::modules::{Binding, Meaning, Module, Modules};
use super::rules::{self, Rules};
use super::tree::{Argument, Class, Expression, Function, Statement};
use super::types;
use crate::lock::{Flag, Kind};

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
type Entry = Rc<RefCell<Keywords>>;
type Entries = Rc<RefCell<BTreeMap<String, Entry>>>;

/// What a name stands for while a function runs, as far as it matters.
#[derive(Debug, Clone)]
enum Held<'a> {
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
type Owner<'a> = (&'a str, &'a Class);

/// A function that is being followed.
struct Scope<'a> {
    module: &'a str,
    /// The class it was called on, and the one that defines it.
    classes: Option<(Owner<'a>, Owner<'a>)>,
    names: HashMap<String, Held<'a>>,
    imports: HashMap<String, Binding>,
    returned: Option<Held<'a>>,
}

/// Calls go no deeper than this.
const DEEPEST: usize = 32;

/// Where platforms that aren't vLLM's own may add flags: those that vLLM brings add none, as read
/// in 0.8.5.post1 to 0.33.0.
const HOOK: &str = "pre_register_and_update";

pub(super) struct Follower<'a> {
    modules: &'a Modules,
    rules: Rules,
    /// Beginnings of flags that say yes, and those of the flags that the parser adds to say no.
    inverses: Vec<(String, String)>,
    depth: usize,
    found: Arguments,
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
    pub(super) fn found(mut self) -> Arguments {
        let mut more = BTreeMap::new();
        for (name, flag) in &self.found.flags {
            for (prefix, inverse) in &self.inverses {
                if flag.kind == Kind::Toggle
                    && let Some(rest) = format!("--{name}").strip_prefix(prefix)
                {
                    let name = format!("{inverse}{rest}").trim_start_matches('-').to_owned();
                    more.insert(name, Flag::one(Kind::Switch));
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
                        && let Some(Held::Entries(all)) = self.value(scope, of)
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
                Some(held) => drop(scope.names.insert(name.clone(), held)),
                // The other branch of a condition may have more to say.
                None if matches!(scope.names.get(name), Some(Held::Parser)) => {}
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

    fn set(&mut self, scope: &Scope<'a>, keywords: &mut Keywords, word: &str, value: &Expression) {
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
    fn entry(&mut self, scope: &mut Scope<'a>, target: &'a Expression) -> Option<(Entry, &'a str)> {
        let Expression::Index(of, word) = target else { return None };
        let Some(Held::Entry(entry)) = self.value(scope, of) else { return None };
        Some((entry, word.first()?.text()?))
    }

    /// What an expression stands for, calls in it followed.
    fn value(&mut self, scope: &mut Scope<'a>, expression: &'a Expression) -> Option<Held<'a>> {
        match expression {
            Expression::Name(name) => match scope.names.get(name) {
                Some(held) => Some(held.clone()),
                None => self.class(scope, expression),
            },
            Expression::Attribute(..) => self.class(scope, expression),
            Expression::Index(of, key) => match (self.value(scope, of)?, key.first()?) {
                (Held::Entries(all), Expression::Text(field)) => {
                    Some(Held::Entry(all.borrow().get(field)?.clone()))
                }
                _ => None,
            },
            Expression::Call(function, arguments) => self.call(scope, function, arguments),
            _ => None,
        }
    }

    fn class(&self, scope: &Scope<'a>, path: &Expression) -> Option<Held<'a>> {
        match self.meaning(scope, path)? {
            Meaning::Class(module, class) => Some(Held::Class((module, class))),
            _ => None,
        }
    }

    /// What a name means where it is used: imports within the function come first.
    fn meaning(&self, scope: &Scope<'a>, path: &Expression) -> Option<Meaning<'a>> {
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
    ) -> Option<Held<'a>> {
        let name = function.last_name().unwrap_or_default();
        if name == "get_kwargs" {
            let class = self.value(scope, &arguments.first()?.value);
            let Some(Held::Class(class)) = class else { return None };
            return Some(Held::Entries(self.entries(scope, function, class)));
        }
        if let Expression::Attribute(of, _) = function {
            if name == "add_parser" {
                return Some(Held::Parser);
            }
            if let Some(held) = self.on(scope, of, name, arguments) {
                return held;
            }
        }
        if is_parser(name) {
            return Some(Held::Parser);
        }
        let values: Vec<_> =
            arguments.iter().map(|argument| self.value(scope, &argument.value)).collect();
        if ["deepcopy", "copy", "dict"].contains(&name) {
            return values.into_iter().next()?;
        }
        let handed =
            |held: &Held<'_>| matches!(held, Held::Parser | Held::Entries(_) | Held::Entry(_));
        if name == HOOK || !values.iter().flatten().any(handed) {
            return None;
        }
        let Some((function, module, classes)) = self.callee(scope, function) else {
            return self.lost(scope, function, &values);
        };
        if self.depth == DEEPEST {
            return self.lost(scope, &arguments[0].value, &values);
        }
        let mut inner = Scope::new(module, classes);
        let mut parameters = function.parameters.iter();
        if let Some((called_on, _)) = classes
            && !function.is_static()
            && let Some(name) = parameters.next()
        {
            inner.names.insert(name.clone(), Held::Class(called_on));
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

    /// A method of the parser, of keyword arguments or of their choices; `None` when it is none.
    #[expect(clippy::option_option, reason = "a method that is known may return nothing")]
    fn on(
        &mut self,
        scope: &mut Scope<'a>,
        of: &'a Expression,
        method: &str,
        arguments: &'a [Argument],
    ) -> Option<Option<Held<'a>>> {
        if let Some((entry, "choices")) = self.entry(scope, of) {
            let removed = if method == "remove" {
                arguments.first().and_then(|argument| self.text(scope, &argument.value))
            } else {
                None
            };
            entry.borrow_mut().change_choices(removed);
            return Some(None);
        }
        match self.value(scope, of)? {
            Held::Parser => Some(match method {
                "add_argument" => {
                    self.add(scope, arguments);
                    None
                }
                "add_argument_group" | "add_mutually_exclusive_group" => Some(Held::Parser),
                _ => None,
            }),
            Held::Entry(entry) => {
                match (method, arguments.first().and_then(|argument| argument.value.text())) {
                    ("pop", Some(word)) => entry.borrow_mut().unset(word),
                    ("update", _) => {
                        let mut keywords = entry.borrow().clone();
                        self.words(scope, &mut keywords, arguments);
                        entry.replace(keywords);
                    }
                    _ => {}
                }
                Some(None)
            }
            Held::Entries(all) => {
                if method == "pop"
                    && let Some(field) = arguments.first().and_then(|it| it.value.text())
                {
                    return Some(all.borrow_mut().remove(field).map(Held::Entry));
                }
                Some(None)
            }
            Held::Class(_) => None,
        }
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
    fn callee(
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
                Held::Class(owner) => (owner, None),
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
    fn lost(
        &mut self,
        scope: &Scope<'a>,
        function: &Expression,
        values: &[Option<Held<'a>>],
    ) -> Option<Held<'a>> {
        let parser = values.iter().flatten().find(|held| matches!(held, Held::Parser))?;
        let name = function.last_name().unwrap_or("a call");
        self.found.unread.insert(format!("{}: {name}", scope.module));
        Some(parser.clone())
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

    /// One call of `add_argument`.
    fn add(&mut self, scope: &mut Scope<'a>, arguments: &'a [Argument]) {
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
    fn words(&mut self, scope: &mut Scope<'a>, keywords: &mut Keywords, arguments: &'a [Argument]) {
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
            Some(Held::Entry(entry)) => keywords.clone_from(&entry.borrow()),
            // What it takes can't be seen.
            _ => *keywords = Keywords::of(Flag::one(Kind::Unread)),
        }
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
