//! What would run and why: a value made of the graph, what is remembered, and what was seen.
//!
//! `run` ⊆ what an apply runs ⊆ `run` ∪ `pending`.

mod judge;
mod planned_model;
mod reason;
pub mod saved;
mod turns;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fingerprint::{Fingerprint, Key};
use crate::graph::Graph;
use crate::step::{
    At, Class, Edge, EngineUse, Facts, Head, Inputs, Removal, Step, StepId, StepKind,
};

use judge::judge_early;
pub use judge::{Verdict, judge};
pub use planned_model::{AlwaysOn, PlannedModel, UsdPerHour, UsdPerMonth};
pub use reason::{Action, Reason, ReasonKind};

/// What was remembered of earlier runs.
pub trait Memory {
    /// The outcome of a pure step, by key: from the cache or from the lock.
    fn record(&self, step: &StepId, key: &Key) -> Option<Facts>;
    /// The last outcome of an effect step.
    fn row(&self, step: &StepId) -> Option<Row>;
    /// What the step's inputs were when it was last applied.
    fn applied(&self, step: &StepId) -> Option<Fingerprint>;
    /// The key that the step's last attempt failed with, when it failed.
    fn failed(&self, step: &StepId) -> Option<Key>;
}

/// What an effect step made when it last ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key it ran with.
    pub key: Key,
    /// What it made.
    pub facts: Facts,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedStep {
    /// The step.
    pub id: StepId,
    /// Which kind of step it is.
    pub kind: StepKind,
    /// Where what it makes is.
    #[serde(skip)]
    pub at: At,
    /// What it does with an engine, if anything.
    #[serde(skip)]
    pub engine: Option<EngineUse>,
    /// How long its target runs a function without accelerators for it, at most.
    #[serde(skip)]
    pub errand: Duration,
    /// The models that need it.
    pub models: Vec<String>,
    /// What happens to it.
    pub action: Action,
    /// False when its resource could not be looked at.
    pub observed: bool,
    /// None while an input's facts are not known.
    pub key: Option<Key>,
    /// Why; empty when fresh.
    pub reasons: Vec<Reason>,
    /// The steps it takes something from.
    pub inputs: Vec<StepId>,
    /// Steps that it goes after beside its inputs: one change reaches models that are up in turn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepId>,
    /// What else people should know of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why it is left as it is, whatever its spec wants; only ever with [`Action::Fresh`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// What is known of its outcome before the apply.
    #[serde(skip)]
    pub facts: Facts,
}

impl PlannedStep {
    /// Whether it runs again since it was left open what came of it.
    pub fn is_left_open(&self) -> bool {
        self.reasons.iter().any(|reason| reason.kind == ReasonKind::Unproven)
    }
}

/// How many steps have which action.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Certain to run.
    pub run: usize,
    /// May run.
    pub pending: usize,
    /// Nothing to do.
    pub fresh: usize,
    /// Ours, and unwanted; without what is kept.
    pub remove: usize,
    /// In the way.
    pub conflict: usize,
}

/// A resource of this project that no spec wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwanted {
    /// The id its step had.
    pub id: StepId,
    /// The model it was made for.
    pub model: String,
    /// Where it is and what it costs, for people.
    pub detail: String,
    /// Whether a spec says that it is to go, and not only none that it is to be there.
    pub absent: bool,
}

/// What the user asked for besides the specs.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Steps to run even if they are fresh.
    pub replace: BTreeSet<StepId>,
    /// Steps that were named: what they make has to be there, whether anything needs it or not.
    pub only: BTreeSet<StepId>,
    /// Images are wanted for themselves: their files have to be there.
    pub images: bool,
    /// Models whose foreign resources are taken over.
    pub adopt: BTreeSet<String>,
    /// Trust the rows instead of looking at the world.
    pub no_refresh: bool,
    /// Remove unwanted deployments too.
    pub prune: bool,
}

impl Wishes {
    /// Whether the user agreed to take over what is in the step's way.
    pub fn adopts(&self, step: &dyn Step) -> bool {
        step.models().iter().any(|model| self.adopt.contains(model))
    }
}

/// An action for every step, inputs first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In an order in which they could run one by one; removals last.
    pub steps: Vec<PlannedStep>,
    /// Whether deployments to remove are removed, and not only told of.
    pub prune: bool,
    /// Where the planned models are served, and for how much.
    pub models: Vec<PlannedModel>,
    /// What will run, and perhaps not as it was meant.
    pub warnings: Vec<Warning>,
}

