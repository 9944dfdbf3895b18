//! A script as a whole: what it defines, and what each of that would call.

use std::collections::{BTreeMap, BTreeSet};

use super::interpreter::{Asides, Interpreter, Number};
use super::secrets::Secrets;
use super::syntax::Script;
use super::value::{Call, Value, What};

/// More rows than anybody keeps in one script.
const ROWS: usize = 100;

/// A script, read for one row of its dictionary of models, where it has one.
#[derive(Debug)]
pub struct Reading {
    /// The row: its key.
    pub row: Option<String>,
    /// The variables that the script's own statements read, the one that names the row among them.
    pub own_variables: BTreeSet<String>,
    /// What is decorated, in order.
    pub definitions: Vec<Definition>,
    /// The values of the script's own names.
    pub names: BTreeMap<String, Value>,
    /// What the module's own statements left open.
    pub asides: Asides,
    /// Keys and tokens that are written into it.
    pub secrets: Secrets,
}

/// Something decorated: a function, or a class with its methods.
#[derive(Debug, Clone)]
pub struct Definition {
    /// What it is called.
    pub name: String,
    /// Where it begins.
    pub line: usize,
    /// Whether it is the script's own, and not of a file that it imports.
    pub is_own: bool,
    /// Its decorators.
    pub decorators: Vec<Value>,
    /// What its body would call that isn't the script's own.
    pub calls: Vec<Call>,
    /// A class's methods.
    pub methods: Vec<Definition>,
    /// What its body left open.
    pub asides: Asides,
}

impl Definition {
    /// Its decorators, and its methods', that are calls or names of this.
    pub fn decorator(&self, path: &str) -> Option<&Value> {
        self.decorators.iter().find(|it| it.path().or_else(|| it.call()?.path()) == Some(path))
    }
}

impl Script {
    /// Reads the script: once for each row that a variable chooses, where one does.
    pub fn readings(&self) -> Vec<Reading> {
        let (first, choices) = self.reading(None, &BTreeMap::new());
        let Some((variable, rows)) = choices.into_iter().next() else { return vec![first] };
        let row = |row: String| {
            let variables = [(variable.clone(), row.clone())].into();
            self.reading(Some(row), &variables).0
        };
        rows.into_iter().take(ROWS).map(row).collect()
    }

    fn reading(
        &self,
        row: Option<String>,
        variables: &BTreeMap<String, String>,
    ) -> (Reading, BTreeMap<String, Vec<String>>) {
        let mut reader = Interpreter::new(self, variables);
        reader.file(0, self.tree.root_node());
        let decorated = std::mem::take(&mut reader.decorated);
        let asides = std::mem::take(&mut reader.asides);
        let definitions = decorated
            .into_iter()
            .filter(|it| it.file == 0 || !self.files[it.file].is_named)
            .map(|it| {
                reader.calls.clear();
                let mut methods = Vec::new();
                let call = |line| Call {
                    callee: Value::unknown(line),
                    positional: Vec::new(),
                    named: Vec::new(),
                    line,
                };
                match it.number {
                    Number::Function(number) => _ = reader.ran(number, None, &call(it.line)),
                    Number::Class(number) => methods = reader.methods(number, &call(it.line)),
                }
                Definition {
                    name: it.name,
                    line: it.line,
                    is_own: it.file == 0,
                    decorators: it.decorators,
                    calls: std::mem::take(&mut reader.calls),
                    methods,
                    asides: std::mem::take(&mut reader.asides),
                }
            })
            .collect();
        let names = reader.scopes.first().cloned().unwrap_or_default().into_iter().collect();
        let own_variables = asides.variables.keys().chain(variables.keys()).cloned().collect();
        let reading =
            Reading { row, own_variables, definitions, names, asides, secrets: reader.secrets };
        (reading, reader.choices)
    }
}

impl Interpreter<'_> {
    /// Reads a class's methods, in order, of one object.
    fn methods(&mut self, number: usize, call: &Call) -> Vec<Definition> {
        let class = self.classes[number].clone();
        let fields = class.fields.iter();
        let fields = fields.filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        let mut object = Value::new(What::Object(number, fields.collect()), call.line);
        let mut methods = Vec::new();
        for (name, number) in class.methods {
            self.calls.clear();
            let (_, changed) = self.ran(number, Some(object.clone()), call);
            object = changed.unwrap_or(object);
            let line = self.functions[number].node.start_position().row + 1;
            let decorators = self.decorators.get(&number).cloned().unwrap_or_default();
            let calls = std::mem::take(&mut self.calls);
            let asides = Asides::default();
            methods.push(Definition {
                name,
                line,
                is_own: true,
                decorators,
                calls,
                methods: Vec::new(),
                asides,
            });
        }
        methods
    }
}
