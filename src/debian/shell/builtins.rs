//! The commands that are the shell's own.

use super::Refused;
use super::condition::holds;
use super::run::{Flow, Shell};
use super::simple::IFS;
use super::value::{Doubt, Status, Value};

impl Shell<'_> {
    /// Runs one; none where it isn't the shell's own.
    pub(super) fn builtin(
        &mut self,
        name: &str,
        arguments: &[Value],
    ) -> Result<Option<Flow>, Refused> {
        let status = match name {
            ":" | "true" | "ulimit" | "hash" | "wait" => Status::OK,
            "umask" => match arguments {
                [Value::Is(mask)] if mask.trim_start_matches('0') == "22" => Status::OK,
                _ => return Err(self.refused(format!("umask {}", shown(arguments)))),
            },
            "trap" => {
                self.trap(arguments)?;
                Status::OK
            }
            "false" => Status::Is(1),
            "break" | "continue" if !arguments.is_empty() && arguments != [Value::is("1")] => {
                return Err(self.refused(format!("{name} {}", shown(arguments))));
            }
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
                Some(flags) if flags.starts_with(['-', '+']) => {
                    let long = if flags.ends_with('o') { rest.next() } else { None };
                    let long = long.and_then(Value::known) == Some("errexit");
                    if flags.contains('e') || long {
                        self.state.exits_on_failure = flags.starts_with('-');
                    }
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
        let raw = arguments.iter().any(|it| it.known() == Some("-r"));
        let unknown = match self.input.take() {
            // A backslash joins lines and protects blanks, unless told otherwise.
            Some(Value::Is(text)) if text.contains('\\') && !raw => {
                Value::Never(format!("read {}", shown(arguments)))
            }
            Some(Value::Is(text)) => {
                let (line, rest) = text.split_once('\n').unwrap_or((&text, ""));
                let blanks = [' ', '\t'];
                let mut left = line.trim_matches(blanks);
                let splits = self.state.variables.get(IFS).cloned();
                for (at, name) in names.iter().enumerate() {
                    let value = match &splits {
                        // An empty one splits nothing.
                        Some(Value::Is(marks)) if marks.is_empty() && names.len() == 1 => {
                            Value::is(line)
                        }
                        Some(_) => Value::Never(format!("read {name}")),
                        None if at + 1 == names.len() => Value::is(left),
                        None => {
                            let (word, rest) = left.split_once(blanks).unwrap_or((left, ""));
                            left = rest.trim_start_matches(blanks);
                            Value::is(word)
                        }
                    };
                    self.state.variables.insert((*name).to_owned(), value);
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

    /// Keeps what is to be followed at the end.
    fn trap(&mut self, arguments: &[Value]) -> Result<(), Refused> {
        let Some((handler, signals)) = arguments.split_first() else { return Ok(()) };
        if !signals.iter().any(|it| matches!(it.known(), Some("EXIT" | "0"))) {
            return Ok(());
        }
        match handler {
            Value::Is(handler) if handler == "-" || handler.is_empty() => self.at_exit = None,
            Value::Is(handler) if self.state.doubts().is_none() => {
                self.at_exit = Some(handler.clone());
            }
            _ => return Err(self.refused(format!("trap {}", shown(arguments)))),
        }
        Ok(())
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

fn shown(arguments: &[Value]) -> String {
    Value::joined(arguments).known().unwrap_or("…").to_owned()
}

fn echoed(mut arguments: &[Value]) -> Value {
    let (mut ends, mut escapes) = ("\n", false);
    while let Some((Value::Is(flag), rest)) = arguments.split_first()
        && matches!(flag.as_str(), "-n" | "-e")
    {
        match flag.as_str() {
            "-n" => ends = "",
            _ => escapes = true,
        }
        arguments = rest;
    }
    let mut text = Value::joined(arguments);
    // What a backslash stands for hangs on the shell.
    if escapes || text.known().is_some_and(|text| text.contains('\\')) {
        return Value::Never("echo".to_owned());
    }
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
    let mut text = Value::is("");
    // The format serves as often as there are values left.
    loop {
        let mut pieces = format.split("%s");
        text.push(&Value::is(pieces.next().unwrap_or_default()));
        for piece in pieces {
            text.push(values.next().unwrap_or(&Value::is("")));
            text.push(&Value::is(piece));
        }
        if values.len() == 0 || !format.contains("%s") {
            return text;
        }
    }
}
