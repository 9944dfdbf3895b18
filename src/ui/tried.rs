//! What a deployment answered, call by call.

use serde_json::json;

use super::out::outln;
use super::{BAD, FAINT, GOOD};
use crate::served::Tried;
use crate::words::duration;

/// Tells of calls as they are answered.
#[derive(Debug)]
pub struct Calls {
    json: bool,
    answered: usize,
}

impl Calls {
    /// None yet.
    pub fn new(json: bool) -> Self {
        Self { json, answered: 0 }
    }

    /// Tells what happens.
    pub fn tell(&mut self, tried: &Tried<'_>) {
        if let Tried::Answered { .. } = tried {
            self.answered += 1;
        }
        if self.json { self.tell_programs(tried) } else { tell_people(tried) }
    }

    fn tell_programs(&self, tried: &Tried<'_>) {
        let line = match tried {
            Tried::Begins { model, url, patience } => {
                let (event, patience) = ("test_started", patience.as_secs());
                json!({ "event": event, "format_version": 1, "model": model, "url": url, "timeout_seconds": patience })
            }
            Tried::Answered { call, took, detail } => {
                let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
                let event = "call_answered";
                json!({ "event": event, "call": call, "seconds": seconds, "detail": detail })
            }
            // The error says so.
            Tried::Failed { .. } => return,
            Tried::Ends => json!({ "event": "test_finished", "calls": self.answered }),
        };
        outln!("{line}");
    }
}

fn tell_people(tried: &Tried<'_>) {
    match tried {
        Tried::Begins { model, url, patience } => {
            let patience = duration(*patience);
            outln!("{model}  {FAINT}{url}, at most {patience} for each call{FAINT:#}");
        }
        Tried::Answered { call, took, detail } => {
            outln!("{GOOD}✓{GOOD:#} {call:<7} {:>9}  {detail}", duration(*took));
        }
        Tried::Failed { call } => outln!("{BAD}✗{BAD:#} {call}"),
        Tried::Ends => {}
    }
}
