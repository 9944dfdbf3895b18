//! The control flow of a script, as `dash` has it.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::syntax::{Block, Command, Kind};
use super::value::{Doubt, Status, Value};
use super::{Refused, World};

/// How often loops are followed in all.
const ROUNDS: usize = 10_000;

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
    /// Why it isn't known whether the script comes here, where that is so.
    pub(super) doubt: Option<Doubt>,
    /// `$?`.
    pub(super) last: Status,
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
        last: Status::OK,
    };
    let output = Value::is("");
    let (conditions, rounds, depth, line) = (0, 0, 0, 1);
    let (input, substituted) = (None, Status::OK);
    let mut shell =
        Shell { world, state, output, input, substituted, depth, line, conditions, rounds };
    match shell.block(block)? {
        Flow::Exit(Status::Is(code)) if code != 0 && shell.state.doubt.is_none() => {
            Err(shell.refused(format!("gives up with exit status {code}")))
        }
        _ => Ok(()),
    }
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
            if fails && ends && self.state.doubt.is_none() {
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
            Kind::Subshell(block) => {
                let kept = self.state.clone();
                let flow = self.block(block)?;
                self.state = kept;
                Ok(Flow::Next(ended(flow)))
            }
            Kind::Function(name, body) => {
                self.state.functions.insert(name.clone(), Rc::new((**body).clone()));
                Ok(Flow::Next(Status::OK))
            }
            Kind::Redirected(inner, redirects) => self.redirected(inner, redirects),
        }
    }

    /// Each command reads what the one before it prints, in a shell of its own.
    fn pipeline(&mut self, block: &Block) -> Result<Flow, Refused> {
        let kept = self.state.clone();
        let input = self.input.take();
        let mut status = Status::OK;
        for (at, part) in block.iter().enumerate() {
            if at + 1 == block.len() {
                status = ended(self.command(part)?);
            } else {
                let before = std::mem::replace(&mut self.output, Value::is(""));
                self.condition(|shell| shell.command(part))?;
                self.input = Some(std::mem::replace(&mut self.output, before));
            }
        }
        self.input = input;
        self.state = kept;
        Ok(Flow::Next(status))
    }

    fn for_each(&mut self, name: &str, values: Vec<Value>, body: &Block) -> Result<Flow, Refused> {
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
        loop {
            self.count()?;
            let status = match self.condition(|shell| shell.block(condition))? {
                Flow::Next(status) => status,
                flow => return Ok(flow),
            };
            let (flow, again) = match status {
                Status::Is(code) if (code == 0) == until => return Ok(Flow::Next(Status::OK)),
                Status::Is(_) => (self.block(body)?, true),
                Status::Unknown(doubt) => (self.perhaps(&doubt, body)?, false),
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
            return Err(self.refused("a loop that doesn't end"));
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
