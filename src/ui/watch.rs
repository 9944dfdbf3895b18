//! What is going on during an apply: a live view in a terminal, plain lines, or JSON lines.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, WeakProgressBar};
use serde_json::json;

use super::out::{errln, outln};
use super::screen::screen;
use super::words::{bytes, duration};
use super::{BAD, FAINT, GOOD, WARN};
use crate::event::{Ending, Event, Progress, Traffic, Wait};
use crate::step::StepId;

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A line per running step that is drawn again and again.
    Live,
    /// A line when a step starts or ends.
    Plain,
    /// One JSON object per event on standard output.
    Json,
}

impl Mode {
    /// Json where programs read the events.
    pub fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::for_terminal() }
    }

    /// Live where somebody looks at it.
    pub fn for_terminal() -> Self {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let quiet = dumb || std::env::var_os("CI").is_some();
        if std::io::stderr().is_terminal() && !quiet { Self::Live } else { Self::Plain }
    }
}

/// What is drawn in the terminal now: what is written beside it would be drawn over.
static DRAWN: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

fn draws(bar: &ProgressBar) {
    *DRAWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
}

/// Writes a line above whatever is drawn.
pub(super) fn above(text: &str) {
    let drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match drawn.and_then(|bar| bar.upgrade()) {
        Some(bar) => bar.suspend(|| errln!("{text}")),
        None => errln!("{text}"),
    }
}

/// Has the last line of an apply say so for as long as it is drawn.
pub(super) fn mark(text: &str) {
    let drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(bar) = drawn.and_then(|bar| bar.upgrade()) {
        bar.set_prefix(format!("{text}: "));
    }
}

/// A line that turns while something is prepared; none where nobody looks.
pub(super) fn spinner() -> Option<ProgressBar> {
    if Mode::for_terminal() != Mode::Live {
        return None;
    }
    let bar =
        ProgressBar::with_draw_target(None, screen()).with_style(style("{spinner} {prefix}{msg}"));
    draws(&bar);
    bar.enable_steady_tick(Duration::from_millis(120));
    Some(bar)
}

/// A line that counts bytes and tells their rate; none where nobody looks.
pub(super) fn transfer() -> Option<ProgressBar> {
    if Mode::for_terminal() != Mode::Live {
        return None;
    }
    let shown = "{spinner} {prefix}{msg}  {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}";
    let bar = ProgressBar::with_draw_target(Some(0), screen()).with_style(style(shown));
    draws(&bar);
    bar.enable_steady_tick(Duration::from_millis(120));
    Some(bar)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|error| panic!("BUG: a progress template is wrong: {error}"))
}

/// Shows events as they come. Shared by all running steps.
pub struct Watcher {
    mode: Mode,
    lines: MultiProgress,
    state: Mutex<State>,
}

/// Waits that were told: many connections, and many steps, wait for one server.
#[derive(Default)]
pub(super) struct Told(HashMap<String, Instant>);

impl Told {
    /// Whether it goes on longer than anybody was told.
    pub(super) fn is_news(&mut self, wait: &Wait) -> bool {
        /// Who asks at the same time is not answered in the same moment.
        const SLACK: Duration = Duration::from_secs(2);
        let end = Instant::now() + wait.asked;
        if self.0.get(&wait.who).is_some_and(|known| end < *known + SLACK) {
            return false;
        }
        self.0.insert(wait.who.clone(), end);
        true
    }
}

struct State {
    running: HashMap<StepId, Running>,
    /// The last line: how far all of it is.
    whole: ProgressBar,
    /// How many steps run at most.
    planned: usize,
    ended: usize,
    fetched: u64,
    waits: Told,
}

impl State {
    /// How far the apply is, in one line.
    fn describe(&self) -> String {
        let Self { running, planned, ended, fetched, .. } = self;
        let mut text = format!("{ended} of {planned} steps, {} running", running.len());
        if *fetched > 0 {
            let _ = write!(text, ", {} fetched", bytes(*fetched));
        }
        text
    }
}

struct Running {
    began: Instant,
    bar: ProgressBar,
    expected: u64,
    done: u64,
    message: String,
    told: Instant,
}

/// In JSON, a step tells of its progress at most this often.
const PAUSE: Duration = Duration::from_millis(250);

/// In plain lines, which people scroll through, at most this often.
const LONG_PAUSE: Duration = Duration::from_secs(30);

impl Watcher {
    /// A watcher for an apply in which at most so many steps run.
    pub fn new(mode: Mode, planned: usize) -> Self {
        let target = match mode {
            Mode::Live => screen(),
            Mode::Plain | Mode::Json => ProgressDrawTarget::hidden(),
        };
        if mode == Mode::Json {
            outln!("{}", json!({ "event": "apply_started", "format_version": 1 }));
        }
        let lines = MultiProgress::with_draw_target(target);
        let whole = lines.add(ProgressBar::new_spinner());
        whole.set_style(style("{prefix}{msg}, {elapsed}"));
        if mode == Mode::Live && planned > 0 {
            draws(&whole);
            whole.enable_steady_tick(Duration::from_secs(1));
        }
        let (running, waits) = (HashMap::new(), Told::default());
        let state = State { running, whole, planned, ended: 0, fetched: 0, waits };
        Self { mode, lines, state: Mutex::new(state) }
    }

