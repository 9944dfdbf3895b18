//! Functions and classes of the script: what they are, and what calling them gives.

use tree_sitter::Node;

use super::evaluate::PER_STEP;
use super::interpreter::{Class, Decorated, Function, Interpreter, Number, Scope, line_of};
use super::value::{Call, Value, What};

impl<'t> Interpreter<'t> {
    pub(super) fn definition(&mut self, node: Node<'t>, decorators: Vec<Value>) {
        let name = node.child_by_field_name("name").map_or("", |name| self.source(name));
        let line = line_of(node);
        let (number, what) = if node.kind() == "class_definition" {
            let number = self.class(node);
            (Number::Class(number), What::Class(number))
        } else {
            let number = self.function(node);
            (Number::Function(number), What::Function(number))
        };
        self.bind(name, Value::new(what, line));
        if !decorators.is_empty() {
            if let Number::Function(number) = number {
                self.decorators.insert(number, decorators.clone());
            }
            let file = self.current;
            self.decorated.push(Decorated {
                name: name.to_owned(),
                line,
                decorators,
                number,
                file,
            });
        }
    }

    fn function(&mut self, node: Node<'t>) -> usize {
        let mut defaults = Scope::new();
        if let Some(parameters) = node.child_by_field_name("parameters") {
            for parameter in Self::children(parameters) {
                if let (Some(name), Some(_)) =
                    (parameter.child_by_field_name("name"), parameter.child_by_field_name("value"))
                {
                    let value = self.part(parameter, "value");
                    defaults.insert(self.source(name).to_owned(), value);
                }
            }
        }
        let around = self.scopes[1..].to_vec();
        self.steps +=
            around.iter().flat_map(Scope::values).map(Value::weight).sum::<usize>() / PER_STEP;
        self.functions.push(Function { node, file: self.current, around, defaults });
        self.functions.len() - 1
    }

    fn class(&mut self, node: Node<'t>) -> usize {
        let mut class = Class { methods: Vec::new(), fields: Vec::new() };
        self.scopes.push(Scope::new());
        let body = node.child_by_field_name("body");
        for part in body.map(Self::children).unwrap_or_default() {
            let inner = match part.kind() {
                "decorated_definition" => part.child_by_field_name("definition"),
                _ => None,
            };
            let definition = inner.unwrap_or(part);
            if definition.kind() == "function_definition" {
                let decorators =
                    Self::children(part).into_iter().filter(|it| it.kind() == "decorator");
                let decorators: Vec<Value> = decorators
                    .filter_map(|it| Self::children(it).first().copied())
                    .map(|it| self.value(it))
                    .collect();
                let number = self.function(definition);
                // A class's own names aren't seen by its methods.
                self.functions[number].around.pop();
                self.decorators.insert(number, decorators);
                let name = definition.child_by_field_name("name").map_or("", |it| self.source(it));
                class.methods.push((name.to_owned(), number));
            } else if part.kind() == "expression_statement" {
                for assignment in
                    Self::children(part).into_iter().filter(|it| it.kind() == "assignment")
                {
                    let Some(left) = assignment.child_by_field_name("left") else { continue };
                    let value = assignment.child_by_field_name("right").map(|it| self.value(it));
                    let value = value.map(field_default);
                    let name = self.source(left).to_owned();
                    if let Some(value) = &value {
                        self.bind(&name, value.clone());
                    }
                    class.fields.push((name, value));
                }
            }
        }
        self.scopes.pop();
        self.classes.push(class);
        self.classes.len() - 1
    }

    /// What a function of the script gives; of an object, where that stands and what it is.
    pub(super) fn run(
        &mut self,
        number: usize,
        object: Option<(Node<'t>, Value)>,
        call: &Call,
    ) -> Value {
        let (value, changed) =
            self.ran(number, object.as_ref().map(|(_, value)| value.clone()), call);
        if let (Some((place, _)), Some(changed)) = (object, changed) {
            self.assign(place, changed);
        }
        value
    }

    /// An object, as its class's constructor leaves it.
    pub(super) fn constructed(&mut self, class: usize, number: usize, call: &Call) -> Value {
        let object = Value::new(What::Object(class, Vec::new()), call.line);
        let (_, changed) = self.ran(number, Some(object.clone()), call);
        changed.unwrap_or(object)
    }

    /// Reads a function's body; gives what it gives back, and what became of its object.
    pub(super) fn ran(
        &mut self,
        number: usize,
        object: Option<Value>,
        call: &Call,
    ) -> (Value, Option<Value>) {
        let Function { node, file, around, defaults } = self.functions[number].clone();
        let is_method = object.is_some();
        let mut scope = defaults;
        let mut given = object.into_iter().chain(call.positional.iter().cloned());
        let parameters = node.child_by_field_name("parameters").map(Self::children);
        let mut own = None;
        for parameter in parameters.unwrap_or_default() {
            let name = match parameter.kind() {
                "identifier" => Some(parameter),
                "typed_parameter" => Self::children(parameter).first().copied(),
                "default_parameter" | "typed_default_parameter" => {
                    parameter.child_by_field_name("name")
                }
                _ => None,
            };
            let Some(name) = name.map(|name| self.source(name)) else { continue };
            if is_method && own.is_none() {
                own = Some(name);
            }
            let value = call.named(name).cloned().or_else(|| given.next());
            if let Some(value) = value {
                scope.insert(name.to_owned(), value);
            } else {
                let unknown = Value::unknown(line_of(parameter));
                scope.entry(name.to_owned()).or_insert(unknown);
            }
        }
        let inner = self.scopes.split_off(1);
        let caller = self.enter(file);
        self.scopes.extend(around);
        self.scopes.push(scope);
        let before = self.returned.take();
        if !self.may_go_on() {
            self.returned = Some(Value::unknown(call.line));
        } else if let Some(body) = node.child_by_field_name("body") {
            self.depth += 8;
            self.block(body);
            self.depth -= 8;
        }
        let value = std::mem::replace(&mut self.returned, before);
        let scope = self.scopes.pop().unwrap_or_default();
        self.scopes.truncate(1);
        self.enter(caller);
        self.scopes.extend(inner);
        let changed = own.and_then(|own| scope.get(own).cloned());
        (value.unwrap_or_else(|| Value::new(What::None, call.line)), changed)
    }
}

/// What `field(default_factory=list)` and `modal.parameter(default="x")` stand for.
fn field_default(value: Value) -> Value {
    let Some(call) = value.call() else { return value };
    if !matches!(call.name(), Some("field" | "parameter" | "Field")) {
        return value;
    }
    if let Some(default) = call.argument("default", 0) {
        return default.clone();
    }
    let made = match call.named("default_factory").and_then(Value::path) {
        Some("list" | "tuple" | "set") => What::List(Vec::new()),
        Some("dict") => What::Dict(Vec::new()),
        _ => What::Unknown,
    };
    Value::new(made, value.line)
}
