//! The control flow of a script, as `dash` has it.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::syntax::{Block, Command, Kind};
use super::value::{Doubt, Status, Value};
use super::{Refused, World};

/// How many commands are followed in all.
const ROUNDS: usize = 100_000;

/// Where a script goes on after a command.
pub(super) enum Flow {
    Next(Status),
    Exit(Status),
    Return(Status),
    Break,
    Continue,
}

/// What a subshell has a copy of.
#[derive(Clone)]
pub(super) struct State {
    pub(super) variables: BTreeMap<String, Value>,
    /// `$1` and those after it.
    pub(super) arguments: Vec<Value>,
    pub(super) functions: BTreeMap<String, Rc<Command>>,
    /// `set -e`.
    pub(super) exits_on_failure: bool,
    /// Why it isn't known whether this branch is taken, where that is so.
    pub(super) doubt: Option<Doubt>,
    /// Why it isn't known whether the script has ended before.
    pub(super) exited: Option<Doubt>,
    /// Why it isn't known whether the function that is followed has returned before.
    pub(super) returned: Option<Doubt>,
    /// Why it isn't known whether the loop that is followed was left, or went on, before.
    pub(super) looped: Option<Doubt>,
    /// `$?`.
    pub(super) last: Status,
}

impl State {
    /// Why it isn't known whether what comes next is done.
    pub(super) fn doubts(&self) -> Option<Doubt> {
        let all = [&self.doubt, &self.exited, &self.returned, &self.looped];
        all.into_iter().flatten().cloned().reduce(|one, other| one.or(Some(other)))
    }
}

/// A shell at work.
pub(super) struct Shell<'w> {
    pub(super) world: &'w mut dyn World,
    pub(super) state: State,
    /// What was printed so far.
    pub(super) output: Value,
    /// What is there to be read.
    pub(super) input: Option<Value>,
    /// How the last substitution of the command that is followed ended.
    pub(super) substituted: Status,
    /// How many functions and files called each other to come here.
    pub(super) depth: usize,
    /// The line of the command that is followed.
    pub(super) line: usize,
    /// What is followed at the end: `trap … EXIT`.
    pub(super) at_exit: Option<String>,
    /// What names stood for outside of the functions that made them their own.
    pub(super) outer: Vec<Vec<(String, Option<Value>)>>,
    /// In how many conditions this is, where a failure ends nothing.
    conditions: usize,
    rounds: usize,
}

/// Follows the commands of a script.
pub(super) fn run(
    block: &Block,
    arguments: &[&str],
    exits_on_failure: bool,
    variables: BTreeMap<String, Value>,
    world: &mut dyn World,
) -> Result<(), Refused> {
    let state = State {
        variables,
        arguments: arguments.iter().map(|it| Value::is(*it)).collect(),
        functions: BTreeMap::new(),
        exits_on_failure,
        doubt: None,
        exited: None,
        returned: None,
        looped: None,
        last: Status::OK,
    };
    let output = Value::is("");
    let (conditions, rounds, depth, line) = (0, 0, 0, 1);
    let (input, substituted, at_exit, outer) = (None, Status::OK, None, Vec::new());
    let mut shell = Shell {
        world,
        state,
        output,
        input,
        substituted,
        depth,
        line,
        at_exit,
        outer,
        conditions,
        rounds,
    };
    if let Flow::Exit(Status::Is(code)) = shell.block(block)?
        && code != 0
        && shell.state.doubts().is_none()
    {
        return Err(shell.refused(format!("gives up with exit status {code}")));
    }
    if let Some(handler) = shell.at_exit.take() {
        let block = super::parse::read(&handler).map_err(|it| shell.refused(it.text))?;
        shell.block(&block)?;
    }
    Ok(())
}

