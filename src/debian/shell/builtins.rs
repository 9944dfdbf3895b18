//! The commands that are the shell's own.

use super::Refused;
use super::condition::holds;
use super::run::{Flow, Shell};
use super::value::{Doubt, Status, Value};

impl Shell<'_> {
    /// Runs one; none where it isn't the shell's own.
    pub(super) fn builtin(
        &mut self,
        name: &str,
        arguments: &[Value],
    ) -> Result<Option<Flow>, Refused> {
        let status = match name {
            ":" | "true" | "umask" | "trap" | "ulimit" | "hash" | "wait" => Status::OK,
            "false" => Status::Is(1),
            "break" => return Ok(Some(Flow::Break)),
            "continue" => return Ok(Some(Flow::Continue)),
            "exit" => return Ok(Some(Flow::Exit(self.given(arguments)?))),
            "return" => return Ok(Some(Flow::Return(self.given(arguments)?))),
            "set" => {
                self.set(arguments);
                Status::OK
            }
            "shift" => {
                let many = arguments.first().and_then(Value::known).and_then(|it| it.parse().ok());
                let many = self.state.arguments.len().min(many.unwrap_or(1));
                self.state.arguments.drain(..many);
                Status::OK
            }
            "unset" => {
                for name in arguments.iter().filter_map(Value::known) {
                    self.state.variables.remove(name);
                }
                Status::OK
            }
            "echo" => {
                self.output.push(&echoed(arguments));
                Status::OK
            }
            "printf" => {
                self.output.push(&formatted(arguments));
                Status::OK
            }
            "read" => self.read(arguments),
            "[" | "test" | "[[" => {
                let words = match arguments.split_last() {
                    Some((Value::Is(last), words)) if last.starts_with(']') && name != "test" => {
                        words
                    }
                    _ => arguments,
                };
                match holds(words, name == "[[", self.world) {
                    Ok(good) => Status::of(good),
                    Err(doubt) => Status::Unknown(doubt),
                }
            }
            "command" | "type" | "which" => match self.own_command(name, arguments) {
                Some(()) => Status::OK,
                None => return Ok(None),
            },
            "eval" => return Err(self.refused("eval")),
            _ => return Ok(None),
        };
        Ok(Some(Flow::Next(status)))
    }

    /// What a script or function ends with.
    fn given(&self, arguments: &[Value]) -> Result<Status, Refused> {
        Ok(match arguments.first() {
            None => self.state.last.clone(),
            Some(Value::Is(code)) => {
                Status::Is(code.parse().map_err(|_| self.refused(format!("exit {code}")))?)
            }
            Some(Value::Later) => Status::Unknown(Doubt::Later),
            Some(Value::Never(why)) => Status::Unknown(Doubt::Never(why.clone())),
        })
    }

    fn set(&mut self, arguments: &[Value]) {
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.known() {
                Some("--") => {
                    self.state.arguments = rest.cloned().collect();
                    return;
                }
                Some("-o" | "+o") => {
                    rest.next();
                }
                Some(flags) if flags.starts_with('-') => {
                    self.state.exits_on_failure |= flags.contains('e');
                }
                Some(flags) if flags.starts_with('+') => {
                    self.state.exits_on_failure &= !flags.contains('e');
                }
                _ => {
                    self.state.arguments = [argument].into_iter().chain(rest).cloned().collect();
                    return;
                }
            }
        }
    }

    /// Takes a line of what is there to be read.
    fn read(&mut self, arguments: &[Value]) -> Status {
        let names: Vec<&str> =
            arguments.iter().filter_map(Value::known).filter(|it| !it.starts_with('-')).collect();
        let unknown = match self.input.take() {
            Some(Value::Is(text)) => {
                let (line, rest) = text.split_once('\n').unwrap_or((&text, ""));
                let mut words = line.split_whitespace();
                for (at, name) in names.iter().enumerate() {
                    let value = if at + 1 == names.len() {
                        words.by_ref().collect::<Vec<_>>().join(" ")
                    } else {
                        words.next().unwrap_or_default().to_owned()
                    };
                    self.state.variables.insert((*name).to_owned(), Value::Is(value));
                }
                self.input = Some(Value::is(rest));
                // A last line without an end is read, and is the end.
                return Status::of(text.contains('\n'));
            }
            unknown => unknown.unwrap_or_else(|| Value::Never("read".to_owned())),
        };
        self.input = Some(unknown.clone());
        for name in names {
            self.state.variables.insert(name.to_owned(), unknown.clone());
        }
        unknown.doubt().map_or(Status::OK, Status::Unknown)
    }

    /// Answers `command -v` for what the script itself defines.
    fn own_command(&mut self, name: &str, arguments: &[Value]) -> Option<()> {
        let asked = match arguments {
            [Value::Is(flag), Value::Is(asked)] if flag == "-v" && name == "command" => asked,
            [Value::Is(asked)] if name != "command" => asked,
            _ => return None,
        };
        self.state.functions.contains_key(asked).then(|| {
            self.output.push(&Value::Is(format!("{asked}\n")));
        })
    }
}

fn echoed(mut arguments: &[Value]) -> Value {
    let mut ends = "\n";
    while let Some((Value::Is(flag), rest)) = arguments.split_first()
        && matches!(flag.as_str(), "-n" | "-e")
    {
        if flag == "-n" {
            ends = "";
        }
        arguments = rest;
    }
    let mut text = Value::joined(arguments);
    text.push(&Value::is(ends));
    text
}

fn formatted(arguments: &[Value]) -> Value {
    let Some((Value::Is(format), values)) = arguments.split_first() else {
        return Value::Never("printf".to_owned());
    };
    let format = format.replace("\\n", "\n").replace("\\t", "\t");
    if format.replace("%s", "").contains(['%', '\\']) {
        return Value::Never("printf".to_owned());
    }
    let mut values = values.iter();
    let mut pieces = format.split("%s");
    let mut text = Value::is(pieces.next().unwrap_or_default());
    for piece in pieces {
        text.push(values.next().unwrap_or(&Value::is("")));
        text.push(&Value::is(piece));
    }
    text
}
