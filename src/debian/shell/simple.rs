//! Commands with their assignments and redirections.

use super::run::{Flow, Shell, ended};
use super::syntax::{Command, Redirect, RedirectKind, Word};
use super::value::{Doubt, Status, Value};
use super::{Answer, Call, Refused, parse};

/// What only gives values to variables.
const DECLARE: [&str; 5] = ["declare", "export", "local", "readonly", "typeset"];

/// The variable that says where words are split: at blanks, unless it is set.
pub(super) const IFS: &str = "IFS";

/// How deep functions and files call each other.
const DEPTH: usize = 60;

impl Shell<'_> {
    pub(super) fn simple(
        &mut self,
        assigned: &[(String, Word)],
        words: &[Word],
    ) -> Result<Flow, Refused> {
        self.substituted = Status::OK;
        let words = self.all_fields(words)?;
        let mut values = Vec::new();
        for (name, word) in assigned {
            values.push((name.clone(), self.text(word)?));
        }
        if words.first().and_then(Value::known) == Some("local") {
            let names = words[1..].iter().filter_map(Value::known).map(str::to_owned);
            let names: Vec<String> = names.chain(values.iter().map(|it| it.0.clone())).collect();
            if let Some(outer) = self.outer.last_mut() {
                let variables = &self.state.variables;
                outer.extend(names.into_iter().map(|it| (it.clone(), variables.get(&it).cloned())));
            }
        }
        let declares = words.first().and_then(Value::known).is_some_and(|it| DECLARE.contains(&it));
        let Some((name, arguments)) = words.split_first().filter(|_| !declares) else {
            self.state.variables.extend(values);
            // What a substitution failed with, if there was one.
            let status = if declares { Status::OK } else { self.substituted.clone() };
            return Ok(Flow::Next(status));
        };
        match name {
            Value::Is(name) => {
                // `IFS=: read a b` says for one command how words are split.
                let marks = values.into_iter().find(|(name, _)| name == IFS).map(|it| it.1);
                let before = marks.and_then(|marks| self.state.variables.insert(IFS.into(), marks));
                let split = self.state.variables.contains_key(IFS);
                let flow = self.call(name, arguments);
                if split && before.is_none() && assigned.iter().any(|(name, _)| name == IFS) {
                    self.state.variables.remove(IFS);
                }
                if let Some(before) = before {
                    self.state.variables.insert(IFS.into(), before);
                }
                flow
            }
            Value::Later => Ok(Flow::Next(Status::Unknown(Doubt::Later))),
            Value::Never(why) => Err(self.refused(format!("runs what `{why}` prints"))),
        }
    }

    /// Runs a function, a command of the shell's own, or another one.
    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Flow, Refused> {
        if let Some(function) = self.state.functions.get(name).cloned() {
            let outer = std::mem::replace(&mut self.state.arguments, arguments.to_vec());
            self.outer.push(Vec::new());
            let flow = self.returning(|shell| shell.command(&function));
            self.state.arguments = outer;
            for (name, value) in self.outer.pop().unwrap_or_default().into_iter().rev() {
                match value {
                    Some(value) => self.state.variables.insert(name, value),
                    None => self.state.variables.remove(&name),
                };
            }
            return flow;
        }
        if let Some(flow) = self.builtin(name, arguments)? {
            return Ok(flow);
        }
        match (name, arguments) {
            ("." | "source", [Value::Is(path), ..]) if !path.ends_with("/debconf/confmodule") => {
                self.source(path)
            }
            ("exec", []) => Ok(Flow::Next(Status::OK)),
            ("exec", [Value::Is(name), rest @ ..]) => {
                let status = ended(self.call(name, rest)?);
                Ok(Flow::Exit(status))
            }
            ("command", [Value::Is(flag), rest @ ..]) if flag == "-p" => {
                let Some((Value::Is(name), rest)) = rest.split_first() else {
                    return Err(self.refused("command -p"));
                };
                self.call(name, rest)
            }
            ("command", [Value::Is(name), rest @ ..]) if !name.starts_with('-') => {
                self.call(name, rest)
            }
            _ => {
                let (input, doubt) = (self.input.as_ref(), self.state.doubts());
                let answer =
                    self.world.runs(&Call { name, arguments, input, doubt: doubt.as_ref() });
                let Answer { status, output, sets } = answer.map_err(|text| self.refused(text))?;
                self.output.push(&output);
                if let Some((name, value)) = sets {
                    self.state.variables.insert(name.to_owned(), value);
                }
                Ok(Flow::Next(status))
            }
        }
    }

    /// Follows what `return` ends. Where that may have been earlier, how it ended isn't known.
    fn returning(
        &mut self,
        follow: impl FnOnce(&mut Self) -> Result<Flow, Refused>,
    ) -> Result<Flow, Refused> {
        if self.depth == DEPTH {
            return Err(self.refused("calls that don't end"));
        }
        self.depth += 1;
        let before = self.state.returned.take();
        let flow = follow(self);
        self.depth -= 1;
        let returned = std::mem::replace(&mut self.state.returned, before);
        Ok(match (flow?, returned) {
            (Flow::Next(_) | Flow::Return(_), Some(doubt)) => Flow::Next(Status::Unknown(doubt)),
            (Flow::Return(status), None) => Flow::Next(status),
            (flow, Some(doubt)) => self.perhaps_ends(&flow, &doubt),
            (flow, None) => flow,
        })
    }

    /// Follows another script in this shell.
    fn source(&mut self, path: &str) -> Result<Flow, Refused> {
        match self.world.reads(path) {
            Ok(Some(text)) => {
                let line = self.line;
                let read = parse::read(&text);
                read.and_then(|block| self.returning(|shell| shell.block(&block))).map_err(
                    |refused| {
                        let text = format!("{path}, line {}: {}", refused.line, refused.text);
                        Refused { line, text }
                    },
                )
            }
            Ok(None) => Err(self.refused(format!(". {path}"))),
            // All that comes after may hang on it.
            Err(doubt) => Ok(Flow::Exit(Status::Unknown(doubt))),
        }
    }

    pub(super) fn redirected(
        &mut self,
        inner: &Command,
        redirects: &[Redirect],
    ) -> Result<Flow, Refused> {
        let (mut to, mut from) = (None, None);
        for redirect in redirects {
            let value = self.text(&redirect.word)?;
            let of_output = redirect.descriptor.unwrap_or(1) == 1;
            match redirect.kind {
                RedirectKind::Here => from = Some(value),
                RedirectKind::Read => from = Some(self.read_from(value)),
                // Descriptor 3 is debconf's: what was printed before it took over.
                RedirectKind::Duplicate
                    if of_output && !matches!(value.known(), Some("1" | "3")) =>
                {
                    to = Some((Value::is("/dev/null"), false));
                }
                RedirectKind::Duplicate => {}
                RedirectKind::Write | RedirectKind::Append if of_output => {
                    to = Some((value, redirect.kind == RedirectKind::Append));
                }
                _ if value.known().is_some_and(is_device) => {}
                _ => return Err(self.refused("writes what goes wrong into a file")),
            }
        }
        let input = from.map(|from| self.input.replace(from));
        let outer = to.is_some().then(|| std::mem::replace(&mut self.output, Value::is("")));
        let flow = self.command(inner)?;
        if let Some(input) = input {
            self.input = input;
        }
        if let (Some((path, append)), Some(outer)) = (to, outer) {
            let text = std::mem::replace(&mut self.output, outer);
            if !path.known().is_some_and(is_device) {
                self.world
                    .writes(&path, &text, append, self.state.doubts().as_ref())
                    .map_err(|text| self.refused(text))?;
            }
        }
        Ok(flow)
    }

    fn read_from(&mut self, path: Value) -> Value {
        match path {
            Value::Is(path) if is_device(&path) => Value::is(""),
            Value::Is(path) => match self.world.reads(&path) {
                Ok(Some(text)) => Value::Is(text),
                Ok(None) => Value::Never(format!("< {path}")),
                Err(doubt) => doubt.value(),
            },
            unknown => unknown,
        }
    }
}

fn is_device(path: &str) -> bool {
    path.starts_with("/dev/")
}
