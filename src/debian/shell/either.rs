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
        match (first, second) {
            (Flow::Next(one), Flow::Next(other)) => {
                self.mix(after, doubt);
                self.state.doubt = before.doubt;
                let same = one == other;
                Ok(Flow::Next(if same { one } else { Status::Unknown(doubt.clone()) }))
            }
            // One of them ends here: whether anything comes after isn't known.
            (Flow::Next(_), _) => {
                self.state = State { doubt: Some(inner), ..after };
                Ok(Flow::Next(Status::Unknown(doubt.clone())))
            }
            (_, Flow::Next(_)) => {
                self.state.doubt = Some(inner);
                Ok(Flow::Next(Status::Unknown(doubt.clone())))
            }
            (flow, _) => Ok(flow),
        }
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
