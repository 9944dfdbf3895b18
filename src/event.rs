//! What happens while work is under way, whatever the kind of work.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::step_id::StepId;

/// One thing that running work tells whoever watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// So many more bytes (or items) are expected than were announced so far.
    Expect(u64),
    /// So many more bytes (or items) are done.
    Advance(u64),
    /// So many bytes came over the network.
    Fetched(u64),
    /// So many bytes were needed and there already.
    Reused(u64),
    /// What the work does now, in a few words.
    Message(String),
    /// Something that came otherwise than planned. Told at once.
    Notice(String),
    /// A line for the step's log.
    Log(String),
    /// It waits, since somebody asked for that. Told at once, and by everybody who waits.
    Waits(Wait),
}

/// A pause that a server asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Who asked.
    pub who: String,
    /// How long it is.
    pub asked: Duration,
    /// When it ends, for people.
    pub until: String,
}

impl fmt::Display for Wait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, asked, until } = self;
        let seconds = asked.as_secs_f64().ceil();
        write!(formatter, "{who} asks for {seconds} s of patience; waiting until {until}")
    }
}

/// What a step moved, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Came over the network, what had to be sent again included.
    pub fetched: u64,
    /// Were needed and there already.
    pub reused: u64,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It did what it had to.
    Done,
    /// It did not.
    Failed,
    /// Nobody can tell whether it did.
    Unproven,
    /// It was asked to stop, and did.
    Interrupted,
}

/// What happens during an apply, in the order in which it happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step begins to run.
    StepStarted {
        /// Which one.
        id: StepId,
    },
    /// A running step says something.
    StepProgress {
        /// Which one.
        id: StepId,
        /// What it says.
        progress: Progress,
    },
    /// A step that ran has ended.
    StepFinished {
        /// Which one.
        id: StepId,
        /// How.
        ending: Ending,
        /// How long it took.
        took: Duration,
        /// What it moved.
        traffic: Traffic,
        /// The error, rendered on one line, when it failed.
        error: Option<String>,
    },
}

/// The work was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("interrupted")]
#[diagnostic(code(goatbuild::interrupted))]
pub struct Cancelled;

impl Cancelled {
    /// Whether an error is this one, or was caused by it.
    pub fn caused(error: &miette::Report) -> bool {
        error.chain().any(<dyn std::error::Error>::is::<Self>)
    }
}

/// The one handle through which work reports, and learns that it should stop.
///
/// Long synchronous loops call [`Reporter::advance`] or [`Reporter::check`] at least every few
/// megabytes; asynchronous work is stopped by dropping its future.
#[derive(Clone)]
pub struct Reporter {
    emit: Arc<dyn Fn(Progress) + Send + Sync>,
    cancelled: Arc<AtomicBool>,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Reporter")
            .field("cancelled", &self.cancelled)
            .finish_non_exhaustive()
    }
}

impl Reporter {
    /// Reports through `emit`; `cancelled` is set by whoever wants the work to stop.
    pub fn new(emit: Arc<dyn Fn(Progress) + Send + Sync>, cancelled: Arc<AtomicBool>) -> Self {
        Self { emit, cancelled }
    }

    /// Reports to nobody and is never cancelled.
    pub fn silent() -> Self {
        Self::new(Arc::new(|_| ()), Arc::new(AtomicBool::new(false)))
    }

    /// The same, for what has to be put in order after an interruption: nothing stops it.
    #[must_use]
    pub fn unstoppable(&self) -> Self {
        Self::new(Arc::clone(&self.emit), Arc::default())
    }

    /// Announces that `amount` more bytes (or items) are to be done.
    pub fn expect(&self, amount: u64) {
        (self.emit)(Progress::Expect(amount));
    }

    /// Counts `amount` bytes (or items) as done; fails when the work should stop.
    pub fn advance(&self, amount: u64) -> Result<(), Cancelled> {
        (self.emit)(Progress::Advance(amount));
        self.check()
    }

    /// Counts bytes that came over the network.
    pub fn fetched(&self, bytes: u64) {
        (self.emit)(Progress::Fetched(bytes));
    }

    /// Counts bytes that were needed and there already.
    pub fn reused(&self, bytes: u64) {
        (self.emit)(Progress::Reused(bytes));
    }

    /// Says in a few words what the work does now.
    pub fn message(&self, text: impl Into<String>) {
        (self.emit)(Progress::Message(text.into()));
    }

    /// Says that something came otherwise than planned.
    pub fn notice(&self, text: impl Into<String>) {
        (self.emit)(Progress::Notice(text.into()));
    }

    /// Adds a line to the step's log.
    pub fn log(&self, line: impl Into<String>) {
        (self.emit)(Progress::Log(line.into()));
    }

    /// Says that the work waits as long as it was asked to.
    pub fn waits(&self, wait: Wait) {
        (self.emit)(Progress::Waits(wait));
    }

    /// Fails when the work should stop.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Cancelled) } else { Ok(()) }
    }
}
