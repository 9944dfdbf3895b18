//! What people and programs see: plans, events and errors, rendered.
//!
//! Results go to standard output, everything else to standard error. It knows events and plans,
//! no step.

mod applied;
mod errors;
mod garbage;
mod graph;
mod image;
mod import;
mod markdown;
mod models;
mod out;
mod plan;
mod prices;
mod screen;
mod shell;
mod spending;
mod status;
mod trace;
mod tried;
mod watch;
mod words;

use std::io::IsTerminal as _;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use anstyle::{AnsiColor, Style};
use indicatif::ProgressBar;
use miette::Report;

use crate::event::{Progress, Reporter, Wait};
use crate::runtime::Check;
use crate::targets::{Assumption, Shown};

pub use applied::Applied;
pub use garbage::{Cleaned, print_garbage};
pub use graph::{Drawn, diagram};
pub use image::print_image;
pub use import::print_imported;
pub use markdown::print_markdown;
pub use out::{is_unread, print_bytes, write_error};
pub use plan::{note_saved, print_plan, print_plan_before_apply, print_warnings};
pub use prices::print_prices;
pub use shell::{command_text, for_shell};
pub use status::{print_status, print_why};
pub use trace::{Trace, TraceError};
pub use tried::Calls;
pub use watch::{Mode, Watcher};

use out::{err, errln, out, outln};

const GOOD: Style = AnsiColor::Green.on_default();
const WARN: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const FAINT: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// Has errors drawn with a width and colours that fit where they are shown.
pub fn set_up_errors() {
    let _ = miette::set_hook(Box::new(|_| {
        let plain = std::env::var_os("CI").is_some() || std::env::var_os("NO_COLOR").is_some();
        let colour = std::io::stderr().is_terminal() && !plain;
        Box::new(errors::Shortening(
            miette::MietteHandlerOpts::new()
                .color(colour)
                .unicode(true)
                .terminal_links(false)
                .width(100)
                .wrap_lines(false)
                .build(),
        ))
    }));
}

/// Shows an error with its place, code and way out.
pub fn print_error(error: &Report) {
    errln!("{error:?}");
}

/// The same for programs, on standard output: the last line, in place of a result.
pub fn print_json_error(error: &Report) {
    let text = |part: Option<Box<dyn std::fmt::Display + '_>>| part.map(|part| part.to_string());
    let related: Vec<_> = error.related().into_iter().flatten().collect();
    let one = |error: &dyn miette::Diagnostic| {
        serde_json::json!({
            "code": text(error.code()),
            "message": error.to_string(),
            "help": errors::help(error),
        })
    };
    let mut line = one(error.as_ref());
    line["event"] = "error".into();
    line["format_version"] = 1.into();
    line["related"] = related.into_iter().map(one).collect();
    outln!("{line}");
}

/// One line of what can't wait.
pub fn tell(text: &str) {
    watch::above(text);
}

/// What was asked for on the way, and stays to be seen in a live view until it is over.
pub fn tell_to_the_end(mark: &str, text: &str) {
    watch::above(text);
    watch::mark(mark);
}

/// A question, which is answered on the same line.
pub fn ask(text: &str) {
    err(format_args!("{text} "));
}

/// One line of news.
pub fn note(text: &str) {
    errln!("{FAINT}·{FAINT:#} {text}");
}

/// One line of a result that holds no styles: data for programs.
pub fn print_line(text: &str) {
    outln!("{text}");
}

/// A result as it is.
pub fn print_text(text: &str) {
    let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    out(format_args!("{text}{end}"));
}

/// Shows what is done before a plan can be made. The returned function ends the display.
pub fn preparing() -> (Reporter, Box<dyn FnOnce()>) {
    let line = watch::spinner();
    let shown = line.clone();
    let waits = Mutex::default();
    let emit = move |progress| match (progress, &shown) {
        (Progress::Message(text), Some(line)) => line.set_message(text),
        (Progress::Message(text), None) => note(&text),
        (Progress::Waits(wait), line) => waited(&wait, &waits, line.as_ref()),
        (Progress::Notice(text), line) => beside(line.as_ref(), || note(&text)),
        _ => {}
    };
    let reporter = Reporter::new(Arc::new(emit), Arc::new(AtomicBool::new(false)));
    (reporter, taking_away(line))
}

/// Like [`preparing`], for work that announces its bytes: shows how far it is and how fast.
pub fn transferring() -> (Reporter, Box<dyn FnOnce()>) {
    let line = watch::transfer();
    let shown = line.clone();
    let waits = Mutex::default();
    let emit = move |progress| match (progress, &shown) {
        (Progress::Message(text), Some(line)) => line.set_message(text),
        (Progress::Message(text), None) => note(&text),
        (Progress::Waits(wait), line) => waited(&wait, &waits, line.as_ref()),
        (Progress::Notice(text), line) => beside(line.as_ref(), || note(&text)),
        (Progress::Expect(bytes), Some(line)) => line.inc_length(bytes),
        (Progress::Advance(bytes), Some(line)) => line.inc(bytes),
        _ => {}
    };
    let reporter = Reporter::new(Arc::new(emit), Arc::new(AtomicBool::new(false)));
    (reporter, taking_away(line))
}

/// Ends the display of a line.
fn taking_away(line: Option<ProgressBar>) -> Box<dyn FnOnce()> {
    Box::new(move || {
        if let Some(line) = line {
            line.finish_and_clear();
        }
    })
}

/// Tells of a wait, once and beside the line that turns.
fn waited(wait: &Wait, told: &Mutex<watch::Told>, line: Option<&ProgressBar>) {
    if told.lock().unwrap_or_else(PoisonError::into_inner).is_news(wait) {
        beside(line, || note(&wait.to_string()));
    }
}

/// Tells something beside the line that turns.
fn beside(line: Option<&ProgressBar>, tell: impl FnOnce()) {
    match line {
        Some(line) => line.suspend(tell),
        None => tell(),
    }
}

/// One line of a check.
pub fn checked(fine: Option<bool>, name: &str, detail: &str, help: Option<&str>) {
    let (style, mark) = marked(fine);
    outln!("{style}{mark}{style:#} {name}: {detail}");
    if let Some(help) = help {
        outln!("  {FAINT}help:{FAINT:#} {help}");
    }
}

/// How it is marked whether something is in order, or was not to be seen.
fn marked(fine: Option<bool>) -> (Style, &'static str) {
    match fine {
        Some(true) => (GOOD, "✓"),
        Some(false) => (BAD, "✗"),
        None => (FAINT, "·"),
    }
}

/// One line of what was tried out: whether it held, or was not to be seen.
pub fn print_shown(row: &Assumption, shown: &Shown) {
    let (style, mark) = marked(shown.held);
    outln!("{style}{mark}{style:#} {}: {}", row.name, row.taken);
    outln!("  {FAINT}{}{FAINT:#}", shown.detail);
}

/// The same, of a check that was made.
pub fn print_check(check: &Check) {
    checked(check.ok, check.name, &check.detail, check.help.as_deref());
}
