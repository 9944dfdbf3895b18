//! Expressions → values.

use tree_sitter::Node;

use super::interpreter::{Interpreter, Scope, line_of};
use super::methods;
use super::operators;
use super::texts;
use super::value::{GAP, HEAVIEST, Value, What};

/// Bytes of a value that are read or copied in a step.
pub(super) const PER_STEP: usize = 1024;

impl<'t> Interpreter<'t> {
    /// What an expression comes to.
    pub(super) fn value(&mut self, node: Node<'t>) -> Value {
        if !self.may_go_on() {
            return Value::unknown(line_of(node));
        }
        self.depth += 1;
        let value = self.inner(node);
        self.depth -= 1;
        let weight = value.weight();
        // What is large takes as long as many steps.
        self.steps += weight / PER_STEP;
        if weight < HEAVIEST { value } else { Value::unknown(line_of(node)) }
    }

    fn inner(&mut self, node: Node<'t>) -> Value {
        let line = line_of(node);
        let new = |what| Value::new(what, line);
        match node.kind() {
            "true" => new(What::Boolean(true)),
            "false" => new(What::Boolean(false)),
            "none" => new(What::None),
            "integer" => new(operators::integer(self.source(node))),
            "float" => {
                new(self.source(node).replace('_', "").parse().map_or(What::Unknown, What::Float))
            }
            "identifier" => {
                // Where a value is used tells less than where it is written.
                self.look_up(self.source(node), line)
            }
            "string" => self.string(node),
            "concatenated_string" => {
                let parts: Vec<Value> =
                    Self::children(node).into_iter().map(|part| self.value(part)).collect();
                operators::concatenated(&parts, line)
            }
            "list" | "tuple" | "set" | "expression_list" => {
                new(What::List(self.items(&Self::children(node))))
            }
            "dictionary" => self.dictionary(node),
            "parenthesized_expression" | "await" | "type" => match Self::children(node)[..] {
                [only, ..] => self.value(only),
                [] => new(What::Unknown),
            },
            "attribute" => self.attribute(node),
            "subscript" => self.subscript(node),
            "call" => self.call(node),
            "binary_operator" => {
                let [left, right] = ["left", "right"].map(|part| self.part(node, part));
                operators::binary(&left, self.sign(node), &right, line)
            }
            "boolean_operator" => {
                let left = self.part(node, "left");
                let is_and = self.sign(node) == "and";
                match left.truth() {
                    Some(truth) if truth == is_and => self.part(node, "right"),
                    Some(_) => left,
                    // `os.environ.get("X") or "y"`: what is written is what is there.
                    None if !is_and => {
                        let variable = left.variable.clone();
                        let right = self.part(node, "right");
                        Value { variable: variable.or_else(|| right.variable.clone()), ..right }
                    }
                    None => new(What::Unknown),
                }
            }
            "not_operator" => {
                let inner = self.part(node, "argument");
                new(inner.truth().map_or(What::Unknown, |truth| What::Boolean(!truth)))
            }
            "unary_operator" => {
                let inner = self.part(node, "argument");
                operators::unary(self.sign(node), inner)
            }
            "comparison_operator" => self.comparison(node),
            "conditional_expression" => match Self::children(node)[..] {
                [then, condition, otherwise] => match self.value(condition).truth() {
                    Some(true) => self.value(then),
                    Some(false) => self.value(otherwise),
                    None => {
                        self.asides.undecided.insert(line);
                        Value::unknown(line)
                    }
                },
                _ => new(What::Unknown),
            },
            "named_expression" => {
                let value = self.part(node, "value");
                if let Some(name) = node.child_by_field_name("name") {
                    self.bind(self.source(name), value.clone());
                }
                value
            }
            "list_comprehension" | "generator_expression" | "set_comprehension" => {
                let body = node.child_by_field_name("body");
                let items = self.comprehended(node, |reader| Some(reader.value(body?)));
                new(items.map_or(What::Unknown, What::List))
            }
            "dictionary_comprehension" => {
                let body = node.child_by_field_name("body");
                let pairs = self.comprehended(node, |reader| {
                    let body = body?;
                    Some((reader.part(body, "key"), reader.part(body, "value")))
                });
                new(pairs.map_or(What::Unknown, What::Dict))
            }
            _ => new(What::Unknown),
        }
    }

