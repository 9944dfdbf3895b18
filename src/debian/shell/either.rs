//! Both ways, where it isn't known which one a script takes.

use super::Refused;
use super::run::{Flow, Shell, State};
use super::syntax::Block;
use super::value::{Doubt, Status};

/// One way to go.
pub(super) type Way<'w, 's> = &'w mut dyn FnMut(&mut Shell<'s>) -> Result<Flow, Refused>;

impl<'s> Shell<'s> {
    /// Follows what is perhaps done.
    pub(super) fn perhaps(&mut self, doubt: &Doubt, body: &Block) -> Result<Flow, Refused> {
        self.either(doubt, &mut |shell| shell.block(body), &mut |_| Ok(Flow::Next(Status::OK)))
    }

    /// Follows both; what they leave different isn't known from there on.
    pub(super) fn either(
        &mut self,
        doubt: &Doubt,
        one: Way<'_, 's>,
        other: Way<'_, 's>,
    ) -> Result<Flow, Refused> {
        let before = self.state.clone();
        let inner = doubt.clone().or(before.doubt.clone());
        let (output, input) = (self.output.clone(), self.input.clone());
        self.state.doubt = Some(inner.clone());
        let first = one(self)?;
        let begun = State { doubt: Some(inner.clone()), ..before.clone() };
        let after = std::mem::replace(&mut self.state, begun);
        let first_output = std::mem::replace(&mut self.output, output);
        let first_input = std::mem::replace(&mut self.input, input);
        let second = other(self)?;
        if first_output != self.output {
            self.output = doubt.value();
        }
        if first_input != self.input {
            self.input = Some(doubt.value());
        }
        self.state.doubt.clone_from(&before.doubt);
        match (first, second) {
            (Flow::Next(one), Flow::Next(other)) => {
                let ends = self.state.ends();
                let more = after.ends();
                self.mix(after, doubt);
                self.state.set_ends(ends, more);
                Ok(Flow::Next(same(one, &other, doubt)))
            }
            // One of them ends here: whether anything comes after isn't known.
            (Flow::Next(_), ended) => {
                let ends = self.state.ends();
                self.state = State { doubt: before.doubt, ..after };
                let more = self.state.ends();
                self.state.set_ends(ends, more);
                Ok(self.goes_on(&ended, inner, doubt))
            }
            (ended, Flow::Next(_)) => {
                let ends = self.state.ends();
                self.state.set_ends(after.ends(), ends);
                Ok(self.goes_on(&ended, inner, doubt))
            }
            (Flow::Exit(one), Flow::Exit(other)) => Ok(Flow::Exit(same(one, &other, doubt))),
            (Flow::Return(one), Flow::Return(other)) => Ok(Flow::Return(same(one, &other, doubt))),
            (Flow::Break, Flow::Break) => Ok(Flow::Break),
            (Flow::Continue, Flow::Continue) => Ok(Flow::Continue),
            _ => Err(self.refused(match doubt {
                Doubt::Never(why) => format!("ends in one of two ways, which hangs on `{why}`"),
                Doubt::Later => "ends in one of two ways".to_owned(),
            })),
        }
    }

    /// Goes on where it isn't known whether something ends this way.
    pub(super) fn perhaps_ends(&mut self, ended: &Flow, doubt: &Doubt) -> Flow {
        self.goes_on(ended, doubt.clone(), doubt)
    }

    /// Goes on where the other way ended.
    fn goes_on(&mut self, ended: &Flow, inner: Doubt, doubt: &Doubt) -> Flow {
        let end = match ended {
            Flow::Return(_) => &mut self.state.returned,
            Flow::Break | Flow::Continue => &mut self.state.looped,
            _ => &mut self.state.exited,
        };
        *end = Some(inner);
        Flow::Next(Status::Unknown(doubt.clone()))
    }

    /// Takes in what the other way left.
    fn mix(&mut self, other: State, doubt: &Doubt) {
        let here = &mut self.state;
        let names: Vec<&String> = other.variables.keys().collect();
        for name in names {
            if here.variables.get(name) != other.variables.get(name) {
                here.variables.insert(name.clone(), doubt.value());
            }
        }
        for (name, value) in &mut here.variables {
            if !other.variables.contains_key(name) {
                *value = doubt.value();
            }
        }
        here.functions.extend(other.functions);
        if here.arguments != other.arguments {
            here.arguments = vec![doubt.value()];
        }
    }
}

/// Why it isn't known whether a script, a function and a loop have ended.
type Ends = [Option<Doubt>; 3];

impl State {
    fn ends(&self) -> Ends {
        [self.exited.clone(), self.returned.clone(), self.looped.clone()]
    }

    /// Takes either way's.
    fn set_ends(&mut self, one: Ends, other: Ends) {
        let [exited, returned, looped] = one;
        let [also_exited, also_returned, also_looped] = other;
        self.exited = exited.or(also_exited);
        self.returned = returned.or(also_returned);
        self.looped = looped.or(also_looped);
    }
}

/// How both ended, where that is the same.
fn same(one: Status, other: &Status, doubt: &Doubt) -> Status {
    if one == *other { one } else { Status::Unknown(doubt.clone()) }
}
