//! Loops.

use super::Refused;
use super::run::Shell;
use super::state::{End, Flow};
use super::syntax::Block;
use super::value::{Status, Value};

impl Shell<'_> {
    pub(super) fn for_each(
        &mut self,
        name: &str,
        values: Vec<Value>,
        body: &Block,
    ) -> Result<Flow, Refused> {
        self.looping(|shell| shell.each_value(name, values, body))
    }

    pub(super) fn repeat(
        &mut self,
        until: bool,
        condition: &Block,
        body: &Block,
    ) -> Result<Flow, Refused> {
        self.looping(|shell| shell.rounds(until, condition, body))
    }

    /// Follows a loop, and goes on behind it.
    fn looping(
        &mut self,
        follow: impl FnOnce(&mut Self) -> Result<Flow, Refused>,
    ) -> Result<Flow, Refused> {
        let doubt = self.state.doubt.clone();
        let before = self.state.looped.take();
        let outer = before.as_ref().map(|end| end.doubt.clone());
        self.state.doubt = outer.map_or(doubt.clone(), |outer| Some(outer.or(doubt.clone())));
        self.loops += 1;
        let flow = follow(self)?;
        self.loops -= 1;
        let ended = std::mem::replace(&mut self.state.looped, before);
        self.state.doubt = doubt;
        Ok(self.behind(flow, ended.as_ref()))
    }

    /// Goes on behind something that was perhaps left before.
    pub(super) fn behind(&mut self, flow: Flow, ended: Option<&End>) -> Flow {
        let Some(end) = ended else { return flow };
        let unknown = Flow::Next(Status::Unknown(end.doubt.clone()));
        if matches!(flow, Flow::Next(_)) {
            self.take_in(end);
            return unknown;
        }
        self.perhaps_ended(&flow, &end.doubt);
        self.go_back_to(end);
        unknown
    }

    fn each_value(
        &mut self,
        name: &str,
        values: Vec<Value>,
        body: &Block,
    ) -> Result<Flow, Refused> {
        let mut last = Status::OK;
        for value in values {
            self.count()?;
            let doubt = value.doubt();
            self.state.variables.insert(name.to_owned(), value);
            let flow = match doubt {
                None => self.block(body)?,
                // How many there are isn't known.
                Some(doubt) => {
                    self.again_and_again(&doubt, &mut |shell| match shell.block(body)? {
                        Flow::Next(_) | Flow::Continue => {
                            shell.next_round();
                            Ok(Flow::Next(Status::OK))
                        }
                        flow => Ok(flow),
                    })?;
                    Flow::Next(Status::Unknown(doubt))
                }
            };
            last = match round(flow) {
                Ok(status) => status,
                Err(flow) => return Ok(flow),
            };
            self.next_round();
        }
        Ok(Flow::Next(last))
    }

    /// Begins another round: it is perhaps the one behind `continue`.
    fn next_round(&mut self) {
        if let Some(end) = self.state.looped.clone() {
            self.take_in(&end);
        }
    }

    fn rounds(&mut self, until: bool, condition: &Block, body: &Block) -> Result<Flow, Refused> {
        let mut last = Status::OK;
        loop {
            self.count()?;
            let status = match self.condition(|shell| shell.block(condition))? {
                Flow::Next(status) => status,
                Flow::Break => return Ok(Flow::Next(Status::OK)),
                Flow::Continue => continue,
                flow => return Ok(flow),
            };
            let flow = match status {
                Status::Is(code) if (code == 0) == until => return Ok(Flow::Next(last)),
                Status::Is(_) => self.block(body)?,
                Status::Unknown(doubt) => {
                    self.again_and_again(&doubt, &mut |shell| match shell.block(body)? {
                        Flow::Next(_) | Flow::Continue => {
                            shell.next_round();
                            shell.condition(|shell| shell.block(condition))
                        }
                        flow => Ok(flow),
                    })?;
                    return Ok(Flow::Next(Status::Unknown(doubt)));
                }
            };
            last = match round(flow) {
                Ok(status) => status,
                Err(flow) => return Ok(flow),
            };
            self.next_round();
        }
    }
}

/// How a round ended, or how the loop did in it.
fn round(flow: Flow) -> Result<Status, Flow> {
    match flow {
        Flow::Next(status) => Ok(status),
        Flow::Continue => Ok(Status::OK),
        Flow::Break => Err(Flow::Next(Status::OK)),
        flow => Err(flow),
    }
}