    pub(super) fn part(&mut self, node: Node<'t>, name: &str) -> Value {
        match node.child_by_field_name(name) {
            Some(part) => self.value(part),
            None => Value::unknown(line_of(node)),
        }
    }

    pub(super) fn sign(&self, node: Node<'t>) -> &'t str {
        node.child_by_field_name("operator").map_or("", |sign| self.source(sign))
    }

    fn string(&mut self, node: Node<'t>) -> Value {
        let line = line_of(node);
        let (mut text, mut prefix, mut variable) = (String::new(), "", None);
        for part in Self::children(node) {
            match part.kind() {
                "string_start" => prefix = self.source(part),
                "string_content" => text.push_str(&texts::content(self.source(part), prefix)),
                "interpolation" => {
                    let value = self.part(part, "expression");
                    let is_plain = Self::children(part).len() == 1;
                    text.push_str(&if is_plain { value.written() } else { GAP.to_string() });
                    variable = variable.or(value.variable);
                }
                _ => {}
            }
        }
        if prefix.contains(['b', 'B']) {
            return Value::unknown(line);
        }
        Value { what: What::Text(text), line, variable }
    }

    /// Values in order, what is spread among them.
    pub(super) fn items(&mut self, nodes: &[Node<'t>]) -> Vec<Value> {
        let mut items = Vec::new();
        for node in nodes {
            if node.kind() == "list_splat" {
                let inner = Self::children(*node).first().map(|inner| self.value(*inner));
                match inner.map(|inner| inner.what) {
                    Some(What::List(more)) => items.extend(more),
                    _ => items.push(Value::unknown(line_of(*node))),
                }
            } else {
                items.push(self.value(*node));
            }
        }
        items
    }

    fn dictionary(&mut self, node: Node<'t>) -> Value {
        let mut pairs: Vec<(Value, Value)> = Vec::new();
        for part in Self::children(node) {
            match part.kind() {
                "pair" => {
                    let (key, value) = (self.part(part, "key"), self.part(part, "value"));
                    if let Some(name) = key.text() {
                        self.secrets.named(name, &value);
                    }
                    methods::set(&mut pairs, key, value);
                }
                "dictionary_splat" => {
                    let inner = Self::children(part).first().map(|inner| self.value(*inner));
                    match inner.map(|inner| inner.what) {
                        Some(What::Dict(more)) => {
                            for (key, value) in more {
                                methods::set(&mut pairs, key, value);
                            }
                        }
                        _ => pairs
                            .push((Value::unknown(line_of(part)), Value::unknown(line_of(part)))),
                    }
                }
                _ => {}
            }
        }
        Value::new(What::Dict(pairs), line_of(node))
    }

    fn attribute(&mut self, node: Node<'t>) -> Value {
        let object = self.part(node, "object");
        let name = node.child_by_field_name("attribute").map_or("", |name| self.source(name));
        let line = line_of(node);
        match object.what {
            What::Path(path) => {
                let found = self.name_of(&path, name, line);
                found.unwrap_or_else(|| Value::new(What::Path(format!("{path}.{name}")), line))
            }
            What::Module(file) => {
                let found = self.names_of(file).get(name).cloned();
                found.unwrap_or_else(|| Value::unknown(line))
            }
            What::Object(class, fields) => {
                if let Some((_, value)) = fields.into_iter().find(|(field, _)| field == name) {
                    return value;
                }
                self.class_field(class, name).unwrap_or_else(|| Value::unknown(line))
            }
            What::Class(class) => {
                self.class_field(class, name).unwrap_or_else(|| Value::unknown(line))
            }
            What::Unknown => Value::unknown(line),
            _ => Value::new(What::Attribute(Box::new(object), name.to_owned()), line),
        }
    }

    fn class_field(&self, class: usize, name: &str) -> Option<Value> {
        let fields = &self.classes.get(class)?.fields;
        fields.iter().find(|(field, _)| field == name)?.1.clone()
    }

    fn subscript(&mut self, node: Node<'t>) -> Value {
        let object = self.part(node, "value");
        let line = line_of(node);
        let Some(index) = node.child_by_field_name("subscript") else {
            return Value::unknown(line);
        };
        if index.kind() == "slice" {
            return Value::unknown(line);
        }
        let index = self.value(index);
        match &object.what {
            What::Dict(pairs) => {
                self.chosen(pairs, &index, line);
                let found = pairs.iter().find(|(key, _)| key.what == index.what);
                found.map_or_else(|| Value::unknown(line), |(_, value)| value.clone())
            }
            What::List(items) => {
                let at = index.integer().map(|at| {
                    if at < 0 { at + i64::try_from(items.len()).unwrap_or(i64::MAX) } else { at }
                });
                let found = at.and_then(|at| items.get(usize::try_from(at).ok()?));
                found.cloned().unwrap_or_else(|| Value::unknown(line))
            }
            What::Path(path) if path == "os.environ" => self.environment(&index, None, line),
            _ => Value::unknown(line),
        }
    }

    /// Notes that one row of a dictionary is chosen.
    pub(super) fn chosen(&mut self, pairs: &[(Value, Value)], index: &Value, line: usize) {
        let keys: Option<Vec<String>> =
            pairs.iter().map(|(key, _)| key.text().map(str::to_owned)).collect();
        let rows = pairs
            .iter()
            .all(|(_, row)| matches!(row.what, What::Dict(_) | What::Object(..) | What::Call(_)));
        let (Some(keys), true) = (keys, rows && !pairs.is_empty()) else { return };
        if let Some(variable) = &index.variable {
            self.choices.entry(variable.clone()).or_insert(keys);
        } else if let Some(row) = index.text().filter(|row| keys.iter().any(|key| key == row)) {
            let others = keys.iter().filter(|key| *key != row).cloned().collect();
            self.asides.rows.insert((line, row.to_owned(), others));
        }
    }

    /// What an environment variable holds where the script is run.
    pub(super) fn environment(
        &mut self,
        name: &Value,
        default: Option<Value>,
        line: usize,
    ) -> Value {
        let Some(name) = name.text() else { return Value::unknown(line) };
        let variable = Some(name.to_owned());
        if let Some(chosen) = self.variables.get(name) {
            return Value { what: What::Text(chosen.clone()), line, variable };
        }
        let default = default.filter(|default| !default.is_none());
        let taken = default.as_ref().map(Value::written);
        self.asides.variables.entry(name.to_owned()).or_insert((line, taken));
        default.map_or_else(
            || Value { what: What::Unknown, line, variable: variable.clone() },
            |default| Value { variable: variable.clone(), ..default },
        )
    }

    fn comparison(&mut self, node: Node<'t>) -> Value {
        let line = line_of(node);
        let operands: Vec<Value> =
            Self::children(node).into_iter().map(|part| self.value(part)).collect();
        let sign = node.child_by_field_name("operators").map_or("", |sign| self.source(sign));
        let [left, right] = &operands[..] else { return Value::unknown(line) };
        if matches!(sign, "in" | "not in")
            && let What::Dict(pairs) = &right.what
        {
            self.chosen(pairs, left, line);
        }
        let truth = operators::compare(left, sign, right);
        Value::new(truth.map_or(What::Unknown, What::Boolean), line)
    }

    /// What a comprehension makes of each thing that it goes over; nothing where only a run would tell.
    fn comprehended<T>(
        &mut self,
        node: Node<'t>,
        mut each: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let clauses: Vec<Node<'t>> = Self::children(node).into_iter().skip(1).collect();
        let [first, conditions @ ..] = &clauses[..] else { return None };
        if conditions.iter().any(|clause| clause.kind() != "if_clause") {
            return None;
        }
        let over = self.part(*first, "right");
        let left = first.child_by_field_name("left")?;
        let items = methods::iterated(&over)?;
        let mut made = Some(Vec::new());
        self.scopes.push(Scope::new());
        for item in items {
            self.assign(left, item);
            let mut wanted = true;
            for condition in conditions {
                let truth =
                    Self::children(*condition).first().and_then(|it| self.value(*it).truth());
                wanted &= truth.unwrap_or_else(|| {
                    made = None;
                    false
                });
            }
            if wanted {
                let value = each(self);
                made = made.zip(value).map(|(mut made, value)| {
                    made.push(value);
                    made
                });
            }
            if made.is_none() {
                break;
            }
        }
        self.scopes.pop();
        made
    }
}