/// Something odd about a model, that is no mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The model.
    pub model: String,
    /// What is odd.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// Collects the declared facts of a step's inputs, or names the first input that lacks one: the
/// step itself, when it is not locked.
pub fn gather<'a>(
    step: &dyn Step,
    known: impl Fn(&StepId) -> Option<&'a Facts>,
) -> Result<Inputs, StepId> {
    if step.unlocked().is_some() {
        return Err(step.id().clone());
    }
    let mut inputs = Inputs::default();
    for input in step.inputs() {
        let Edge::Consumes(wanted) = input.edge else { continue };
        let all = known(&input.step);
        for fact in wanted {
            let value = all.and_then(|facts| fact.of(facts));
            inputs.insert(&input.step, *fact, value.ok_or_else(|| input.step.clone())?);
        }
    }
    Ok(inputs)
}

/// Makes the plan.
pub fn plan(graph: &Graph, memory: &dyn Memory, unwanted: &[Unwanted], wishes: &Wishes) -> Plan {
    let mut steps: Vec<PlannedStep> = Vec::with_capacity(graph.len() + unwanted.len());
    let mut places: HashMap<StepId, usize> = HashMap::with_capacity(graph.len());
    for step in graph.in_order() {
        let planned = plan_step(&**step, memory, wishes, |id| {
            places.get(id).map(|place| &steps[*place].facts)
        });
        places.insert(step.id().clone(), steps.len());
        steps.push(planned);
    }
    evict(graph, &mut steps, &places, wishes);
    steps.extend(unwanted.iter().map(plan_removal));
    Plan { steps, prune: wishes.prune, models: Vec::new(), warnings: Vec::new() }
}

fn plan_removal(unwanted: &Unwanted) -> PlannedStep {
    let Unwanted { id, model, detail, absent } = unwanted;
    let kind = id.kind().unwrap_or_else(|| panic!("BUG: {id} is no step's"));
    let why = if *absent { ReasonKind::Absent } else { ReasonKind::Unwanted };
    PlannedStep {
        id: id.clone(),
        kind,
        at: if kind.removal() == Removal::Deployment { At::Target } else { At::Here },
        engine: None,
        errand: Duration::ZERO,
        models: vec![model.clone()],
        action: Action::Remove,
        observed: true,
        key: None,
        reasons: vec![Reason::about(why, detail)],
        inputs: Vec::new(),
        after: Vec::new(),
        note: None,
        held: None,
        facts: Facts::new(),
    }
}

fn plan_step<'a>(
    step: &dyn Step,
    memory: &dyn Memory,
    wishes: &Wishes,
    known: impl Fn(&StepId) -> Option<&'a Facts>,
) -> PlannedStep {
    let (key, verdict, observed) = match inputs(step, known) {
        Ok(inputs) => {
            let fingerprint = step.describe(&inputs);
            let (key, verdict, observed) = judge(step, &fingerprint, &inputs, memory, wishes);
            (Some(key), verdict, observed)
        }
        Err(unknown) => {
            let (verdict, observed) = judge_early(step, unknown, memory, wishes);
            (None, verdict, observed)
        }
    };
    let held = match &verdict {
        Verdict::Held { note, .. } => Some(note.clone()),
        _ => None,
    };
    let (action, reasons, facts) = match verdict {
        Verdict::Fresh(facts) | Verdict::Held { facts, .. } => (Action::Fresh, Vec::new(), facts),
        Verdict::Run(reasons) => (Action::Run, reasons, step.predict()),
        Verdict::Unknown(reasons) => (Action::Pending, reasons, step.predict()),
        Verdict::Conflict(reasons) => (Action::Conflict, reasons, step.predict()),
    };
    // What is not locked yet will make something that the lock does not know.
    let facts = if step.unlocked().is_some() && held.is_none() { Facts::new() } else { facts };
    let &Head { kind, at, engine, errand, note, .. } = step.head();
    PlannedStep {
        id: step.id().clone(),
        kind,
        at,
        engine,
        errand,
        models: step.models().to_vec(),
        action,
        observed,
        key,
        reasons,
        inputs: step.inputs().iter().map(|input| input.step.clone()).collect(),
        after: Vec::new(),
        note: note.map(str::to_owned),
        held,
        facts,
    }
}

