//! The executor: runs what a plan says, as parallel as resources allow, and nothing else.
//!
//! It knows `dyn Step`, never a step's kind.

mod differing;
mod interrupt;
mod report;
mod schedule;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinSet};

use crate::event::{Cancelled, Ending, Event, Progress, Reporter, Traffic};
use crate::fingerprint::Key;
use crate::graph::Graph;
use crate::plan::{Memory, Plan, Wishes};
use crate::step::{Class, Facts, Outcome, Resource, Step, StepError, StepId, Task, Unproven};
use crate::store::{Store, StoreError};

pub use differing::{BuiltOtherwise, NotReproducible};
pub use interrupt::{Attended, Interrupt};
pub use report::{FailedStep, Report};
use schedule::{Ready, Schedule};

/// How long an effect step may take to put things in order after an interruption.
const GRACE: Duration = if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(30) };

/// What an apply works with.
pub struct Executor<'a> {
    /// The steps.
    pub graph: &'a Graph,
    /// What to do with each.
    pub plan: &'a Plan,
    /// What was remembered when the plan was made.
    pub memory: &'a dyn Memory,
    /// What the user asked for when the plan was made.
    pub wishes: &'a Wishes,
    /// Where outcomes are written.
    pub store: &'a Store,
    /// Told what happens.
    pub events: Arc<dyn Fn(Event) + Send + Sync>,
    /// Asked whether to go on.
    pub interrupt: &'a Interrupt,
    /// How many steps may keep a core busy.
    pub cores: usize,
    /// Whether a step takes its turn even after one that failed.
    pub keep_going: bool,
}

/// A step that ended: how, how long it took and what it moved.
struct Ended {
    id: StepId,
    outcome: Result<Outcome, StepError>,
    took: Duration,
    traffic: Traffic,
}

/// Counts what a running step moves.
#[derive(Default)]
struct Meter {
    fetched: AtomicU64,
    reused: AtomicU64,
}

impl Meter {
    fn count(&self, progress: &Progress) {
        match progress {
            Progress::Fetched(bytes) => self.fetched.fetch_add(*bytes, Ordering::Relaxed),
            Progress::Reused(bytes) => self.reused.fetch_add(*bytes, Ordering::Relaxed),
            _ => return,
        };
    }

    fn traffic(&self) -> Traffic {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Traffic { fetched: read(&self.fetched), reused: read(&self.reused) }
    }
}

