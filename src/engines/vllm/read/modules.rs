//! Modules by name, and what a name in one of them means.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::syntax::statements;
use super::tree::{Class, Expression, Function, Statement};

/// One file's names.
#[derive(Debug, Default)]
pub(super) struct Module {
    names: HashMap<String, Binding>,
    /// Modules of which all names are imported.
    all_of: Vec<String>,
    is_package: bool,
    pub(super) statements: Vec<Statement>,
}

/// What a statement binds a name to.
#[derive(Debug, Clone)]
pub(super) enum Binding {
    Class(Class),
    Function(Function),
    Value(Expression),
    /// A name of another module.
    Import {
        module: String,
        name: String,
    },
    /// Another module.
    Module(String),
}

/// What all names of a module are imported by.
const ALL: &str = "*";

/// What a name stands for in the end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning<'a> {
    Class(&'a str, &'a Class),
    Function(&'a str, &'a Function),
    /// A value, to be read in the module of this name.
    Value(&'a str, &'a Expression),
    /// Something that isn't vLLM's: its module.
    Foreign(&'a str),
}

/// The modules that were read, and those that would have been needed besides.
#[derive(Debug, Default)]
pub(super) struct Modules {
    read: BTreeMap<String, Module>,
    wanted: std::cell::RefCell<BTreeSet<String>>,
}

/// So many names may stand for one another.
const STEPS: usize = 16;

impl Modules {
    /// Reads all files, which are given by their paths in the wheel.
    pub(super) fn of(files: &BTreeMap<String, String>) -> Self {
        let files = files.iter().filter_map(|(path, text)| Some((path.strip_suffix(".py")?, text)));
        let read = files.map(|(module, text)| {
            let package = module.strip_suffix("/__init__");
            let name = package.unwrap_or(module).replace('/', ".");
            let module = Module::of(&name, package.is_some(), text);
            (name, module)
        });
        Self { read: read.collect(), ..Self::default() }
    }

    /// The modules that were asked for and aren't there.
    pub(super) fn wanted(self) -> BTreeSet<String> {
        self.wanted.into_inner()
    }

    pub(super) fn get(&self, module: &str) -> Option<&Module> {
        self.entry(module).map(|(_, found)| found)
    }

    /// A module and its name, which lives as long.
    pub(super) fn entry(&self, module: &str) -> Option<(&str, &Module)> {
        let found = self.read.get_key_value(module);
        if found.is_none() {
            self.wanted.borrow_mut().insert(module.to_owned());
        }
        found.map(|(name, found)| (name.as_str(), found))
    }

    /// Follows a name through imports to a class, a function or a value.
    pub(super) fn meaning(&self, module: &str, name: &str) -> Option<Meaning<'_>> {
        self.within(STEPS, module, name)
    }

    fn within(&self, steps: usize, module: &str, name: &str) -> Option<Meaning<'_>> {
        let steps = steps.checked_sub(1)?;
        let (key, found) = self.entry(module)?;
        let Some(binding) = found.names.get(name) else {
            return found.all_of.iter().find_map(|of| self.within(steps, of, name));
        };
        match binding {
            Binding::Class(class) => Some(Meaning::Class(key, class)),
            Binding::Function(function) => Some(Meaning::Function(key, function)),
            Binding::Value(Expression::Name(other)) if other != name => {
                self.within(steps, module, other)
            }
            Binding::Value(value) => Some(Meaning::Value(key, value)),
            Binding::Import { module: of, .. } if !is_ours(of) => Some(Meaning::Foreign(of)),
            Binding::Import { module: of, name } => self.within(steps, of, name),
            Binding::Module(of) => Some(Meaning::Foreign(of)),
        }
    }

    /// What a name, or a name in a module or class that has a name, means.
    pub(super) fn named(&self, module: &str, path: &Expression) -> Option<Meaning<'_>> {
        match path {
            Expression::Name(name) => self.meaning(module, name),
            Expression::Attribute(of, name) => match self.module_named(module, of) {
                Some(of) if is_ours(&of) => self.meaning(&of, name),
                Some(of) => self.foreign(module, &of),
                None => None,
            },
            _ => None,
        }
    }

    /// The full name of the module that an expression names.
    fn module_named(&self, module: &str, path: &Expression) -> Option<String> {
        match path {
            Expression::Name(name) => match self.get(module)?.names.get(name)? {
                Binding::Module(of) => Some(of.clone()),
                // A name that is imported may be a module as well.
                Binding::Import { module: of, name } => Some(format!("{of}.{name}")),
                _ => None,
            },
            Expression::Attribute(of, name) => {
                Some(format!("{}.{name}", self.module_named(module, of)?))
            }
            _ => None,
        }
    }

    /// A foreign module under a name that lives as long as what was read.
    fn foreign(&self, module: &str, of: &str) -> Option<Meaning<'_>> {
        let first = of.split('.').next()?;
        let names = &self.get(module)?.names;
        names.values().find_map(|binding| match binding {
            Binding::Module(of) | Binding::Import { module: of, .. }
                if of.split('.').next() == Some(first) =>
            {
                Some(Meaning::Foreign(of))
            }
            _ => None,
        })
    }

    /// All modules that a package's own file imports from, by their full names.
    pub(super) fn imported_by(&self, package: &str) -> BTreeSet<String> {
        let Some(module) = self.get(package) else { return BTreeSet::new() };
        let of = |binding: &Binding| match binding {
            Binding::Import { module, .. } if module.starts_with(package) => Some(module.clone()),
            _ => None,
        };
        module.names.values().filter_map(of).collect()
    }

    /// What an import binds, in a module or in a function of it.
    pub(super) fn imports(&self, module: &str, statement: &Statement) -> Vec<(String, Binding)> {
        let is_package = self.read.get(module).is_some_and(|found| found.is_package);
        imports(module, is_package, statement)
    }
}

