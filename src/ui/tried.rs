//! What a deployment answered, call by call.

use std::time::Duration;

use serde_json::json;

use super::out::outln;
use super::words::duration;
use super::{BAD, FAINT, GOOD};
use crate::openai::ApiError;

/// Tells of calls as they are answered.
#[derive(Debug)]
pub struct Tried {
    json: bool,
    calls: usize,
}

impl Tried {
    /// Says what is asked.
    pub fn begin(model: &str, url: &str, json: bool) -> Self {
        if json {
            let event = "test_started";
            outln!(
                "{}",
                json!({ "event": event, "format_version": 1, "model": model, "url": url })
            );
        } else {
            outln!("{model}  {FAINT}{url}{FAINT:#}");
        }
        Self { json, calls: 0 }
    }

    /// A call came to what it should.
    pub fn answered(&mut self, call: &str, took: Duration, detail: &str) {
        self.calls += 1;
        if self.json {
            let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
            let event = "call_answered";
            outln!(
                "{}",
                json!({ "event": event, "call": call, "seconds": seconds, "detail": detail })
            );
        } else {
            outln!("{GOOD}✓{GOOD:#} {call:<7} {:>9}  {detail}", duration(took));
        }
    }

    /// A call came to something else; the error is told by whoever ends the command.
    pub fn failed(&self, call: &str, error: ApiError) -> ApiError {
        if !self.json {
            outln!("{BAD}✗{BAD:#} {call}");
        }
        error
    }

    /// All of them were answered.
    pub fn finish(self) {
        if self.json {
            outln!("{}", json!({ "event": "test_finished", "calls": self.calls }));
        }
    }
}
