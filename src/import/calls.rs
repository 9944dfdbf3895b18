//! Calls: of the script's own functions, of Python's, and of those that only a run could look into.

use std::collections::BTreeMap;

use tree_sitter::Node;

use super::built_in::built_in;
use super::interpreter::{Interpreter, line_of};
use super::methods::{self, Method};
use super::value::{Call, Value, What};

impl<'t> Interpreter<'t> {
    pub(super) fn call(&mut self, node: Node<'t>) -> Value {
        let line = line_of(node);
        let (Some(function), Some(arguments)) =
            (node.child_by_field_name("function"), node.child_by_field_name("arguments"))
        else {
            return Value::unknown(line);
        };
        let callee = self.value(function);
        let (positional, named) = if arguments.kind() == "generator_expression" {
            (vec![self.value(arguments)], Vec::new())
        } else {
            self.arguments(arguments)
        };
        for (name, value) in &named {
            self.secrets.named(name, value);
        }
        let call = Call { callee, positional, named, line };
        match &call.callee.what {
            What::Function(number) => self.run(*number, None, &call),
            What::Class(number) => self.made(*number, &call),
            What::Path(path) => match (&path[..], call.positional.first()) {
                ("os.environ.get" | "os.getenv", Some(name)) => {
                    self.environment(name, call.argument("default", 1).cloned(), line)
                }
                _ => match built_in(path, &call) {
                    Some(value) => value,
                    None => self.outside(call),
                },
            },
            What::Unknown => {
                self.method_of_object(function, &call).unwrap_or_else(|| Value::unknown(line))
            }
            What::Attribute(receiver, name) => {
                let receiver = receiver.as_ref().clone();
                if let What::Dict(pairs) = &receiver.what
                    && name == "get"
                    && let Some(index) = call.positional.first()
                {
                    self.chosen(pairs, index, line);
                }
                match methods::of(&receiver, name, &call) {
                    Method::Gives(value) => value,
                    Method::Changes(changed, gives) => {
                        if let Some(object) = function.child_by_field_name("object") {
                            self.assign(object, changed);
                        }
                        gives
                    }
                    Method::Outside => self.outside(call),
                }
            }
            _ => self.outside(call),
        }
    }

    /// A call of what only a run could look into.
    fn outside(&mut self, call: Call) -> Value {
        self.calls.push(call.clone());
        let line = call.line;
        Value::new(What::Call(Box::new(call)), line)
    }

    fn arguments(&mut self, node: Node<'t>) -> (Vec<Value>, Vec<(String, Value)>) {
        let (mut positional, mut named) = (Vec::new(), Vec::new());
        for part in Self::children(node) {
            match part.kind() {
                "keyword_argument" => {
                    let name = part.child_by_field_name("name").map_or("", |it| self.source(it));
                    let value = self.part(part, "value");
                    named.push((name.to_owned(), value));
                }
                "dictionary_splat" => {
                    let inner = Self::children(part).first().map(|inner| self.value(*inner));
                    let pairs = inner.as_ref().map_or(&[][..], Value::pairs);
                    let pairs = pairs
                        .iter()
                        .filter_map(|(key, value)| Some((key.text()?.to_owned(), value.clone())));
                    named.extend(pairs);
                }
                _ => positional.extend(self.items(&[part])),
            }
        }
        (positional, named)
    }

    /// Calls a method that a class of the script defines.
    fn method_of_object(&mut self, function: Node<'t>, call: &Call) -> Option<Value> {
        let object = function.child_by_field_name("object")?;
        let name = self.source(function.child_by_field_name("attribute")?);
        let receiver = self.value(object);
        let What::Object(class, _) = receiver.what else { return None };
        let methods = &self.classes.get(class)?.methods;
        let number = methods.iter().find(|(method, _)| method == name)?.1;
        Some(self.run(number, Some((object, receiver)), call))
    }

    /// An object of one of the script's classes.
    fn made(&mut self, number: usize, call: &Call) -> Value {
        let class = &self.classes[number];
        let constructor = class.methods.iter().find(|(name, _)| name == "__init__");
        if let Some((_, constructor)) = constructor.cloned() {
            return self.constructed(number, constructor, call);
        }
        let mut fields: BTreeMap<usize, (String, Value)> = BTreeMap::new();
        for (at, (name, default)) in class.fields.iter().enumerate() {
            let given = call.named(name).or_else(|| call.positional.get(at)).or(default.as_ref());
            if let Some(value) = given {
                fields.insert(at, (name.clone(), value.clone()));
            }
        }
        Value::new(What::Object(number, fields.into_values().collect()), call.line)
    }
}
