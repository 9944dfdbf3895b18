//! Both ways, where it isn't known which one a script takes.

use super::Refused;
use super::run::Shell;
use super::state::{Flow, State, either_end};
use super::value::{Doubt, Status, Value};

/// One way to go.
pub(super) type Way<'w, 's> = &'w mut dyn FnMut(&mut Shell<'s>) -> Result<Flow, Refused>;

/// What one way left.
struct Left {
    state: State,
    output: Value,
    input: Option<Value>,
}

impl<'s> Shell<'s> {
    /// Follows what is perhaps done any number of times, until that changes nothing of what is known.
    pub(super) fn again_and_again(
        &mut self,
        doubt: &Doubt,
        body: Way<'_, 's>,
    ) -> Result<(), Refused> {
        loop {
            let (state, output) = (self.state.clone(), self.output.clone());
            let input = self.input.clone();
            self.either(doubt, body, &mut |_| Ok(Flow::Next(Status::OK)))?;
            let same = self.state.knows_what(&state);
            if same && self.output == output && self.input == input {
                return Ok(());
            }
        }
    }

    /// Follows both; what they leave different isn't known from there on.
    ///
    /// Before all files are there, a way that is refused is one that a script must not take in the end: all that
    /// is followed is the other one.
    pub(super) fn either(
        &mut self,
        doubt: &Doubt,
        one: Way<'_, 's>,
        other: Way<'_, 's>,
    ) -> Result<Flow, Refused> {
        self.later |= *doubt == Doubt::Later;
        let before = self.state.doubt.clone();
        let inner = doubt.clone().or(before.clone());
        let begun = State { doubt: Some(inner.clone()), ..self.state.clone() };
        let begun = Left { state: begun, output: self.output.clone(), input: self.input.clone() };
        let place = self.place();
        self.state.doubt = Some(inner.clone());
        let first = match one(self) {
            Err(refused) if refused.undecided => {
                self.put_back(begun);
                self.go_to(place);
                self.state.doubt = before;
                // Where no way is left, the first one tells more: the other one is often there to say so.
                self.instead.get_or_insert_with(|| refused.clone());
                return other(self)
                    .map_err(|also| Refused { undecided: also.undecided, ..refused });
            }
            flow => flow?,
        };
        let left = self.put_back(begun);
        let second = match other(self) {
            Err(refused) if refused.undecided => {
                self.put_back(left);
                self.go_to(place);
                self.state.doubt = before;
                return Ok(first);
            }
            flow => flow?,
        };
        // The one that goes on for longer; the other one's end is noted.
        let (goes_on, ended) = match (&first, &second) {
            (first, second) if finality(first) == finality(second) => {
                let right = self.put_back(left);
                self.join_ends(&right.state);
                self.state.mix(&right.state, doubt);
                if self.output != right.output {
                    self.output = doubt.value();
                }
                if self.input != right.input {
                    self.input = Some(doubt.value());
                }
                self.state.doubt = before;
                return Ok(match (first, second) {
                    (Flow::Next(one), Flow::Next(other)) => Flow::Next(same(one, other, doubt)),
                    (Flow::Exit(one), Flow::Exit(other)) => Flow::Exit(same(one, other, doubt)),
                    (Flow::Return(one), Flow::Return(other)) => {
                        Flow::Return(same(one, other, doubt))
                    }
                    _ => first.clone(),
                });
            }
            (first, second) if finality(first) > finality(second) => {
                let right = self.put_back(left);
                self.perhaps_ended(first, &inner);
                let ended = self.put_back(right);
                (second.clone(), ended)
            }
            (first, second) => {
                self.perhaps_ended(second, &inner);
                (first.clone(), self.put_back(left))
            }
        };
        self.join_ends(&ended.state);
        self.state.doubt = before;
        Ok(goes_on)
    }

    /// Puts something in the place of what is there, and gives that.
    fn put_back(&mut self, left: Left) -> Left {
        Left {
            state: std::mem::replace(&mut self.state, left.state),
            output: std::mem::replace(&mut self.output, left.output),
            input: std::mem::replace(&mut self.input, left.input),
        }
    }

    /// Takes either way's ends.
    fn join_ends(&mut self, other: &State) {
        let State { exited, returned, looped, .. } = &mut self.state;
        *exited = either_end(exited.take(), other.exited.clone());
        *returned = either_end(returned.take(), other.returned.clone());
        *looped = either_end(looped.take(), other.looped.clone());
    }
}

/// How much an end ends.
fn finality(flow: &Flow) -> usize {
    match flow {
        Flow::Next(_) => 0,
        Flow::Continue => 1,
        Flow::Break => 2,
        Flow::Return(_) => 3,
        Flow::Exit(_) => 4,
    }
}

/// How both ended, where that is the same.
fn same(one: &Status, other: &Status, doubt: &Doubt) -> Status {
    if one == other { one.clone() } else { Status::Unknown(doubt.clone()) }
}
