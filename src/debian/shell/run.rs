//! The control flow of a script, as `dash` has it.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::state::{Flow, Function, Own, State, either_end, ended};
use super::syntax::{Block, Command, Kind, Part, PartKind, Word};
use super::value::{Doubt, Status, Value};
use super::{Refused, World};

/// How many commands are followed in all.
const ROUNDS: usize = 100_000;

/// How deep in commands a shell is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    depth: usize,
    conditions: usize,
    loops: usize,
    outer_loops: usize,
    frames: usize,
    subshells: usize,
    outer: usize,
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
    pub(super) outer: Vec<Vec<Own>>,
    /// In how many loops of the function or script this is.
    pub(super) loops: usize,
    /// In how many outside of that.
    pub(super) outer_loops: usize,
    /// In how many redirections of what is printed or read.
    pub(super) frames: usize,
    /// In how many shells of their own.
    pub(super) subshells: usize,
    /// Whether anything hung on files that aren't there yet.
    pub(super) later: bool,
    /// What was refused on the first of two ways, where the other one was followed instead.
    pub(super) instead: Option<Refused>,
    /// In how many conditions this is, where a failure ends nothing.
    pub(super) conditions: usize,
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
        exits_on_failure: Ok(exits_on_failure),
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
        loops: 0,
        outer_loops: 0,
        frames: 0,
        subshells: 0,
        later: false,
        instead: None,
        conditions,
        rounds,
    };
    if let Flow::Exit(status) = shell.block(block)? {
        if let Status::Is(code) = status
            && code != 0
            && shell.state.doubts().is_none()
        {
            let gives_up = shell.refused(format!("gives up with exit status {code}"));
            return Err(match shell.instead {
                Some(refused) => Refused { undecided: false, ..refused },
                None => gives_up,
            });
        }
        shell.state.last = status;
    }
    if let Some(end) = shell.state.exited.clone() {
        shell.take_in(&end);
    }
    if let Some(handler) = shell.at_exit.take() {
        let block = super::parse::read(&handler).map_err(|it| shell.refused(it.text))?;
        shell.block(&block)?;
    }
    Ok(())
}

impl Shell<'_> {
    /// Refuses what stands here, unless that hangs on files that aren't there yet.
    pub(super) fn refused(&self, text: impl Into<String>) -> Refused {
        let undecided = self.state.doubts() == Some(Doubt::Later);
        Refused { line: self.line, text: text.into(), undecided }
    }

    /// Refuses a command, unless that hangs on what its arguments will be.
    pub(super) fn refused_with(&self, arguments: &[Value], text: impl Into<String>) -> Refused {
        let undecided = arguments.contains(&Value::Later);
        let refused = self.refused(text);
        Refused { undecided: undecided || refused.undecided, ..refused }
    }

    pub(super) fn place(&self) -> Place {
        let Self { depth, conditions, loops, outer_loops, frames, subshells, .. } = *self;
        let outer = self.outer.len();
        Place { depth, conditions, loops, outer_loops, frames, subshells, outer }
    }

    /// Goes back to where something was refused within.
    pub(super) fn go_to(&mut self, place: Place) {
        self.outer.truncate(place.outer);
        Place {
            depth: self.depth,
            conditions: self.conditions,
            loops: self.loops,
            outer_loops: self.outer_loops,
            frames: self.frames,
            subshells: self.subshells,
            ..
        } = place;
    }

    pub(super) fn block(&mut self, block: &Block) -> Result<Flow, Refused> {
        let mut status = Status::OK;
        for command in block {
            match self.command(command)? {
                Flow::Next(next) => status = next,
                flow => return Ok(flow),
            }
            self.state.last = status.clone();
            self.failing(command, &status)?;
        }
        Ok(Flow::Next(status))
    }

    /// What comes of it that a command failed, or perhaps did.
    fn failing(&mut self, command: &Command, status: &Status) -> Result<(), Refused> {
        let is_list = matches!(command.kind, Kind::AndOr(..) | Kind::Not(_));
        if is_list || self.conditions > 0 {
            return Ok(());
        }
        // Of the script itself nothing would be installed then; a shell of its own just ends.
        let ends_alone = self.subshells > 0;
        let doubt = match (status, self.state.exits_on_failure.clone()) {
            (Status::Is(0), _) | (_, Ok(false)) => None,
            (Status::Is(_), Ok(true)) => match self.state.doubts() {
                None => {
                    self.line = command.line;
                    return Err(self.refused("a command fails, which ends the script"));
                }
                doubt => doubt.filter(|_| ends_alone),
            },
            (Status::Is(_), Err(doubt)) => Some(doubt),
            (Status::Unknown(doubt), _) => Some(doubt.clone()).filter(|_| ends_alone),
        };
        if let Some(doubt) = doubt {
            self.perhaps_ended(&Flow::Exit(status.clone()), &doubt);
        }
        Ok(())
    }

    /// Follows something whose failure ends nothing.
    pub(super) fn condition(
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
                // Shells differ on what `! break` leaves in `$?`.
                Flow::Break | Flow::Continue | Flow::Return(_) => {
                    return Err(self.refused("! before what ends a loop or function"));
                }
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
                let function = Function::Is(Rc::new((**body).clone()));
                self.state.functions.insert(name.clone(), function);
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
        let begun = self.state.within();
        let kept = std::mem::replace(&mut self.state, begun);
        let own = self.outer.last().map(Vec::len);
        let loops = std::mem::take(&mut self.loops);
        self.outer_loops += loops;
        self.subshells += 1;
        let flow = follow(self)?;
        self.subshells -= 1;
        self.outer_loops -= loops;
        self.loops = loops;
        if let (Some(names), Some(own)) = (self.outer.last_mut(), own) {
            names.truncate(own);
        }
        let after = std::mem::replace(&mut self.state, kept);
        let ends = [after.exited, after.returned, after.looped].into_iter().flatten();
        let Some(end) = ends.map(Some).reduce(either_end).flatten() else {
            return Ok(ended(flow));
        };
        self.take_in_streams(&end);
        Ok(Status::Unknown(end.doubt))
    }

    pub(super) fn count(&mut self) -> Result<(), Refused> {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            let refused = self.refused("goes on and on");
            // One of two ways may come to an end.
            return Err(Refused { undecided: refused.undecided || self.later, ..refused });
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

    fn case(&mut self, value: &Value, items: &[(Vec<Word>, Block)]) -> Result<Flow, Refused> {
        let Some(((patterns, body), rest)) = items.split_first() else {
            return Ok(Flow::Next(Status::OK));
        };
        let mut doubt = value.doubt();
        if patterns.iter().any(is_star) {
            return self.block(body);
        }
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

/// Whether a pattern matches whatever there is.
fn is_star(pattern: &Word) -> bool {
    matches!(&pattern[..], [Part { quoted: false, kind: PartKind::Text(text) }] if text == "*")
}
