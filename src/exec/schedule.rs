//! Which step may start now: the state of every step of one apply.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Report;
use crate::fingerprint::{Fingerprint, Key};
use crate::graph::Graph;
use crate::plan::{self, Action, Memory, Plan, PlannedStep, ReasonKind, Verdict, Wishes};
use crate::step::{Class, Facts, Inputs, Step, StepId};
use crate::store::Stands;

/// Where a step stands. Every step begins as `Waiting` or `Standing`.
#[derive(Debug)]
enum State {
    /// It may run; not all facts of its inputs are known yet.
    Waiting,
    /// Its facts are known; its files are gone, and it runs only when somebody needs them.
    Evicted(Prepared),
    /// It will run; some input has not ended yet.
    Wanted(Prepared),
    /// It was handed out.
    Running(Fingerprint),
    /// Nothing to do, from the start.
    Standing,
    /// It is left as it is, whatever its key is.
    Held,
    /// It might have run, and its inputs turned out to be the same.
    CutOff(Fingerprint),
    /// It ran.
    Done,
    /// It ran and failed, or was interrupted.
    Failed,
    /// It ran, and nobody can tell yet what came of it.
    Unproven,
    /// What it needs is not known yet.
    Open,
    /// An input failed, or one that it goes after, or somebody else's thing is in the way.
    Blocked,
}

fn is_evicted(planned: &PlannedStep) -> bool {
    planned.reasons.iter().any(|reason| reason.kind == ReasonKind::Evicted)
}

#[derive(Debug)]
struct Prepared {
    fingerprint: Fingerprint,
    inputs: Inputs,
}

/// A step that may start.
pub(super) struct Ready {
    pub(super) step: Arc<dyn Step>,
    pub(super) key: Key,
    pub(super) fingerprint: Fingerprint,
    pub(super) inputs: Inputs,
}

pub(super) struct Schedule<'a> {
    graph: &'a Graph,
    planned: HashMap<&'a StepId, &'a PlannedStep>,
    plan: &'a Plan,
    memory: &'a dyn Memory,
    wishes: &'a Wishes,
    states: HashMap<StepId, State>,
    facts: HashMap<StepId, Facts>,
    keep_going: bool,
    /// The steps that go after one, beside those that take from it.
    followers: HashMap<StepId, Vec<StepId>>,
    /// Steps whose turn did not come, and because of which.
    turns: BTreeMap<StepId, StepId>,
    /// Steps that something changed for since they were last looked at.
    stale: Vec<StepId>,
}

