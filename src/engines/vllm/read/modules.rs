//! Modules by name, and what a name in one of them means.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::syntax::{Class, Expression, Statement, statements};

/// One file's names.
#[derive(Debug, Default)]
pub(super) struct Module {
    names: HashMap<String, Binding>,
    pub(super) statements: Vec<Statement>,
}

#[derive(Debug)]
enum Binding {
    Class(Class),
    Value(Expression),
    Import { module: String, name: String },
}

/// What a name stands for in the end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning<'a> {
    Class(&'a str, &'a Class),
    /// A value, to be read in the module of this name.
    Value(&'a str, &'a Expression),
}

/// The modules that were read, and those that would have been needed besides.
#[derive(Debug, Default)]
pub(super) struct Modules {
    read: BTreeMap<String, Module>,
    wanted: std::cell::RefCell<BTreeSet<String>>,
}

impl Modules {
    /// Reads all files, which are given by their paths in the wheel.
    pub(super) fn of(files: &BTreeMap<String, String>) -> Self {
        let read = files.iter().map(|(path, text)| {
            let module = path.strip_suffix(".py").unwrap_or(path);
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
        let found = self.read.get(module);
        if found.is_none() {
            self.wanted.borrow_mut().insert(module.to_owned());
        }
        found
    }

    /// Follows a name through imports to a class or a value.
    pub(super) fn meaning(&self, module: &str, name: &str) -> Option<Meaning<'_>> {
        let (mut module, mut name) = (module.to_owned(), name.to_owned());
        for _ in 0..16 {
            let (key, found) = self.read.get_key_value(&module).or_else(|| {
                self.wanted.borrow_mut().insert(module.clone());
                None
            })?;
            match found.names.get(&name)? {
                Binding::Class(class) => return Some(Meaning::Class(key, class)),
                Binding::Value(Expression::Name(other)) if *other != name => name.clone_from(other),
                Binding::Value(value) => return Some(Meaning::Value(key, value)),
                Binding::Import { module: of, name: called } => {
                    if !of.starts_with("vllm") {
                        return None;
                    }
                    (module, name) = (of.clone(), called.clone());
                }
            }
        }
        None
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
}

impl Module {
    fn of(name: &str, is_package: bool, text: &str) -> Self {
        let mut module = Self { statements: statements(text), ..Self::default() };
        let statements = std::mem::take(&mut module.statements);
        module.bind(name, is_package, &statements);
        module.statements = statements;
        module
    }

    fn bind(&mut self, name: &str, is_package: bool, statements: &[Statement]) {
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
                Statement::Assign { target: Expression::Name(to), value: Some(value), .. } => {
                    self.names.insert(to.clone(), Binding::Value(value.clone()));
                }
                Statement::Import { module, names } => {
                    let module = absolute(name, is_package, module);
                    for (of, to) in names {
                        let import = Binding::Import { module: module.clone(), name: of.clone() };
                        self.names.insert(to.clone(), import);
                    }
                }
                Statement::Block { keyword, head, body } => {
                    // What only a type checker sees isn't there when the program runs.
                    let unseen = keyword == "if" && head.last_name() == Some("TYPE_CHECKING");
                    if !unseen {
                        self.bind(name, is_package, body);
                    }
                }
                _ => {}
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
