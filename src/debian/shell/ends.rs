//! Ends that only perhaps were reached: what was there then has to be taken in where the script certainly goes on.

use std::rc::Rc;

use super::run::Shell;
use super::state::{End, Flow, State, either_end};
use super::value::Doubt;

impl Shell<'_> {
    /// What is there now, as an end that was perhaps reached.
    pub(super) fn end(&self, doubt: &Doubt) -> End {
        let ends = [None, None, None];
        let mut state = self.state.clone();
        [state.exited, state.returned, state.looped] = ends;
        End {
            doubt: doubt.clone(),
            state: Rc::new(state),
            output: self.output.clone(),
            input: self.input.clone(),
            frames: self.frames,
        }
    }

    /// Notes that this is perhaps where something ends.
    pub(super) fn perhaps_ended(&mut self, flow: &Flow, doubt: &Doubt) {
        let here = self.end(doubt);
        let noted = match flow {
            Flow::Return(_) => &mut self.state.returned,
            Flow::Break | Flow::Continue => &mut self.state.looped,
            Flow::Next(_) | Flow::Exit(_) => &mut self.state.exited,
        };
        *noted = either_end(noted.take(), Some(here));
    }

    /// Takes in what was there at an end that was perhaps reached.
    pub(super) fn take_in(&mut self, end: &End) {
        self.state.mix(&end.state, &end.doubt);
        self.take_in_streams(end);
    }

    /// Takes in what was printed and read by then.
    pub(super) fn take_in_streams(&mut self, end: &End) {
        if self.output != end.output {
            self.output = end.doubt.value();
        }
        if self.input != end.input {
            self.input = Some(end.doubt.value());
        }
    }

    /// Goes on from such an end, since what came after it ended otherwise.
    pub(super) fn go_back_to(&mut self, end: &End) {
        let State { doubt, exited, returned, looped, .. } = self.state.clone();
        self.state = State { doubt, exited, returned, looped, ..(*end.state).clone() };
        self.output = end.output.clone();
        self.input.clone_from(&end.input);
    }

    /// Leaves a redirection: what was printed within it at an end is lost.
    pub(super) fn leave_frame(&mut self) {
        self.frames -= 1;
        let frames = self.frames;
        let State { exited, returned, looped, .. } = &mut self.state;
        for end in [exited, returned, looped].into_iter().flatten() {
            if end.frames > frames {
                end.frames = frames;
                end.output = end.doubt.value();
                end.input = Some(end.doubt.value());
            }
        }
    }
}