impl Executor<'_> {
    /// Runs the plan, and keeps how that ended. Independent branches go on after a failure.
    pub async fn apply(&self) -> Result<Report, StoreError> {
        let run = self.store.begin_run("apply")?;
        let mut schedule =
            Schedule::new(self.graph, self.plan, self.memory, self.wishes, self.keep_going);
        let mut running: JoinSet<Ended> = JoinSet::new();
        let mut handles: HashMap<Id, (StepId, Instant)> = HashMap::new();
        let mut used: HashMap<Resource, usize> = HashMap::new();
        let mut written: HashSet<String> = HashSet::new();
        let mut report = Report::default();
        let mut queue: Vec<Ready> = Vec::new();
        let mut deadline: Option<tokio::time::Instant> = None;
        let mut aborted = false;
        loop {
            // Made before the flags are looked at, so that no change falls between.
            let changed = self.interrupt.changed.notified();
            queue.extend(schedule.ready());
            if self.interrupt.asked() {
                deadline.get_or_insert(tokio::time::Instant::now() + GRACE);
                if !aborted && self.interrupt.now.load(Ordering::SeqCst) {
                    running.abort_all();
                    aborted = true;
                }
            } else {
                let mut waiting = Vec::new();
                for ready in queue.drain(..) {
                    let resource = ready.step.resource();
                    let exclusive = ready.step.exclusive();
                    let busy = used.get(&resource).copied().unwrap_or(0) >= self.limit(resource)
                        || exclusive.as_ref().is_some_and(|name| written.contains(name));
                    if busy {
                        waiting.push(ready);
                        continue;
                    }
                    *used.entry(resource).or_default() += 1;
                    written.extend(exclusive);
                    let id = ready.step.id().clone();
                    self.store.intend(run, &id, &ready.key)?;
                    let handle = self.start(run, &mut running, ready);
                    handles.insert(handle, (id, Instant::now()));
                }
                queue = waiting;
            }
            if running.is_empty() {
                break;
            }
            let ended = tokio::select! {
                ended = running.join_next_with_id() => ended,
                () = changed => None,
                () = sleep_until(deadline), if !aborted => {
                    running.abort_all();
                    aborted = true;
                    None
                }
            };
            let Some(ended) = ended else { continue };
            let ended = match ended {
                Ok((handle, ended)) => {
                    handles.remove(&handle);
                    ended
                }
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(error) => {
                    let Some((id, began)) = handles.remove(&error.id()) else { continue };
                    Ended {
                        id,
                        outcome: Err(Cancelled.into()),
                        took: began.elapsed(),
                        traffic: Traffic::default(),
                    }
                }
            };
            let Some(step) = self.graph.get(&ended.id) else { continue };
            if let Some(count) = used.get_mut(&step.resource()) {
                *count -= 1;
            }
            if let Some(name) = step.exclusive() {
                written.remove(&name);
            }
            self.ended(run, &mut schedule, &mut report, ended)?;
        }
        report.interrupted = self.interrupt.asked();
        self.store.keep(&schedule.standing())?;
        schedule.finish(&mut report);
        let outcome = match (report.interrupted, report.failed.is_empty()) {
            (true, _) => "interrupted",
            (false, true) => "ok",
            (false, false) => "failed",
        };
        self.store.end_run(run, outcome)?;
        Ok(report)
    }

    fn limit(&self, resource: Resource) -> usize {
        match resource {
            Resource::Network => 4,
            Resource::Cpu => self.cores.max(1),
            Resource::Disk | Resource::Accelerator => 2,
        }
    }

    fn start(&self, run: i64, running: &mut JoinSet<Ended>, ready: Ready) -> Id {
        let id = ready.step.id().clone();
        (self.events)(Event::StepStarted { id: id.clone() });
        let log = self.store.root().join(Store::log_name(run, &id));
        let meter = Arc::new(Meter::default());
        let reporter = self.reporter(id.clone(), log, Arc::clone(&meter));
        let adopt = self.wishes.adopts(&*ready.step);
        let replaced = self.wishes.replace.contains(&id);
        let interrupt = self.interrupt.clone();
        let handle = running.spawn(async move {
            let began = Instant::now();
            let Ready { key, fingerprint, inputs, .. } = ready;
            let task = Task { key, fingerprint, inputs, reporter, adopt, replaced };
            let outcome = match ready.step.class() {
                Class::Effect => ready.step.run(&task).await,
                // Nothing half-made is ever visible, so it can be dropped where it stands.
                Class::Pure => tokio::select! {
                    outcome = ready.step.run(&task) => outcome,
                    () = stopped(&interrupt) => Err(Cancelled.into()),
                },
            };
            Ended { id, outcome, took: began.elapsed(), traffic: meter.traffic() }
        });
        handle.id()
    }

    fn reporter(&self, id: StepId, log: PathBuf, meter: Arc<Meter>) -> Reporter {
        let events = Arc::clone(&self.events);
        Reporter::new(
            Arc::new(move |progress| {
                meter.count(&progress);
                match &progress {
                    Progress::Log(line) | Progress::Notice(line) => append(&log, line),
                    Progress::Waits(wait) => append(&log, &wait.to_string()),
                    _ => {}
                }
                events(Event::StepProgress { id: id.clone(), progress });
            }),
            self.interrupt.flag(),
        )
    }

    /// Refuses an outcome that contradicts what is known of it, before it is written down.
    fn check(
        &self,
        step: &dyn Step,
        key: &Key,
        predicted: Facts,
        outcome: Outcome,
    ) -> Result<Outcome, StepError> {
        let (id, made) = (step.id(), &outcome.facts);
        for (name, predicted) in predicted {
            let made = made.get(&name);
            assert!(
                made == Some(&predicted),
                "BUG: {id} was predicted to make {name} = {predicted} and made {made:?}"
            );
        }
        let is_wanted = step.may_differ() && self.wishes.replace.contains(id);
        if step.class() == Class::Pure
            && !is_wanted
            && let Some(known) = self.memory.record(id, key)
            && let Some(fact) =
                known.keys().chain(made.keys()).find(|name| known.get(*name) != made.get(*name))
        {
            let text = |facts: &Facts| facts.get(fact).cloned().unwrap_or_default();
            let (known, built) = (text(&known), text(made));
            let (step_id, fact) = (id.clone(), fact.clone());
            if step.may_differ() {
                return Err(BuiltOtherwise { step: step_id, fact, known, built }.into());
            }
            return Err(NotReproducible { step: step_id, fact, known, built }.into());
        }
        Ok(outcome)
    }

    fn ended(
        &self,
        run: i64,
        schedule: &mut Schedule<'_>,
        report: &mut Report,
        ended: Ended,
    ) -> Result<(), StoreError> {
        let Ended { id, outcome, took, traffic } = ended;
        let id = &id;
        report.traffic.fetched += traffic.fetched;
        report.traffic.reused += traffic.reused;
        let Some(step) = self.graph.get(id) else { return Ok(()) };
        let fingerprint = schedule.fingerprint(id);
        let key = fingerprint.key();
        let outcome = outcome
            .and_then(|outcome| self.check(&**step, &key, schedule.predicted(id), outcome))
            .map(|outcome| with_traffic(outcome, traffic));
        let (ending, error, ended) = match &outcome {
            Ok(outcome) => (Ending::Done, None, Ok(outcome)),
            Err(error) => {
                let (ending, word) = if Cancelled::caused(error) {
                    (Ending::Interrupted, "interrupted")
                } else if error.downcast_ref::<Unproven>().is_some() {
                    (Ending::Unproven, "unproven")
                } else {
                    (Ending::Failed, "failed")
                };
                let log = self.store.root().join(Store::log_name(run, id));
                let line = match ending {
                    Ending::Failed => format!("{word}: {error:?}"),
                    _ => error.to_string(),
                };
                append(&log, &line);
                (ending, Some(error.to_string()), Err(word))
            }
        };
        let seconds = took.as_secs_f64();
        self.store.finish(run, id, step.class(), fingerprint, seconds, ended)?;
        (self.events)(Event::StepFinished { id: id.clone(), ending, took, traffic, error });
        match outcome {
            Ok(outcome) => {
                if step.class() == Class::Pure {
                    report.built.push((id.clone(), key, outcome.facts.clone()));
                }
                report.evidence.insert(id.clone(), outcome.evidence);
                report.ran.push((id.clone(), took));
                schedule.succeeded(id, outcome.facts);
            }
            Err(error) => {
                let failed = FailedStep { id: id.clone(), error };
                match ending {
                    Ending::Unproven => {
                        report.unproven.push(failed);
                        schedule.left_open(id);
                    }
                    Ending::Failed => {
                        report.failed.push(failed);
                        schedule.failed(id);
                    }
                    Ending::Done | Ending::Interrupted => schedule.failed(id),
                }
            }
        }
        Ok(())
    }
}

/// An outcome that also tells what was moved to get there.
fn with_traffic(mut outcome: Outcome, traffic: Traffic) -> Outcome {
    let moved = [("bytes-fetched", traffic.fetched), ("bytes-reused", traffic.reused)];
    for (name, bytes) in moved.into_iter().filter(|(_, bytes)| *bytes > 0) {
        outcome.evidence.insert(name.to_owned(), bytes.to_string());
    }
    outcome
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn stopped(interrupt: &Interrupt) {
    loop {
        let changed = interrupt.changed.notified();
        if interrupt.asked() {
            return;
        }
        changed.await;
    }
}

/// Adds a line to a step's log. A log that can't be written must not fail the step.
fn append(log: &std::path::Path, line: &str) {
    use std::io::Write as _;
    if let Some(parent) = log.parent() {
        let _ = std::fs::create_dir_all(parent);
    }
    if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(log) {
        let _ = writeln!(file, "{line}");
    }
}

#[cfg(test)]
mod tests;