    /// Shows one event.
    pub fn tell(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::StepStarted { id } => {
                let line = self.start(id, &state.whole);
                state.running.insert(id.clone(), line);
            }
            Event::StepProgress { progress: Progress::Fetched(more), .. } => state.fetched += more,
            Event::StepProgress { id, progress: Progress::Waits(wait) } => {
                let is_news = state.waits.is_news(wait);
                if let Some(step) = state.running.get(id).filter(|_| is_news) {
                    self.notice(id, step, &wait.to_string());
                }
            }
            Event::StepProgress { id, progress: Progress::Notice(text) } => {
                if let Some(step) = state.running.get(id) {
                    self.notice(id, step, text);
                }
            }
            Event::StepProgress { id, progress } => {
                if let Some(step) = state.running.get_mut(id) {
                    self.progress(id, step, progress);
                }
            }
            Event::StepFinished { id, ending, took, traffic, error } => {
                if let Some(step) = state.running.remove(id) {
                    step.bar.finish_and_clear();
                    state.ended += 1;
                    self.finished(id, *ending, *took, *traffic, error.as_deref());
                }
            }
        }
        if self.mode == Mode::Live {
            state.whole.set_message(state.describe());
        }
    }

    /// Takes the live view away.
    pub fn finish(&self) {
        let _ = self.lines.clear();
    }

    fn start(&self, id: &StepId, whole: &ProgressBar) -> Running {
        match self.mode {
            Mode::Json => outln!("{}", json!({ "event": "step_started", "id": id })),
            Mode::Plain => errln!("  start {id}"),
            Mode::Live => {}
        }
        let bar = self.lines.insert_before(whole, ProgressBar::new_spinner());
        bar.set_style(style("{spinner} {prefix}  {wide_msg}"));
        bar.set_prefix(id.to_string());
        if self.mode == Mode::Live {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        let now = Instant::now();
        Running { began: now, bar, expected: 0, done: 0, message: String::new(), told: now }
    }

    fn progress(&self, id: &StepId, step: &mut Running, progress: &Progress) {
        match progress {
            Progress::Expect(more) => step.expected += more,
            Progress::Advance(more) => step.done += more,
            Progress::Message(text) => {
                // What came before was of another kind of work, at another rate.
                if step.message != *text {
                    (step.began, step.expected, step.done) = (Instant::now(), 0, 0);
                }
                step.message.clone_from(text);
            }
            Progress::Log(_)
            | Progress::Notice(_)
            | Progress::Waits(_)
            | Progress::Fetched(_)
            | Progress::Reused(_) => return,
        }
        match self.mode {
            Mode::Live => step.bar.set_message(step.describe()),
            Mode::Json if step.told.elapsed() >= PAUSE => {
                step.told = Instant::now();
                tell_progress(id, &step.message, step);
            }
            Mode::Plain if step.told.elapsed() >= LONG_PAUSE => {
                step.told = Instant::now();
                errln!("        {id}  {}", step.describe());
            }
            Mode::Plain | Mode::Json => {}
        }
    }

    fn notice(&self, id: &StepId, step: &Running, text: &str) {
        match self.mode {
            Mode::Json => tell_progress(id, text, step),
            Mode::Plain | Mode::Live => self.lines.suspend(|| errln!("        {id}  {text}")),
        }
    }

    fn finished(
        &self,
        id: &StepId,
        ending: Ending,
        took: Duration,
        traffic: Traffic,
        error: Option<&str>,
    ) {
        let word = match ending {
            Ending::Done => "ok",
            Ending::Failed => "failed",
            Ending::Unproven => "unproven",
            Ending::Interrupted => "interrupted",
        };
        if self.mode == Mode::Json {
            let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
            let line = json!({
                "event": "step_finished",
                "id": id,
                "outcome": word,
                "seconds": seconds,
                "bytes_fetched": traffic.fetched,
                "bytes_reused": traffic.reused,
                "error": error,
            });
            outln!("{line}");
            return;
        }
        let (style, mark) = match ending {
            Ending::Done => (GOOD, "✓"),
            Ending::Unproven => (WARN, "?"),
            Ending::Failed | Ending::Interrupted => (BAD, "✗"),
        };
        let note = match (ending, error) {
            (Ending::Done, _) => String::new(),
            // What became of things; a failure is told at the end, with its way out.
            (Ending::Interrupted | Ending::Unproven, Some(told)) => format!("  {told}"),
            _ => format!("  {word}"),
        };
        let mut told = duration(took);
        if traffic.fetched > 0 {
            let _ = write!(told, ", {} fetched", bytes(traffic.fetched));
        }
        if traffic.reused > 0 {
            let _ = write!(told, ", {} reused", bytes(traffic.reused));
        }
        self.lines.suspend(|| {
            errln!("{style}{mark}{style:#} {id}  {FAINT}{told}{FAINT:#}{note}");
        });
    }
}

fn tell_progress(id: &StepId, message: &str, step: &Running) {
    let line = json!({
        "event": "step_progress",
        "id": id,
        "message": message,
        "done": step.done,
        "expected": step.expected,
    });
    outln!("{line}");
}

impl Running {
    /// What it does, how far it is, how fast, and how long it will take.
    fn describe(&self) -> String {
        if self.done == 0 {
            return self.message.clone();
        }
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate for people needs three digits"
        )]
        let rate = (self.done as f64 / seconds) as u64;
        let mut text = format!("{}  {}", self.message, bytes(self.done));
        if self.expected > self.done {
            let _ = write!(text, " of {}", bytes(self.expected));
        }
        let _ = write!(text, ", {}/s", bytes(rate));
        let left = self.expected.saturating_sub(self.done).checked_div(rate);
        if let Some(left) = left.filter(|left| *left > 0) {
            let _ = write!(text, ", {} left", duration(Duration::from_secs(left)));
        }
        text
    }
}