impl Shell<'_> {
    pub(super) fn refused(&self, text: impl Into<String>) -> Refused {
        Refused { line: self.line, text: text.into() }
    }

    pub(super) fn block(&mut self, block: &Block) -> Result<Flow, Refused> {
        let mut status = Status::OK;
        for command in block {
            match self.command(command)? {
                Flow::Next(next) => status = next,
                flow => return Ok(flow),
            }
            self.state.last = status.clone();
            let fails = matches!(status, Status::Is(code) if code != 0);
            let ends = self.state.exits_on_failure
                && self.conditions == 0
                && !matches!(command.kind, Kind::AndOr(..) | Kind::Not(_));
            if fails && ends && self.state.doubts().is_none() {
                self.line = command.line;
                return Err(self.refused("a command fails, which ends the script"));
            }
        }
        Ok(Flow::Next(status))
    }

    /// Follows something whose failure ends nothing.
    fn condition(
        &mut self,
        follow: impl FnOnce(&mut Self) -> Result<Flow, Refused>,
    ) -> Result<Flow, Refused> {
        self.conditions += 1;
        let flow = follow(self);
        self.conditions -= 1;
        flow
    }

    pub(super) fn command(&mut self, command: &Command) -> Result<Flow, Refused> {
        self.line = command.line;
        self.count()?;
        match &command.kind {
            Kind::Simple { assigned, words } => self.simple(assigned, words),
            Kind::Pipeline(block) => self.pipeline(block),
            Kind::AndOr(left, and, right) => {
                let status = match self.condition(|shell| shell.command(left))? {
                    Flow::Next(status) => status,
                    flow => return Ok(flow),
                };
                self.state.last = status.clone();
                match status {
                    Status::Is(code) if (code == 0) == *and => self.command(right),
                    Status::Is(_) => Ok(Flow::Next(status)),
                    Status::Unknown(ref doubt) => {
                        let otherwise = status.clone();
                        self.either(doubt, &mut |shell| shell.command(right), &mut |_| {
                            Ok(Flow::Next(otherwise.clone()))
                        })
                    }
                }
            }
            Kind::Not(inner) => Ok(match self.condition(|shell| shell.command(inner))? {
                Flow::Next(Status::Is(code)) => Flow::Next(Status::of(code != 0)),
                flow => flow,
            }),
            Kind::If(arms, otherwise) => self.choice(arms, otherwise),
            Kind::Case(word, items) => {
                let value = self.text(word)?;
                self.case(&value, items)
            }
            Kind::For(name, words, body) => {
                let values = match words {
                    Some(words) => self.all_fields(words)?,
                    None => self.state.arguments.clone(),
                };
                self.for_each(name, values, body)
            }
            Kind::While(until, condition, body) => self.repeat(*until, condition, body),
            Kind::Group(block) => self.block(block),
            Kind::Subshell(block) => Ok(Flow::Next(self.within(|shell| shell.block(block))?)),
            Kind::Function(name, body) => {
                self.state.functions.insert(name.clone(), Rc::new((**body).clone()));
                Ok(Flow::Next(Status::OK))
            }
            Kind::Redirected(inner, redirects) => self.redirected(inner, redirects),
        }
    }

    /// Each command reads what the one before it prints, in a shell of its own.
    fn pipeline(&mut self, block: &Block) -> Result<Flow, Refused> {
        let input = self.input.take();
        let mut status = Status::OK;
        for (at, part) in block.iter().enumerate() {
            if at + 1 == block.len() {
                status = self.within(|shell| shell.command(part))?;
            } else {
                let before = std::mem::replace(&mut self.output, Value::is(""));
                self.conditions += 1;
                let ended = self.within(|shell| shell.command(part));
                self.conditions -= 1;
                ended?;
                self.input = Some(std::mem::replace(&mut self.output, before));
            }
        }
        self.input = input;
        Ok(Flow::Next(status))
    }

    /// Follows something in a shell of its own. Where that may have ended before its end, neither how it ended
    /// nor what it printed is known.
    pub(super) fn within(
        &mut self,
        follow: impl FnOnce(&mut Self) -> Result<Flow, Refused>,
    ) -> Result<Status, Refused> {
        let kept = self.state.clone();
        let flow = follow(self)?;
        let after = std::mem::replace(&mut self.state, kept);
        if after.doubts() == self.state.doubts() {
            return Ok(ended(flow));
        }
        let doubt = after.doubts().unwrap_or(Doubt::Later);
        self.output.push(&doubt.value());
        Ok(Status::Unknown(doubt))
    }

    fn for_each(&mut self, name: &str, values: Vec<Value>, body: &Block) -> Result<Flow, Refused> {
        let before = self.state.looped.clone();
        let flow = self.each_value(name, values, body)?;
        Ok(self.leave(flow, before))
    }

    /// Goes on behind a loop.
    fn leave(&mut self, flow: Flow, before: Option<Doubt>) -> Flow {
        match (flow, std::mem::replace(&mut self.state.looped, before)) {
            (flow @ (Flow::Exit(_) | Flow::Return(_)), Some(doubt)) => {
                self.perhaps_ends(&flow, &doubt)
            }
            (flow, _) => flow,
        }
    }

    fn each_value(
        &mut self,
        name: &str,
        values: Vec<Value>,
        body: &Block,
    ) -> Result<Flow, Refused> {
        for value in values {
            self.count()?;
            let doubt = value.doubt();
            self.state.variables.insert(name.to_owned(), value);
            let flow = match doubt {
                None => self.block(body)?,
                // How many there are isn't known.
                Some(doubt) => self.perhaps(&doubt, body)?,
            };
            match flow {
                Flow::Next(_) | Flow::Continue => {}
                Flow::Break => break,
                flow => return Ok(flow),
            }
        }
        Ok(Flow::Next(Status::OK))
    }

    fn repeat(&mut self, until: bool, condition: &Block, body: &Block) -> Result<Flow, Refused> {
        let before = self.state.looped.clone();
        let flow = self.rounds(until, condition, body)?;
        Ok(self.leave(flow, before))
    }

    fn rounds(&mut self, until: bool, condition: &Block, body: &Block) -> Result<Flow, Refused> {
        loop {
            self.count()?;
            let status = match self.condition(|shell| shell.block(condition))? {
                Flow::Next(status) => status,
                flow => return Ok(flow),
            };
            let (flow, again) = match status {
                Status::Is(code) if (code == 0) == until => return Ok(Flow::Next(Status::OK)),
                Status::Is(_) => (self.block(body)?, true),
                Status::Unknown(doubt) => {
                    // What a second round would do: by then nothing is known that the first one changed.
                    self.perhaps(&doubt, body)?;
                    self.condition(|shell| shell.block(condition))?;
                    (self.perhaps(&doubt, body)?, false)
                }
            };
            match flow {
                Flow::Next(_) | Flow::Continue if again => {}
                Flow::Next(_) | Flow::Continue | Flow::Break => {
                    return Ok(Flow::Next(Status::OK));
                }
                flow => return Ok(flow),
            }
        }
    }

    fn count(&mut self) -> Result<(), Refused> {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return Err(self.refused("goes on and on"));
        }
        Ok(())
    }

    fn choice(&mut self, arms: &[(Block, Block)], otherwise: &Block) -> Result<Flow, Refused> {
        let Some(((condition, body), rest)) = arms.split_first() else {
            return self.block(otherwise);
        };
        let status = match self.condition(|shell| shell.block(condition))? {
            Flow::Next(status) => status,
            flow => return Ok(flow),
        };
        match status {
            Status::Is(0) => self.block(body),
            Status::Is(_) => self.choice(rest, otherwise),
            Status::Unknown(doubt) => {
                self.either(&doubt, &mut |shell| shell.block(body), &mut |shell| {
                    shell.choice(rest, otherwise)
                })
            }
        }
    }

    fn case(
        &mut self,
        value: &Value,
        items: &[(Vec<super::syntax::Word>, Block)],
    ) -> Result<Flow, Refused> {
        let Some(((patterns, body), rest)) = items.split_first() else {
            return Ok(Flow::Next(Status::OK));
        };
        let mut doubt = value.doubt();
        if let Some(text) = value.known() {
            for pattern in patterns {
                match self.pattern(pattern)? {
                    Ok(pattern) if super::matches(&pattern, text) => return self.block(body),
                    Ok(_) => {}
                    Err(unknown) => doubt = Some(unknown),
                }
            }
        }
        match doubt {
            None => self.case(value, rest),
            Some(doubt) => self.either(&doubt, &mut |shell| shell.block(body), &mut |shell| {
                shell.case(value, rest)
            }),
        }
    }
}

/// How a shell of its own ended.
pub(super) fn ended(flow: Flow) -> Status {
    match flow {
        Flow::Next(status) | Flow::Exit(status) | Flow::Return(status) => status,
        Flow::Break | Flow::Continue => Status::OK,
    }
}
