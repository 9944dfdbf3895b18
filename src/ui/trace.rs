//! What ran when, as a Chrome trace: `chrome://tracing`, Perfetto and speedscope read it.
//!
//! The format is the "Trace Event Format": complete events (`X`) with microseconds, one row per
//! step that runs at the same time, and a counter (`C`) of the bytes that were fetched.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use miette::Diagnostic;
use serde_json::{Value, json};
use thiserror::Error;

use crate::event::{Ending, Event, Progress};
use crate::step::{StepId, StepKind};

/// The trace was not written.
#[derive(Debug, Error, Diagnostic)]
#[error("the trace can't be written to {}: {source}", path.display())]
#[diagnostic(
    code(goatbuild::trace::write),
    help("name a file in a directory that exists and can be written")
)]
pub struct TraceError {
    path: PathBuf,
    source: std::io::Error,
}

/// How often the bytes fetched are written down.
const SAMPLE: Duration = Duration::from_millis(100);

/// Collects events, to be written once all have ended.
pub struct Trace {
    to: PathBuf,
    /// Whether there was no such file before.
    is_new: bool,
    /// Once steps may run.
    began: OnceLock<Instant>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: Vec<Value>,
    running: HashMap<StepId, Running>,
    fetched: u64,
    sampled: Duration,
}

struct Running {
    row: usize,
    began: Duration,
    /// What it says it does, and since when.
    phase: Option<(String, Duration)>,
}

impl Trace {
    /// A trace of what has not begun. Whether its file can be made shows at once, not at the end.
    pub fn begin(to: &Path) -> Result<Self, TraceError> {
        let to = to.to_owned();
        let is_new = !to.exists();
        // What is there stays until there is something to write.
        match std::fs::File::options().create(true).append(true).open(&to) {
            Ok(_) => Ok(Self { to, is_new, began: OnceLock::new(), state: Mutex::default() }),
            Err(source) => Err(TraceError { path: to, source }),
        }
    }

    /// What is told from now on is timed from now on.
    pub fn start(&self) {
        self.began.get_or_init(Instant::now);
    }

    /// Whether a text begins like a trace of ours.
    pub fn begins(head: &str) -> bool {
        head.starts_with("{\"displayTimeUnit\":\"ms\",\"traceEvents\":")
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.to
    }

    /// Takes one event.
    pub fn tell(&self, event: &Event) {
        let now = self.began.get_or_init(Instant::now).elapsed();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).tell(event, now);
    }

    /// Writes what was collected, and says whether there was anything to write: what never started
    /// leaves no file behind, or the one that was there.
    pub fn write(&self) -> Result<bool, TraceError> {
        if self.began.get().is_none() {
            if self.is_new {
                // An empty file harms nobody.
                let _ = std::fs::remove_file(&self.to);
            }
            return Ok(false);
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let text = state.render().to_string();
        let written = std::fs::write(&self.to, text);
        written.map_err(|source| TraceError { path: self.to.clone(), source })?;
        Ok(true)
    }
}

impl State {
    fn tell(&mut self, event: &Event, now: Duration) {
        match event {
            Event::StepStarted { id } => {
                let taken = |row: &usize| self.running.values().any(|step| step.row == *row);
                let row = (1..=self.running.len() + 1).find(|row| !taken(row)).unwrap_or(1);
                self.running.insert(id.clone(), Running { row, began: now, phase: None });
            }
            Event::StepProgress { id, progress: Progress::Message(text) } => {
                let Some(step) = self.running.get_mut(id) else { return };
                if step.phase.as_ref().is_none_or(|(before, _)| before != text) {
                    let ended = step.phase.replace((text.clone(), now));
                    self.events.extend(ended.map(|phase| span_of(phase, step.row, now)));
                }
            }
            Event::StepProgress { progress: Progress::Fetched(bytes), .. } => {
                self.fetched += bytes;
                if now >= self.sampled + SAMPLE {
                    self.sample(now);
                }
            }
            Event::StepProgress { .. } => {}
            Event::StepFinished { id, ending, traffic, error, .. } => {
                let Some(mut step) = self.running.remove(id) else { return };
                let phase = step.phase.take();
                self.events.extend(phase.map(|phase| span_of(phase, step.row, now)));
                let outcome = match ending {
                    Ending::Done => "ok",
                    Ending::Failed => "failed",
                    Ending::Unproven => "unproven",
                    Ending::Interrupted => "interrupted",
                };
                let kind = id.kind().map_or("", StepKind::word);
                let mut event = span(id.as_str(), kind, step.row, step.began, now);
                event["args"] = json!({
                    "outcome": outcome,
                    "error": error,
                    "bytes_fetched": traffic.fetched,
                    "bytes_reused": traffic.reused,
                });
                self.events.push(event);
                if self.fetched > 0 {
                    self.sample(now);
                }
            }
        }
    }

