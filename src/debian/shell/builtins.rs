//! The commands that are the shell's own.

use super::Refused;
use super::condition::holds;
use super::run::Shell;
use super::simple::IFS;
use super::state::{Flow, Function};
use super::value::{Doubt, Status, Value};

impl Shell<'_> {
    /// Runs one; none where it isn't the shell's own.
    pub(super) fn builtin(
        &mut self,
        name: &str,
        arguments: &[Value],
    ) -> Result<Option<Flow>, Refused> {
        let status = match name {
            "ulimit" | "wait" if !arguments.is_empty() => {
                return Err(self.refused_as(name, arguments));
            }
            ":" | "true" | "ulimit" | "hash" | "wait" => Status::OK,
            "umask" => match arguments {
                [Value::Is(mask)] if mask.trim_start_matches('0') == "22" => Status::OK,
                _ => return Err(self.refused_as(name, arguments)),
            },
            "trap" => {
                self.trap(arguments)?;
                Status::OK
            }
            "false" => Status::Is(1),
            "break" | "continue" if !arguments.is_empty() && arguments != [Value::is("1")] => {
                return Err(self.refused_as(name, arguments));
            }
            "break" | "continue" if self.loops + self.outer_loops == 0 => Status::OK,
            // Shells differ on whether a function, or a shell of its own, leaves a loop that it stands in.
            "break" | "continue" if self.loops == 0 => {
                return Err(self.refused_as(name, arguments));
            }
            "break" => return Ok(Some(Flow::Break)),
            "continue" => return Ok(Some(Flow::Continue)),
            "exit" => return Ok(Some(Flow::Exit(self.given(arguments)?))),
            // dash ends a script here, bash doesn't.
            "return" if self.depth == 0 => return Err(self.refused_as(name, arguments)),
            "return" => return Ok(Some(Flow::Return(self.given(arguments)?))),
            "set" => {
                self.set(arguments)?;
                Status::OK
            }
            "shift" => self.shift(arguments)?,
            "unset" => {
                self.unset(arguments)?;
                Status::OK
            }
            "echo" => {
                self.output.push(&echoed(arguments));
                Status::OK
            }
            "printf" if arguments.first().and_then(Value::known) == Some("-v") => {
                return Err(self.refused_as(name, arguments));
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
            "command" | "type" => match self.own_command(name, arguments) {
                Some(status) => status,
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

    fn set(&mut self, arguments: &[Value]) -> Result<(), Refused> {
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.known() {
                Some("--") => {
                    self.state.arguments = rest.cloned().collect();
                    return Ok(());
                }
                Some(flags) if flags.starts_with(['-', '+']) && flags.len() > 1 => {
                    let long = if flags.ends_with('o') { rest.next() } else { None };
                    let long = long.and_then(Value::known).unwrap_or_default();
                    // The others change what words become, or how lists end.
                    let fine = flags[1..].chars().all(|it| "euxvho".contains(it))
                        && matches!(
                            long,
                            "" | "errexit" | "nounset" | "xtrace" | "verbose" | "posix"
                        );
                    if !fine {
                        return Err(self.refused_as("set", arguments));
                    }
                    if flags.contains('e') || long == "errexit" {
                        self.state.exits_on_failure = Ok(flags.starts_with('-'));
                    }
                }
                Some(first) if !first.starts_with(['-', '+']) => {
                    self.state.arguments = [argument].into_iter().chain(rest).cloned().collect();
                    return Ok(());
                }
                // What isn't known may be a flag.
                _ => return Err(self.refused_as("set", arguments)),
            }
        }
        Ok(())
    }

    fn shift(&mut self, arguments: &[Value]) -> Result<Status, Refused> {
        let many = arguments.first().map_or(Some(1), |it| it.known()?.parse().ok());
        let there = &self.state.arguments;
        if let Some(doubt) = there.iter().find_map(Value::doubt) {
            // One that isn't known may have been several, or none.
            self.state.arguments = vec![doubt.value()];
            return Ok(Status::Unknown(doubt));
        }
        match many {
            Some(many) if many <= there.len() => drop(self.state.arguments.drain(..many)),
            _ => return Err(self.refused_as("shift", arguments)),
        }
        Ok(Status::OK)
    }

    fn unset(&mut self, arguments: &[Value]) -> Result<(), Refused> {
        let mut functions = false;
        for argument in arguments {
            match argument.known() {
                Some("-f") => functions = true,
                Some("-v") => functions = false,
                Some(name) if !name.starts_with('-') => {
                    if functions {
                        self.state.functions.remove(name);
                    } else {
                        self.state.variables.remove(name);
                    }
                }
                _ => return Err(self.refused_as("unset", arguments)),
            }
        }
        Ok(())
    }

    fn refused_as(&self, name: &str, arguments: &[Value]) -> Refused {
        self.refused_with(arguments, format!("{name} {}", shown(arguments)).trim_end())
    }

    /// Takes a line of what is there to be read.
    fn read(&mut self, arguments: &[Value]) -> Status {
        let names: Vec<&str> =
            arguments.iter().filter_map(Value::known).filter(|it| !it.starts_with('-')).collect();
        let raw = arguments.iter().any(|it| it.known() == Some("-r"));
        let flagged = arguments.iter().any(|it| match it.known() {
            Some(text) => text.starts_with('-') && text != "-r",
            None => true,
        });
        let unknown = match self.input.take() {
            // A backslash joins lines and protects blanks, unless told otherwise; other flags change what is read.
            Some(Value::Is(text)) if (text.contains('\\') && !raw) || flagged => {
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
                        Some(Value::Later) => Value::Later,
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
        if self.state.doubts().is_some() || self.subshells > 0 {
            return Err(self.refused_as("trap", arguments));
        }
        match handler {
            Value::Is(handler) if handler == "-" || handler.is_empty() => self.at_exit = None,
            Value::Is(handler) => self.at_exit = Some(handler.clone()),
            _ => return Err(self.refused_as("trap", arguments)),
        }
        Ok(())
    }

    /// Answers `command -v` for what the script itself defines.
    fn own_command(&mut self, name: &str, arguments: &[Value]) -> Option<Status> {
        let asked = match arguments {
            [Value::Is(flag), Value::Is(asked)] if flag == "-v" && name == "command" => asked,
            [Value::Is(asked)] if name == "type" => asked,
            _ => return None,
        };
        let (text, status) = match self.state.functions.get(asked)? {
            Function::Is(_) if name == "type" => (Value::Never(name.to_owned()), Status::OK),
            Function::Is(_) => (Value::Is(format!("{asked}\n")), Status::OK),
            Function::Perhaps(doubt) => (doubt.value(), Status::Unknown(doubt.clone())),
        };
        self.output.push(&text);
        Some(status)
    }
}

fn shown(arguments: &[Value]) -> String {
    Value::joined(arguments).known().unwrap_or("…").to_owned()
}

fn echoed(mut arguments: &[Value]) -> Value {
    let mut ends = "\n";
    if let Some((Value::Is(flag), rest)) = arguments.split_first()
        && flag == "-n"
    {
        (ends, arguments) = ("", rest);
    }
    let flags = arguments.first().is_some_and(|it| it.known().is_none_or(|it| it.starts_with('-')));
    let mut text = Value::joined(arguments);
    // What flags and backslashes stand for hangs on the shell.
    if text.known().is_some() && flags || text.known().is_some_and(|text| text.contains('\\')) {
        return Value::Never("echo".to_owned());
    }
    text.push(&Value::is(ends));
    text
}

fn formatted(arguments: &[Value]) -> Value {
    let Some((Value::Is(format), values)) = arguments.split_first() else {
        return Value::Never("printf".to_owned());
    };
    if format.starts_with('-') {
        return Value::Never("printf".to_owned());
    }
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