/// Whether a module is part of what is read.
fn is_ours(module: &str) -> bool {
    module == "vllm" || module.starts_with("vllm.")
}

fn imports(importer: &str, is_package: bool, statement: &Statement) -> Vec<(String, Binding)> {
    match statement {
        Statement::Import { module, names } => {
            let module = absolute(importer, is_package, module);
            let import = |(of, to): &(String, String)| {
                (to.clone(), Binding::Import { module: module.clone(), name: of.clone() })
            };
            names.iter().map(import).collect()
        }
        Statement::ImportModule { module, name: Some(name) } => {
            vec![(name.clone(), Binding::Module(module.clone()))]
        }
        Statement::ImportModule { module, name: None } => {
            let first = module.split('.').next().unwrap_or(module);
            vec![(first.to_owned(), Binding::Module(first.to_owned()))]
        }
        _ => Vec::new(),
    }
}

impl Module {
    /// All names that it has.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.names.keys()
    }

    fn of(name: &str, is_package: bool, text: &str) -> Self {
        let mut module = Self { is_package, statements: statements(text), ..Self::default() };
        let statements = std::mem::take(&mut module.statements);
        module.bind(name, &statements);
        module.statements = statements;
        module
    }

    fn bind(&mut self, name: &str, statements: &[Statement]) {
        for statement in statements {
            match statement {
                Statement::Class(class) => {
                    // A class in a class is named without it where fields are written.
                    for inner in &class.body {
                        if let Statement::Class(inner) = inner {
                            let binding = Binding::Class(inner.clone());
                            self.names.entry(inner.name.clone()).or_insert(binding);
                        }
                    }
                    self.names.insert(class.name.clone(), Binding::Class(class.clone()));
                }
                Statement::Function(function) => {
                    let binding = Binding::Function(function.clone());
                    self.names.insert(function.name.clone(), binding);
                }
                Statement::Assign { target: Expression::Name(to), value: Some(value), .. } => {
                    self.names.insert(to.clone(), Binding::Value(value.clone()));
                }
                Statement::Block { keyword, head, body } => {
                    // What only a type checker sees isn't there when the program runs.
                    let unseen = keyword == "if" && head.last_name() == Some("TYPE_CHECKING");
                    if !unseen {
                        self.bind(name, body);
                    }
                }
                statement => {
                    for (to, binding) in imports(name, self.is_package, statement) {
                        match binding {
                            Binding::Import { module, .. } if to == ALL => {
                                if is_ours(&module) && module != name {
                                    self.all_of.push(module);
                                }
                            }
                            binding => drop(self.names.insert(to, binding)),
                        }
                    }
                }
            }
        }
    }
}

/// The full name of an imported module.
fn absolute(importer: &str, is_package: bool, module: &str) -> String {
    let rest = module.trim_start_matches('.');
    let dots = module.len() - rest.len();
    if dots == 0 {
        return module.to_owned();
    }
    let mut parts: Vec<&str> = importer.split('.').collect();
    let up = if is_package { dots - 1 } else { dots };
    parts.truncate(parts.len().saturating_sub(up));
    parts.extend(rest.split('.').filter(|part| !part.is_empty()));
    parts.join(".")
}