impl<'a> Schedule<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        plan: &'a Plan,
        memory: &'a dyn Memory,
        wishes: &'a Wishes,
        keep_going: bool,
    ) -> Self {
        let mut schedule = Self {
            graph,
            planned: plan.steps.iter().map(|planned| (&planned.id, planned)).collect(),
            plan,
            memory,
            wishes,
            states: HashMap::with_capacity(graph.len()),
            facts: HashMap::with_capacity(graph.len()),
            keep_going,
            followers: HashMap::new(),
            turns: BTreeMap::new(),
            stale: Vec::new(),
        };
        for planned in &plan.steps {
            for before in &planned.after {
                let followers = schedule.followers.entry(before.clone()).or_default();
                followers.push(planned.id.clone());
            }
            let id = planned.id.clone();
            let state = match planned.action {
                Action::Remove => continue,
                Action::Conflict => State::Blocked,
                Action::Fresh => {
                    schedule.facts.insert(id.clone(), planned.facts.clone());
                    if planned.held.is_some() { State::Held } else { State::Standing }
                }
                Action::Run | Action::Pending => {
                    if is_evicted(planned) {
                        schedule.facts.insert(id.clone(), planned.facts.clone());
                    }
                    schedule.stale.push(id.clone());
                    State::Waiting
                }
            };
            schedule.states.insert(id, state);
        }
        schedule.stale.reverse();
        schedule
    }

    /// The steps that became ready since the last call, each handed out once.
    pub(super) fn ready(&mut self) -> Vec<Ready> {
        let mut ready = Vec::new();
        while let Some(id) = self.stale.pop() {
            if let Some(step) = self.graph.get(&id).cloned() {
                self.look_at(&step, &mut ready);
            }
        }
        ready
    }

    pub(super) fn fingerprint(&self, id: &StepId) -> &Fingerprint {
        match self.states.get(id) {
            Some(State::Running(fingerprint)) => fingerprint,
            state => panic!("BUG: {id} ended in state {state:?}"),
        }
    }

    /// The facts that the plan counted on before the step ran.
    pub(super) fn predicted(&self, id: &StepId) -> Facts {
        match self.planned.get(id) {
            // What an evicted step made is remembered, not predicted.
            Some(planned) if !is_evicted(planned) => planned.facts.clone(),
            _ => Facts::new(),
        }
    }

    pub(super) fn succeeded(&mut self, id: &StepId, facts: Facts) {
        self.facts.insert(id.clone(), facts);
        self.move_to(id, State::Done);
    }

    pub(super) fn failed(&mut self, id: &StepId) {
        self.move_to(id, State::Failed);
    }

    pub(super) fn left_open(&mut self, id: &StepId) {
        self.move_to(id, State::Unproven);
    }

    /// Fills in what came of the steps that did not run.
    pub(super) fn finish(&mut self, report: &mut Report) {
        for planned in &self.plan.steps {
            match self.states.get(&planned.id) {
                Some(State::CutOff(_) | State::Evicted(_)) => {
                    report.cut_off.push(planned.id.clone());
                }
                // Running: it was handed out, and the interruption came before it began.
                Some(State::Blocked | State::Waiting | State::Wanted(_) | State::Running(_)) => {
                    report.blocked.push(planned.id.clone());
                }
                Some(State::Open) => report.waiting.push(planned.id.clone()),
                _ => {}
            }
        }
        // What was interrupted ends no turns: nothing more was begun.
        let known = report.failed.iter().chain(&report.unproven).map(|it| &it.id);
        self.turns.retain(|_, culprit| known.clone().any(|id| id == culprit));
        report.turns = std::mem::take(&mut self.turns);
        report.facts = std::mem::take(&mut self.facts).into_iter().collect();
    }

    /// The steps that stand without having run, as far as memory does not know it: what they stand
    /// for is what the next change is told against.
    pub(super) fn standing(&self) -> Vec<Stands> {
        let stands = |step: &Arc<dyn Step>| {
            let id = step.id();
            let facts = self.facts.get(id)?;
            let fingerprint = match self.states.get(id)? {
                State::CutOff(fingerprint) => fingerprint.clone(),
                State::Evicted(prepared) => prepared.fingerprint.clone(),
                State::Standing => {
                    let inputs = plan::gather(&**step, |id| self.facts.get(id)).ok()?;
                    step.describe(&inputs)
                }
                _ => return None,
            };
            let known = self.memory.applied(id).as_ref() == Some(&fingerprint)
                && (step.class() == Class::Pure
                    || self.memory.row(id).is_some_and(|row| row.key == fingerprint.key()));
            let (step, class) = (id.clone(), step.class());
            (!known).then(|| Stands { step, class, fingerprint, facts: facts.clone() })
        };
        self.graph.in_order().filter_map(stands).collect()
    }

    fn look_at(&mut self, step: &Arc<dyn Step>, ready: &mut Vec<Ready>) {
        let id = step.id();
        if !matches!(self.states.get(id), Some(State::Waiting | State::Wanted(_))) {
            return;
        }
        let any = |is: fn(&State) -> bool| {
            step.inputs().iter().any(|input| self.states.get(&input.step).is_some_and(is))
        };
        if any(|state| matches!(state, State::Failed | State::Blocked)) {
            self.move_to(id, State::Blocked);
            return;
        }
        if any(|state| matches!(state, State::Unproven | State::Open)) {
            self.move_to(id, State::Open);
            return;
        }
        if matches!(self.states.get(id), Some(State::Waiting)) {
            match plan::gather(&**step, |id| self.facts.get(id)) {
                Err(_) => return,
                Ok(inputs) => self.decide(step, inputs),
            }
        }
        if matches!(self.states.get(id), Some(State::Wanted(_))) {
            if let Some(culprit) = self.ends_turns(id) {
                self.turns.insert(id.clone(), culprit);
                self.move_to(id, State::Blocked);
                return;
            }
            // At every look: an input may have been found to have no files only now.
            self.demand_files(step);
            self.hand_out(step, ready);
        }
    }

    /// The step because of which this one's turn does not come, if there is one.
    fn ends_turns(&self, id: &StepId) -> Option<StepId> {
        let before = self.planned.get(id).filter(|_| !self.keep_going)?.after.iter();
        before.into_iter().find(|before| self.came_to_nothing(before)).map(|it| self.culprit(it))
    }

    fn came_to_nothing(&self, id: &StepId) -> bool {
        let nothing = |state: &State| {
            matches!(state, State::Failed | State::Blocked | State::Unproven | State::Open)
        };
        self.states.get(id).is_some_and(nothing)
    }

    /// The step that failed or was left open, for which this one came to nothing.
    fn culprit(&self, id: &StepId) -> StepId {
        if let Some(culprit) = self.turns.get(id) {
            return culprit.clone();
        }
        let inputs = self.graph.get(id).map_or(&[][..], |step| step.inputs());
        match inputs.iter().find(|input| self.came_to_nothing(&input.step)) {
            Some(input) => self.culprit(&input.step),
            None => id.clone(),
        }
    }

    /// Decides about a step whose inputs' facts are all known.
    fn decide(&mut self, step: &Arc<dyn Step>, inputs: Inputs) {
        let id = step.id();
        let Some(planned) = self.planned.get(id) else { return };
        let fingerprint = step.describe(&inputs);
        let evicted = is_evicted(planned);
        let state = match planned.action {
            Action::Pending if evicted => State::Evicted(Prepared { fingerprint, inputs }),
            Action::Pending => {
                match plan::judge(&**step, &fingerprint, &inputs, self.memory, self.wishes).1 {
                    Verdict::Run(_) | Verdict::Unknown(_) => {
                        State::Wanted(Prepared { fingerprint, inputs })
                    }
                    Verdict::Conflict(_) => State::Blocked,
                    Verdict::Fresh(facts) => {
                        self.facts.insert(id.clone(), facts);
                        State::CutOff(fingerprint)
                    }
                    Verdict::Held { facts, .. } => {
                        self.facts.insert(id.clone(), facts);
                        State::Held
                    }
                }
            }
            _ => State::Wanted(Prepared { fingerprint, inputs }),
        };
        self.move_to(id, state);
    }

    /// Has every evicted input of a step that runs made again.
    fn demand_files(&mut self, step: &Arc<dyn Step>) {
        for input in step.inputs().iter().filter(|input| input.blobs) {
            match self.states.remove(&input.step) {
                Some(State::Evicted(prepared)) => {
                    self.move_to(&input.step, State::Wanted(prepared));
                }
                // Cut off now, and its files are gone: it has to run after all.
                Some(State::CutOff(fingerprint)) if self.lacks_files(&input.step) => {
                    let Some(maker) = self.graph.get(&input.step).cloned() else { continue };
                    let inputs = plan::gather(&*maker, |id| self.facts.get(id))
                        .unwrap_or_else(|id| panic!("BUG: {id} was cut off without facts"));
                    self.move_to(&input.step, State::Wanted(Prepared { fingerprint, inputs }));
                }
                Some(state) => {
                    self.states.insert(input.step.clone(), state);
                }
                None => {}
            }
        }
    }

    fn lacks_files(&self, id: &StepId) -> bool {
        match (self.graph.get(id), self.facts.get(id)) {
            (Some(step), Some(facts)) => step.class() == Class::Pure && !step.has_blobs(facts),
            _ => false,
        }
    }

    fn hand_out(&mut self, step: &Arc<dyn Step>, ready: &mut Vec<Ready>) {
        let inputs = step.inputs().iter().map(|input| &input.step);
        let turns = self.planned.get(step.id()).map_or(&[][..], |planned| &planned.after);
        let is_ahead = |id: &StepId| {
            matches!(
                self.states.get(id),
                Some(State::Waiting | State::Wanted(_) | State::Running(_))
            )
        };
        if inputs.chain(turns).any(is_ahead) {
            return;
        }
        if let Some(State::Wanted(prepared)) = self.states.remove(step.id()) {
            let Prepared { fingerprint, inputs } = prepared;
            let key = fingerprint.key();
            self.states.insert(step.id().clone(), State::Running(fingerprint.clone()));
            ready.push(Ready { step: Arc::clone(step), key, fingerprint, inputs });
        }
    }

    fn move_to(&mut self, id: &StepId, state: State) {
        self.states.insert(id.clone(), state);
        self.stale.push(id.clone());
        self.stale.extend(self.graph.dependents(id).map(|step| step.id().clone()));
        self.stale.extend(self.followers.get(id).into_iter().flatten().cloned());
    }
}