/// The declared facts of a step's inputs, or why they are not known yet.
fn inputs<'a>(
    step: &dyn Step,
    known: impl Fn(&StepId) -> Option<&'a Facts>,
) -> Result<Inputs, Reason> {
    gather(step, known).map_err(|input| match step.unlocked() {
        Some(what) => Reason::about(ReasonKind::Unlocked, what),
        None => Reason::about(ReasonKind::Input, input.as_str()),
    })
}

/// Turns fresh pure steps whose files are gone, but needed by something that runs, to `run`
/// (needed for certain) or `pending` (needed perhaps). Goes from the end to the start, since what
/// has to be made again needs its own inputs.
fn evict(
    graph: &Graph,
    steps: &mut [PlannedStep],
    places: &HashMap<StepId, usize>,
    wishes: &Wishes,
) {
    for (place, step) in graph.in_order().enumerate().rev() {
        let named = &mut steps[place];
        let is_named = wishes.only.contains(step.id());
        if (is_named || wishes.images && named.kind.makes_image())
            && named.action == Action::Fresh
            && step.class() == Class::Pure
            && !step.has_blobs(&named.facts)
        {
            named.action = Action::Run;
            let by = if is_named { "--only" } else { "the project" };
            named.reasons = vec![Reason::about(ReasonKind::Evicted, by)];
        }
        let needed = steps[place].action;
        if !matches!(needed, Action::Run | Action::Pending) {
            continue;
        }
        for input in step.inputs().iter().filter(|input| input.blobs) {
            let maker = &mut steps[places[&input.step]];
            let Some(made_by) = graph.get(&input.step) else { continue };
            let evicted = match maker.action {
                Action::Fresh => !made_by.has_blobs(&maker.facts),
                // Perhaps needed so far; now for certain.
                Action::Pending => maker.reasons.iter().any(|it| it.kind == ReasonKind::Evicted),
                _ => false,
            };
            if evicted {
                maker.action = needed;
                maker.reasons = vec![Reason::about(ReasonKind::Evicted, step.id().as_str())];
            }
        }
    }
}

impl Plan {
    /// Whether the step is an unwanted deployment that an apply keeps, since nobody asked to prune
    /// and no spec says that it is to go.
    pub fn keeps(&self, step: &PlannedStep) -> bool {
        let asked = || step.reasons.iter().any(|reason| reason.kind == ReasonKind::Absent);
        step.action == Action::Remove && step.kind.serves() && !self.prune && !asked()
    }

    /// Counts the actions. What is kept is none.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for step in self.steps.iter().filter(|step| !self.keeps(step)) {
            match step.action {
                Action::Run => summary.run += 1,
                Action::Pending => summary.pending += 1,
                Action::Fresh => summary.fresh += 1,
                Action::Remove => summary.remove += 1,
                Action::Conflict => summary.conflict += 1,
            }
        }
        summary
    }

    /// Whether an apply would find nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.action == Action::Fresh || self.keeps(step))
    }

    /// The step of this id.
    pub fn get(&self, id: &StepId) -> Option<&PlannedStep> {
        self.steps.iter().find(|step| step.id == *id)
    }

    /// What is not in the lock, for each model that needs it.
    fn unlocked(&self) -> impl Iterator<Item = Warning> {
        let unlocked = self.steps.iter().flat_map(|step| {
            let unlocked = step.reasons.iter().filter(|it| it.kind == ReasonKind::Unlocked);
            unlocked.flat_map(|reason| step.models.iter().map(move |model| (model, reason)))
        });
        unlocked.map(|(model, reason)| Warning {
            model: model.clone(),
            message: format!("{} is not locked", reason.field.as_deref().unwrap_or_default()),
            help: "`goatbuild lock` does it where the hub can be reached".to_owned(),
        })
    }

    /// The documented JSON object, format version 1, on one line.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            format_version: u32,
            models: &'a [PlannedModel],
            usd_per_hour: UsdPerHour,
            steps: &'a [PlannedStep],
            summary: Summary,
            warnings: Vec<Warning>,
        }
        let (models, steps) = (&self.models, &self.steps);
        let warnings = self.warnings.iter().cloned().chain(self.unlocked()).collect();
        let usd_per_hour = models.iter().filter_map(|model| model.usd_per_hour).sum();
        let summary = self.summary();
        let document =
            Document { format_version: 1, models, usd_per_hour, steps, summary, warnings };
        serde_json::to_string(&document)
            .unwrap_or_else(|error| panic!("BUG: a plan is not JSON: {error}"))
    }
}

#[cfg(test)]
mod tests;
