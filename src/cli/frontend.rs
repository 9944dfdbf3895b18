//! Tells, shows and asks at a terminal.

use std::io::{BufRead as _, IsTerminal as _};
use std::sync::Arc;

use crate::event::Reporter;
use crate::ops::{End, Events, Frontend, Work};
use crate::plan::Plan;
use crate::ui::{self, Mode, Trace};

/// Whoever typed the command, or reads what it writes.
#[derive(Default)]
pub(super) struct Terminal {
    /// Whether programs read the events.
    pub(super) json: bool,
    /// Whether a plan shows its fresh steps, too.
    pub(super) verbose: bool,
    /// Where the events of an apply are kept, too.
    pub(super) trace: Option<Arc<Trace>>,
}

impl Frontend for Terminal {
    fn note(&self, text: &str) {
        ui::note(text);
    }

    fn confirm(&self, question: &str) -> Option<bool> {
        let input = std::io::stdin();
        if !input.is_terminal() {
            return None;
        }
        ui::ask(&format!("{question} [y/N]"));
        let mut answer = String::new();
        let read = input.lock().read_line(&mut answer);
        Some(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    fn progress(&self, work: Work) -> (Reporter, End) {
        match work {
            Work::Prepares => ui::preparing(),
            Work::Transfers => ui::transferring(),
        }
    }

    fn planned(&self, plan: &Plan) {
        if !self.json {
            ui::print_plan_before_apply(plan, self.verbose);
        }
    }

    fn events(&self, steps: usize) -> (Events, End) {
        let watcher = Arc::new(ui::Watcher::new(Mode::of(self.json), steps));
        let (told, traced) = (Arc::clone(&watcher), self.trace.clone());
        if let Some(trace) = &traced {
            trace.start();
        }
        let events = move |event| {
            if let Some(trace) = &traced {
                trace.tell(&event);
            }
            told.tell(&event);
        };
        (Arc::new(events), Box::new(move || watcher.finish()))
    }
}
