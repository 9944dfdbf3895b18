//! Whoever a command works for: told, shown and asked on the way.

use std::sync::Arc;

use crate::event::{Event, Reporter};
use crate::locking::Changes;
use crate::plan::Plan;

/// Takes the view of something away once that has ended.
pub type End = Box<dyn FnOnce()>;

/// Takes what happens during an apply.
pub type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// Something that takes a while, and is no step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// It tells what it does.
    Prepares,
    /// It also tells how many bytes there are and how many are done.
    Transfers,
}

/// Tells, shows and asks, wherever somebody looks at it.
pub trait Frontend {
    /// Tells one line of news.
    fn note(&self, text: &str);

    /// Asks whether to go on; none where nobody can answer.
    fn confirm(&self, question: &str) -> Option<bool>;

    /// Shows how work goes on, until the returned function is called.
    fn progress(&self, work: Work) -> (Reporter, End);

    /// Shows what is about to be applied.
    fn planned(&self, plan: &Plan);

    /// Shows how at most so many steps run, until the returned function is called.
    fn events(&self, steps: usize) -> (Events, End);
}

impl dyn Frontend + '_ {
    /// Shows how something goes on while it does.
    pub(super) async fn showing<T>(&self, work: Work, done: impl AsyncFnOnce(&Reporter) -> T) -> T {
        let (reporter, end) = self.progress(work);
        let done = done(&reporter).await;
        end();
        done
    }

    /// Tells for whom a command waits.
    pub(super) fn waits_for(&self, holder: &str) {
        self.note(&format!("waiting for another goatbuild: {holder}"));
    }

    /// Tells what locking changed, and what it left as it was.
    pub(super) fn tell_changes(&self, changes: &Changes) {
        for line in &changes.lines {
            self.note(&format!("lock: {line}"));
        }
        changes.lacking.iter().for_each(|line| self.note(line));
    }
}
