//! Commands with their assignments and redirections.

use super::run::Shell;
use super::state::{Flow, Function, ended};
use super::syntax::{Command, Redirect, RedirectKind, Word};
use super::value::{Doubt, Status, Value};
use super::{Answer, Call, Refused, parse};

/// What only gives values to variables.
const DECLARE: [&str; 5] = ["declare", "export", "local", "readonly", "typeset"];

/// Flags of those that change no value.
const FLAGS: [&str; 3] = ["-p", "-r", "-x"];

/// What the standard calls special among the shell's own commands.
const SPECIAL: [&str; 13] = [
    ".", ":", "break", "continue", "eval", "exec", "exit", "return", "set", "shift", "times",
    "trap", "unset",
];

/// Commands that read what is there to be read.
const READ: [&str; 26] = [
    "awk",
    "cat",
    "cmp",
    "comm",
    "cut",
    "debconf-set-selections",
    "diff",
    "egrep",
    "fgrep",
    "gawk",
    "grep",
    "head",
    "mawk",
    "md5sum",
    "sed",
    "sha256sum",
    "sort",
    "tac",
    "tail",
    "tee",
    "tr",
    "uniq",
    "wc",
    "xargs",
    "file",
    "ucf",
];

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
        let Some((name, arguments)) = words.split_first() else {
            for (name, word) in assigned {
                let value = self.text(word)?;
                self.state.variables.insert(name.clone(), value);
            }
            // What a substitution failed with, if there was one.
            return Ok(Flow::Next(self.substituted.clone()));
        };
        let mut values = Vec::new();
        for (name, word) in assigned {
            values.push((name.clone(), self.text(word)?));
        }
        match name {
            Value::Is(name) if DECLARE.contains(&name.as_str()) => {
                self.declare(name, arguments, values)
            }
            Value::Is(name) => self.with(values, name, arguments),
            Value::Later => Err(self.refused_with(&words, "…")),
            Value::Never(why) => Err(self.refused(format!("runs what `{why}` prints"))),
        }
    }

    /// `export`, `local` and their like.
    fn declare(
        &mut self,
        name: &str,
        arguments: &[Value],
        values: Vec<(String, Value)>,
    ) -> Result<Flow, Refused> {
        let plain = |it: &Value| {
            let known = it.known();
            known.is_some_and(|it| {
                !it.contains('=') && (!it.starts_with('-') || FLAGS.contains(&it))
            })
        };
        if !arguments.iter().all(plain) {
            let shown = Value::joined(arguments);
            let shown = shown.known().unwrap_or("…");
            return Err(self.refused_with(arguments, format!("{name} {shown}")));
        }
        if name == "local" {
            let names = arguments.iter().filter_map(Value::known).map(str::to_owned);
            let names: Vec<String> = names.chain(values.iter().map(|it| it.0.clone())).collect();
            let doubt = self.state.doubts();
            if let Some(outer) = self.outer.last_mut() {
                let before = |name: &String| self.state.variables.get(name).cloned();
                outer.extend(names.into_iter().map(|it| (it.clone(), before(&it), doubt.clone())));
            }
        }
        self.state.variables.extend(values);
        Ok(Flow::Next(Status::OK))
    }

    /// Runs a command with variables of its own: `IFS=: read a b`.
    fn with(
        &mut self,
        values: Vec<(String, Value)>,
        name: &str,
        arguments: &[Value],
    ) -> Result<Flow, Refused> {
        let mut before = Vec::new();
        // Some shells keep what stands before a command that is theirs by the standard.
        let keeps = SPECIAL.contains(&name) && !self.state.functions.contains_key(name);
        for (name, value) in values {
            let value = if keeps { Value::Never(format!("{name}=…")) } else { value };
            let outer = self.state.variables.insert(name.clone(), value.clone());
            before.push((name, value, outer));
        }
        let flow = self.call(name, arguments)?;
        for (name, own, outer) in before.into_iter().rev().filter(|_| !keeps) {
            // Shells differ on what is left where a function unsets it.
            let stays = self.state.variables.get(&name) == Some(&own);
            let value = if stays { outer } else { Some(Value::Never(format!("{name}=…"))) };
            match value {
                Some(value) => self.state.variables.insert(name, value),
                None => self.state.variables.remove(&name),
            };
        }
        Ok(flow)
    }

    /// Runs a function, a command of the shell's own, or another one.
    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Flow, Refused> {
        match self.state.functions.get(name).cloned() {
            Some(Function::Is(function)) => return self.function(&function, arguments),
            Some(Function::Perhaps(Doubt::Never(why))) => {
                return Err(self.refused(format!("{name}, which hangs on `{why}`")));
            }
            Some(Function::Perhaps(Doubt::Later)) => {
                return Err(self.refused_with(&[Value::Later], name));
            }
            None => {}
        }
        if let Some(flow) = self.builtin(name, arguments)? {
            return Ok(flow);
        }
        match (name, arguments) {
            ("." | "source", [Value::Is(path), ..]) if !path.ends_with("/debconf/confmodule") => {
                self.source(path)
            }
            ("." | "source" | "exec" | "command", [Value::Never(why), ..]) => {
                Err(self.refused(format!("runs what `{why}` prints")))
            }
            ("." | "source" | "exec" | "command", [Value::Later, ..]) => {
                Err(self.refused_with(arguments, name))
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
                if self.input.is_some() && READ.contains(&name) {
                    self.input = Some(Value::Never(name.to_owned()));
                }
                if let Some((name, value)) = sets {
                    self.state.variables.insert(name.to_owned(), value);
                }
                Ok(Flow::Next(status))
            }
        }
    }

    fn function(&mut self, function: &Command, arguments: &[Value]) -> Result<Flow, Refused> {
        let outer = std::mem::replace(&mut self.state.arguments, arguments.to_vec());
        self.outer.push(Vec::new());
        let flow = self.returning(|shell| shell.command(function))?;
        self.state.arguments = outer;
        for (name, value, doubt) in self.outer.pop().unwrap_or_default().into_iter().rev() {
            let value = match doubt {
                Some(doubt) if self.state.variables.get(&name) != value.as_ref() => {
                    Some(doubt.value())
                }
                _ => value,
            };
            match value {
                Some(value) => self.state.variables.insert(name, value),
                None => self.state.variables.remove(&name),
            };
        }
        Ok(flow)
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
        let doubt = self.state.doubt.clone();
        let (returned, looped) = (self.state.returned.take(), self.state.looped.take());
        let outer = [&returned, &looped].into_iter().flatten().map(|end| &end.doubt);
        self.state.doubt = doubt.iter().chain(outer).cloned().reduce(|one, it| one.or(Some(it)));
        let loops = std::mem::take(&mut self.loops);
        self.outer_loops += loops;
        let flow = follow(self)?;
        self.outer_loops -= loops;
        self.loops = loops;
        self.depth -= 1;
        let ended = std::mem::replace(&mut self.state.returned, returned);
        self.state.looped = looped;
        self.state.doubt = doubt;
        let flow = match flow {
            Flow::Return(status) => Flow::Next(status),
            flow => flow,
        };
        Ok(self.behind(flow, ended.as_ref()))
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
                        Refused { line, text, ..refused }
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
                RedirectKind::Duplicate
                    if !value
                        .known()
                        .is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit())) =>
                {
                    return Err(self.refused_with(&[value], "writes what goes wrong into a file"));
                }
                // Descriptor 3 is debconf's: what was printed before it took over.
                RedirectKind::Duplicate
                    if of_output && !matches!(value.known(), Some("1" | "3")) =>
                {
                    to = Some((Value::is("/dev/null"), false));
                }
                RedirectKind::Duplicate => {}
                RedirectKind::Write | RedirectKind::Append if of_output => {
                    if to.is_some_and(|(to, _): (Value, _)| !to.known().is_some_and(is_device)) {
                        return Err(self.refused("writes two files"));
                    }
                    to = Some((value, redirect.kind == RedirectKind::Append));
                }
                _ if value.known().is_some_and(is_device) => {}
                _ => {
                    return Err(self.refused_with(&[value], "writes what goes wrong into a file"));
                }
            }
        }
        self.frames += 1;
        let input = from.map(|from| self.input.replace(from));
        let outer = to.is_some().then(|| std::mem::replace(&mut self.output, Value::is("")));
        let flow = self.command(inner)?;
        self.leave_frame();
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
