//! Statements, one after the other.

use tree_sitter::Node;

use super::interpreter::{Interpreter, line_of};
use super::methods;
use super::operators;
use super::value::{Call, Value, What};

impl<'t> Interpreter<'t> {
    /// Reads the statements of a block.
    pub(super) fn block(&mut self, node: Node<'t>) {
        self.statements(Self::children(node));
    }

    /// Reads statements.
    pub(super) fn statements(&mut self, statements: Vec<Node<'t>>) {
        for statement in statements {
            if self.returned.is_some() {
                return;
            }
            if !self.may_go_on() {
                // What it would come to isn't known.
                self.returned = Some(Value::unknown(line_of(statement)));
                return;
            }
            self.depth += 1;
            self.statement(statement);
            self.depth -= 1;
        }
    }

    fn statement(&mut self, node: Node<'t>) {
        match node.kind() {
            "expression_statement" => {
                for inner in Self::children(node) {
                    self.expression_statement(inner);
                }
            }
            "import_statement" | "import_from_statement" => self.import(node),
            "decorated_definition" => {
                let decorators =
                    Self::children(node).into_iter().filter(|it| it.kind() == "decorator");
                let decorators: Vec<Value> = decorators
                    .filter_map(|it| Self::children(it).first().copied())
                    .map(|it| self.value(it))
                    .collect();
                if let Some(definition) = node.child_by_field_name("definition") {
                    self.definition(definition, decorators);
                }
            }
            "function_definition" | "class_definition" => self.definition(node, Vec::new()),
            "if_statement" => self.condition(node),
            "for_statement" => self.repeat(node),
            "with_statement" | "while_statement" => self.body(node),
            "try_statement" => {
                self.body(node);
                for clause in Self::children(node) {
                    if matches!(clause.kind(), "else_clause" | "finally_clause") {
                        for inner in Self::children(clause) {
                            self.block(inner);
                        }
                    }
                }
            }
            "return_statement" => {
                let value = Self::children(node).first().map(|inner| self.value(*inner));
                let nothing = || Value::new(What::None, line_of(node));
                self.returned = Some(value.unwrap_or_else(nothing));
            }
            _ => {}
        }
    }

    fn body(&mut self, node: Node<'t>) {
        if let Some(body) = node.child_by_field_name("body") {
            self.block(body);
        }
    }

    fn expression_statement(&mut self, node: Node<'t>) {
        match node.kind() {
            "assignment" => {
                let Some(left) = node.child_by_field_name("left") else { return };
                let Some(right) = node.child_by_field_name("right") else { return };
                // `a = b = c`
                if right.kind() == "assignment" {
                    self.expression_statement(right);
                    let inner = self.part(right, "left");
                    return self.assign(left, inner);
                }
                let value = self.value(right);
                self.assign(left, value);
            }
            "augmented_assignment" => {
                let [left, right] = ["left", "right"].map(|part| self.part(node, part));
                let sign = self.sign(node).trim_end_matches('=');
                let made = match (&left.what, methods::iterated(&right)) {
                    (What::List(items), Some(more)) if sign == "+" => {
                        let items = items.iter().cloned().chain(more).collect();
                        Value { what: What::List(items), ..left }
                    }
                    (What::List(items), None) if sign == "+" => {
                        let mut items = items.clone();
                        items.push(Value { what: What::Unknown, ..right });
                        Value { what: What::List(items), ..left }
                    }
                    _ => operators::binary(&left, sign, &right, line_of(node)),
                };
                if let Some(left) = node.child_by_field_name("left") {
                    self.assign(left, made);
                }
            }
            _ => _ = self.value(node),
        }
    }