    fn sample(&mut self, now: Duration) {
        self.sampled = now;
        self.events.push(json!({
            "name": "fetched", "ph": "C", "pid": 1, "ts": micros(now),
            "args": { "bytes": self.fetched },
        }));
    }

    fn render(&self) -> Value {
        let name = json!({
            "name": "process_name", "ph": "M", "pid": 1, "args": { "name": "goatbuild apply" },
        });
        let events: Vec<&Value> = std::iter::once(&name).chain(&self.events).collect();
        json!({ "displayTimeUnit": "ms", "traceEvents": events })
    }
}

fn span_of((text, since): (String, Duration), row: usize, now: Duration) -> Value {
    span(&text, "phase", row, since, now)
}

fn span(name: &str, category: &str, row: usize, began: Duration, ended: Duration) -> Value {
    json!({
        "name": name, "cat": category, "ph": "X", "pid": 1, "tid": row,
        "ts": micros(began), "dur": micros(ended.saturating_sub(began)),
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Traffic;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn said(id: &str, progress: Progress) -> Event {
        Event::StepProgress { id: id.into(), progress }
    }

    fn finished(id: &str) -> Event {
        let traffic = Traffic { fetched: 5, reused: 0 };
        let (took, ending) = (at(0), Ending::Done);
        Event::StepFinished { id: id.into(), ending, took, traffic, error: None }
    }

    #[test]
    fn what_never_started_leaves_the_file_as_it_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("trace.json");
        let trace = Trace::begin(&path).expect("begins");
        assert!(path.exists() && !trace.write().expect("nothing to write") && !path.exists());
        std::fs::write(&path, "an older one").expect("a file");
        assert!(!Trace::begin(&path).expect("begins").write().expect("nothing to write"));
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "an older one");
        let trace = Trace::begin(&path).expect("begins");
        trace.start();
        assert!(trace.write().expect("writes"));
        assert!(Trace::begins(&std::fs::read_to_string(&path).expect("it is there")));
    }

    #[test]
    fn steps_at_the_same_time_are_in_rows_of_their_own_and_phases_lie_inside() {
        let mut state = State::default();
        let message = |text: &str| Progress::Message(text.to_owned());
        state.tell(&Event::StepStarted { id: "base:a".into() }, at(0));
        state.tell(&said("base:a", message("fetching")), at(0));
        state.tell(&Event::StepStarted { id: "wheels:a/1".into() }, at(1));
        state.tell(&said("base:a", message("writing")), at(2));
        state.tell(&finished("base:a"), at(3));
        state.tell(&Event::StepStarted { id: "wheels:a/2".into() }, at(4));
        state.tell(&finished("wheels:a/1"), at(5));
        state.tell(&finished("wheels:a/2"), at(6));
        let rendered = state.render();
        let spans: Vec<String> = rendered["traceEvents"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|event| event["ph"] == "X")
            .map(|event| {
                format!(
                    "{} {} row {} at {} for {}",
                    event["cat"].as_str().expect("text"),
                    event["name"].as_str().expect("text"),
                    event["tid"],
                    event["ts"],
                    event["dur"]
                )
            })
            .collect();
        assert_eq!(
            spans,
            [
                "phase fetching row 1 at 0 for 2000000",
                "phase writing row 1 at 2000000 for 1000000",
                "base base:a row 1 at 0 for 3000000",
                "wheels wheels:a/1 row 2 at 1000000 for 4000000",
                "wheels wheels:a/2 row 1 at 4000000 for 2000000",
            ]
        );
    }
}
