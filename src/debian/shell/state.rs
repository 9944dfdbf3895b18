//! What a shell knows at a place in a script.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::syntax::Command;
use super::value::{Doubt, Status, Value};

/// Where a script goes on after a command.
#[derive(Clone)]
pub(super) enum Flow {
    Next(Status),
    Exit(Status),
    Return(Status),
    Break,
    Continue,
}

/// What a name stands for as a command.
#[derive(Clone)]
pub(super) enum Function {
    /// This one.
    Is(Rc<Command>),
    /// Perhaps another one, or none.
    Perhaps(Doubt),
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Is(one), Self::Is(other)) => Rc::ptr_eq(one, other),
            (Self::Perhaps(one), Self::Perhaps(other)) => one == other,
            _ => false,
        }
    }
}

/// What a subshell has a copy of.
#[derive(Clone)]
pub(super) struct State {
    pub(super) variables: BTreeMap<String, Value>,
    /// `$1` and those after it.
    pub(super) arguments: Vec<Value>,
    pub(super) functions: BTreeMap<String, Function>,
    /// `set -e`, where it is known.
    pub(super) exits_on_failure: Result<bool, Doubt>,
    /// Why it isn't known whether this branch is taken, where that is so.
    pub(super) doubt: Option<Doubt>,
    /// Where the script has perhaps ended before.
    pub(super) exited: Option<End>,
    /// Where the function that is followed has perhaps returned before.
    pub(super) returned: Option<End>,
    /// Where the loop that is followed was perhaps left, or went on, before.
    pub(super) looped: Option<End>,
    /// `$?`.
    pub(super) last: Status,
}

impl State {
    /// Why it isn't known whether what comes next is done.
    pub(super) fn doubts(&self) -> Option<Doubt> {
        let ends = [&self.exited, &self.returned, &self.looped].into_iter().flatten();
        let all = self.doubt.iter().chain(ends.map(|end| &end.doubt));
        all.cloned().reduce(|one, other| one.or(Some(other)))
    }

    /// Begins something of its own within what is followed, which no end outside of it ends.
    pub(super) fn within(&self) -> Self {
        let doubt = self.doubts();
        Self { doubt, exited: None, returned: None, looped: None, ..self.clone() }
    }
}

/// What a function made its own: a name, what it stood for outside, and why it isn't known whether it did.
pub(super) type Own = (String, Option<Value>, Option<Doubt>);

/// How a shell of its own ended.
pub(super) fn ended(flow: Flow) -> Status {
    match flow {
        Flow::Next(status) | Flow::Exit(status) | Flow::Return(status) => status,
        Flow::Break | Flow::Continue => Status::OK,
    }
}

/// Where a script, a function or a loop has perhaps ended.
#[derive(Clone)]
pub(super) struct End {
    /// Why that isn't known.
    pub(super) doubt: Doubt,
    pub(super) state: Rc<State>,
    pub(super) output: Value,
    pub(super) input: Option<Value>,
    /// In how many redirections that was.
    pub(super) frames: usize,
}

/// Both, as one.
pub(super) fn either_end(one: Option<End>, other: Option<End>) -> Option<End> {
    let (Some(one), Some(other)) = (&one, &other) else { return one.or(other) };
    let doubt = one.doubt.clone().or(Some(other.doubt.clone()));
    let mut state = (*one.state).clone();
    state.mix(&other.state, &doubt);
    let differs = one.output != other.output;
    let output = if differs { doubt.value() } else { one.output.clone() };
    let differs = one.input != other.input;
    let input = if differs { Some(doubt.value()) } else { one.input.clone() };
    let frames = one.frames.max(other.frames);
    Some(End { doubt, state: Rc::new(state), output, input, frames })
}

impl State {
    /// Takes in what another way left: what differs isn't known from there on.
    pub(super) fn mix(&mut self, other: &Self, doubt: &Doubt) {
        for (name, value) in &other.variables {
            if self.variables.get(name) != Some(value) {
                self.variables.insert(name.clone(), doubt.value());
            }
        }
        for (name, value) in &mut self.variables {
            if !other.variables.contains_key(name) {
                *value = doubt.value();
            }
        }
        for (name, function) in &other.functions {
            if self.functions.get(name) != Some(function) {
                self.functions.insert(name.clone(), Function::Perhaps(doubt.clone()));
            }
        }
        for (name, function) in &mut self.functions {
            if !other.functions.contains_key(name) {
                *function = Function::Perhaps(doubt.clone());
            }
        }
        if self.arguments != other.arguments {
            self.arguments = vec![doubt.value()];
        }
        if self.exits_on_failure != other.exits_on_failure {
            self.exits_on_failure = Err(doubt.clone());
        }
        if self.last != other.last {
            self.last = Status::Unknown(doubt.clone());
        }
    }

    /// Whether another one knows the same.
    pub(super) fn knows_what(&self, other: &Self) -> bool {
        self.variables == other.variables
            && self.arguments == other.arguments
            && self.functions == other.functions
            && self.exits_on_failure == other.exits_on_failure
    }
}