    /// Binds what stands on the left of an assignment.
    pub(super) fn assign(&mut self, left: Node<'t>, value: Value) {
        match left.kind() {
            "identifier" => {
                let name = self.source(left);
                self.bind(name, value);
            }
            "pattern_list" | "tuple_pattern" | "list_pattern" => {
                let places = Self::children(left);
                let items = value.items().unwrap_or_default().to_vec();
                for (at, place) in places.into_iter().enumerate() {
                    let item = items.get(at).cloned();
                    self.assign(place, item.unwrap_or_else(|| Value::unknown(value.line)));
                }
            }
            "attribute" => {
                let (Some(object), Some(name)) =
                    (left.child_by_field_name("object"), left.child_by_field_name("attribute"))
                else {
                    return;
                };
                let (name, owner) = (self.source(name), self.source(object));
                self.secrets.named(name, &value);
                if let Some(Value { what: What::Object(_, fields), .. }) = self.binding(owner) {
                    match fields.iter_mut().find(|(field, _)| field == name) {
                        Some((_, place)) => *place = value,
                        None => fields.push((name.to_owned(), value)),
                    }
                }
            }
            "subscript" => {
                let Some(index) = left.child_by_field_name("subscript") else { return };
                let index = self.value(index);
                let Some(object) = left.child_by_field_name("value") else { return };
                if let Some(name) = index.text() {
                    self.secrets.named(name, &value);
                }
                let mut changed = self.value(object);
                match &mut changed.what {
                    What::Dict(pairs) => methods::set(pairs, index, value),
                    What::Path(path) if path == "os.environ" => {
                        let line = line_of(left);
                        let callee = Value::new(What::Path("os.environ".to_owned()), line);
                        self.calls.push(Call {
                            callee,
                            positional: vec![index, value],
                            named: Vec::new(),
                            line,
                        });
                        return;
                    }
                    _ => return,
                }
                self.assign(object, changed);
            }
            _ => {}
        }
    }

    fn import(&mut self, node: Node<'t>) {
        let line = line_of(node);
        let module = node.child_by_field_name("module_name");
        let module = module.map(|module| self.source(module));
        if let Some(module) = module
            && Self::children(node).iter().any(|it| it.kind() == "wildcard_import")
        {
            return self.import_all(module);
        }
        let mut cursor = node.walk();
        let names: Vec<Node<'t>> = node.children_by_field_name("name", &mut cursor).collect();
        for name in names {
            let (name, alias) = if name.kind() == "aliased_import" {
                let [name, alias] = ["name", "alias"].map(|part| {
                    name.child_by_field_name(part).map_or("", |part| self.source(part))
                });
                (name, Some(alias))
            } else {
                (self.source(name), None)
            };
            let (bound, path, found) = if let Some(module) = module {
                let found = self.name_of(module, name, line);
                (alias.unwrap_or(name), format!("{module}.{name}"), found)
            } else {
                let first = name.split('.').next().unwrap_or(name);
                let path = alias.map_or(first, |_| name);
                let read = self.imported(name).filter(|_| path == name);
                let found = read.map(|file| Value::new(What::Module(file), line));
                (alias.unwrap_or(first), path.to_owned(), found)
            };
            let value = found.unwrap_or_else(|| Value::new(What::Path(path), line));
            self.bind(bound, value);
        }
    }

    /// Binds all that a file beside the script has for others.
    fn import_all(&mut self, module: &str) {
        let Some(file) = self.imported(module) else { return };
        let names = self.names_of(file).iter().filter(|(name, _)| !name.starts_with('_'));
        for (name, value) in
            names.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
        {
            self.bind(&name, value);
        }
    }

    fn condition(&mut self, node: Node<'t>) {
        let Some(then) = node.child_by_field_name("consequence") else { return };
        match self.part(node, "condition").truth() {
            Some(true) => return self.block(then),
            Some(false) => {}
            None => {
                self.undecided(node);
                return;
            }
        }
        for clause in Self::children(node) {
            match clause.kind() {
                "elif_clause" => match self.part(clause, "condition").truth() {
                    Some(true) => {
                        if let Some(then) = clause.child_by_field_name("consequence") {
                            self.block(then);
                        }
                        return;
                    }
                    Some(false) => {}
                    None => {
                        self.undecided(clause);
                        return;
                    }
                },
                "else_clause" => return self.body(clause),
                _ => {}
            }
        }
    }

    /// Notes a condition that only a run decides, where something is set or added under it.
    fn undecided(&mut self, node: Node<'t>) {
        let mut open = Self::children(node);
        while let Some(inner) = open.pop() {
            let adds = || {
                let function = inner.child_by_field_name("function");
                let name = function.and_then(|it| it.child_by_field_name("attribute"));
                matches!(name.map(|it| self.source(it)), Some("append" | "extend" | "insert"))
            };
            match inner.kind() {
                "assignment" | "augmented_assignment" => {}
                "call" if adds() => {}
                _ => {
                    open.extend(Self::children(inner));
                    continue;
                }
            }
            self.asides.undecided.insert(line_of(node));
            return;
        }
    }

    fn repeat(&mut self, node: Node<'t>) {
        let Some(left) = node.child_by_field_name("left") else { return };
        let over = self.part(node, "right");
        let Some(items) = methods::iterated(&over) else {
            // Whatever it goes over, it does the same with each.
            self.assign(left, Value::unknown(line_of(node)));
            return self.body(node);
        };
        for item in items {
            if self.returned.is_some() {
                return;
            }
            self.assign(left, item);
            self.body(node);
        }
    }
}
