//! What reading a script keeps in mind.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tree_sitter::Node;

use super::secrets::Secrets;
use super::syntax::{File, Script};
use super::value::{Call, Value, What};

/// More steps than any script takes that is kept by hand.
const STEPS: usize = 200_000;
/// Deeper than anybody nests.
const DEPTH: usize = 120;

/// The names that are bound somewhere.
pub(super) type Scope = HashMap<String, Value>;

/// A function of the script, and the scopes around it but the module's.
#[derive(Debug, Clone)]
pub(super) struct Function<'t> {
    pub(super) node: Node<'t>,
    /// The file that it is in.
    pub(super) file: usize,
    pub(super) around: Vec<Scope>,
    /// What parameters are when nobody says.
    pub(super) defaults: Scope,
}

/// A class of the script.
#[derive(Debug, Clone)]
pub(super) struct Class {
    /// Functions by name, by their numbers.
    pub(super) methods: Vec<(String, usize)>,
    /// Fields with what they are when nobody says, in order.
    pub(super) fields: Vec<(String, Option<Value>)>,
}

/// Something decorated.
#[derive(Debug, Clone)]
pub(super) struct Decorated {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) decorators: Vec<Value>,
    /// A function's, or a class's.
    pub(super) number: Number,
    /// The file that it is in.
    pub(super) file: usize,
}

/// The number of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Function(usize),
    Class(usize),
}

/// What only whoever runs a script can tell, and what was taken for it.
#[derive(Debug, Clone, Default)]
pub struct Asides {
    /// Dictionaries of which one row is chosen by what is written: line, row, and the other rows.
    pub rows: BTreeSet<(usize, String, Vec<String>)>,
    /// Variables that are read, with the line and what was taken for each.
    pub variables: BTreeMap<String, (usize, Option<String>)>,
    /// Lines of conditions that nobody knows, and that decide about something.
    pub undecided: BTreeSet<usize>,
}

/// Reads one script, with these values of environment variables.
pub(super) struct Interpreter<'t> {
    pub(super) text: &'t str,
    pub(super) root: Node<'t>,
    pub(super) files: &'t [File],
    /// The file that is being read.
    pub(super) current: usize,
    /// The names of each file but that one.
    pub(super) parked: Vec<Scope>,
    /// Whether a file has been read, or is.
    pub(super) begun: Vec<bool>,
    pub(super) variables: &'t BTreeMap<String, String>,
    /// The module's scope first.
    pub(super) scopes: Vec<Scope>,
    pub(super) functions: Vec<Function<'t>>,
    pub(super) classes: Vec<Class>,
    pub(super) decorated: Vec<Decorated>,
    /// The decorators of each function that has some.
    pub(super) decorators: HashMap<usize, Vec<Value>>,
    /// Calls of what isn't the script's own, in the order they are made.
    pub(super) calls: Vec<Call>,
    /// What a variable chooses among, where it names a row of a dictionary.
    pub(super) choices: BTreeMap<String, Vec<String>>,
    pub(super) asides: Asides,
    pub(super) secrets: Secrets,
    /// What the function that is read gives back.
    pub(super) returned: Option<Value>,
    pub(super) steps: usize,
    pub(super) depth: usize,
}

impl<'t> Interpreter<'t> {
    pub(super) fn new(script: &'t Script, variables: &'t BTreeMap<String, String>) -> Self {
        let imported = Value::new(What::Text("script".to_owned()), 0);
        // Whoever deploys a script imports it.
        let scope = Scope::from([("__name__".to_owned(), imported)]);
        Self {
            text: &script.text,
            root: script.tree.root_node(),
            files: &script.files,
            current: 0,
            parked: vec![scope.clone(); script.files.len()],
            begun: vec![false; script.files.len()],
            variables,
            scopes: vec![scope],
            functions: Vec::new(),
            classes: Vec::new(),
            decorated: Vec::new(),
            decorators: HashMap::new(),
            calls: Vec::new(),
            choices: BTreeMap::new(),
            asides: Asides::default(),
            secrets: Secrets::default(),
            returned: None,
            steps: 0,
            depth: 0,
        }
    }

    /// Whether it may go on: a script may loop, or nest, for as long as it likes.
    pub(super) fn may_go_on(&mut self) -> bool {
        self.steps += 1;
        self.steps < STEPS && self.depth < DEPTH
    }

    pub(super) fn source(&self, node: Node<'t>) -> &'t str {
        &self.text[node.byte_range()]
    }

    pub(super) fn children(node: Node<'t>) -> Vec<Node<'t>> {
        let mut cursor = node.walk();
        node.named_children(&mut cursor).filter(|it| it.kind() != "comment").collect()
    }

    pub(super) fn look_up(&self, name: &str, line: usize) -> Value {
        let found = self.scopes.iter().rev().find_map(|scope| scope.get(name));
        found.cloned().unwrap_or_else(|| Value::new(What::Path(name.to_owned()), line))
    }

    pub(super) fn bind(&mut self, name: &str, value: Value) {
        self.secrets.named(name, &value);
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), value);
        }
    }

    /// The binding of a name, to be changed in place.
    pub(super) fn binding(&mut self, name: &str) -> Option<&mut Value> {
        self.scopes.iter_mut().rev().find_map(|scope| scope.get_mut(name))
    }
}

pub(super) fn line_of(node: Node<'_>) -> usize {
    node.start_position().row + 1
}
