//! A plan as a file, so that what was reviewed is what is applied, or nothing is.
//!
//! It binds to what it was made of, by content: project and environment, the lock, every step with
//! its edges and described fields, and what was seen of the world. Never to a host, a path or a
//! cache: a pure step whose files another machine lacks is made again there, to the same digest.

mod moved;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Action, Memory, Plan, PlannedStep, Reason, ReasonKind, gather};
use crate::fingerprint::{Change, Fingerprint, Key};
use crate::graph::Graph;
use crate::step::{Class, Edge, Facts, Input, Observation, Step, StepId, Wanted};

pub use moved::Moved;

/// How a file begins that this version wrote.
const HEAD: &str = "{\n  \"goatbuild_plan\": ";

/// The format that this version reads and writes.
const VERSION: u32 = 1;

/// Why a file can't be applied as a plan.
#[derive(Debug, Error, Diagnostic)]
pub enum PlanFileError {
    /// It is not JSON, or ends too early.
    #[error("{path} can't be read as a saved plan: {message}")]
    #[diagnostic(
        code(goatbuild::plan_file::syntax),
        help("it may have been cut short: save it again with `goatbuild plan -o {path}`")
    )]
    Syntax {
        /// The file.
        path: String,
        /// What is wrong, and where.
        message: String,
    },
    /// It is something else.
    #[error("{path} is no saved plan")]
    #[diagnostic(
        code(goatbuild::plan_file::other),
        help(
            "`goatbuild plan -o NAME.plan` saves one; what `plan --json` prints is for programs to read"
        )
    )]
    Other {
        /// The file.
        path: String,
    },
    /// Another version of goatbuild wrote it.
    #[error("{path} has format {found}; this goatbuild knows {VERSION}")]
    #[diagnostic(
        code(goatbuild::plan_file::version),
        help("apply it with the goatbuild that saved it, or save it again with this one")
    )]
    Version {
        /// The file.
        path: String,
        /// Its format.
        found: String,
    },
    /// Its digest is not that of its content.
    #[error("{path} was edited after it was saved")]
    #[diagnostic(
        code(goatbuild::plan_file::edited),
        help("a plan is applied as it was made: edit the specs, and save it again")
    )]
    Edited {
        /// The file.
        path: String,
    },
}

/// What a plan was asked to cover, in the words of the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Only these models; all without any.
    pub models: Vec<String>,
    /// Only these steps and what they need.
    pub only: Vec<String>,
    /// Steps to run even if they are fresh.
    pub replace: Vec<String>,
    /// Models whose foreign resources are taken over.
    pub adopt: Vec<String>,
    /// Unwanted deployments are removed too.
    pub prune: bool,
    /// The world was not looked at.
    pub no_refresh: bool,
}

/// A plan with all that it was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    /// The project's committed id.
    pub project: String,
    /// The environment; none for the default one.
    pub environment: Option<String>,
    /// What it covers.
    pub request: Request,
    /// Digests of what no step describes: lock files, the gateway's reload command.
    pub bound: BTreeMap<String, String>,
    /// Pure steps that are fresh, and are made again where a cache lacks their files.
    pub rebuilt_if_missing: Vec<StepId>,
    /// Every step, inputs first; removals last.
    pub steps: Vec<SavedStep>,
}

/// One step of a saved plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedStep {
    /// The step.
    pub id: StepId,
    /// What happens to it.
    pub action: Action,
    /// None while an input's facts are not known.
    pub key: Option<Key>,
    /// Why it runs.
    pub reasons: Vec<Reason>,
    /// Its inputs, and what it takes of each; and what its turn comes after.
    pub inputs: Vec<String>,
    /// What its key is made of; none while an input's facts are not known.
    pub fields: Option<Fingerprint>,
    /// What was known of its outcome.
    pub facts: Facts,
    /// What was seen of its resource. Effect steps only.
    pub seen: Option<Seen>,
}

/// What the world held of a step's resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Seen {
    /// Nothing.
    Absent,
    /// What a step with this key left, as it left it.
    Present {
        /// The key it is marked with.
        key: Key,
        /// Its facts.
        facts: Facts,
    },
    /// Ours, and changed since.
    Drifted(Vec<Change>),
    /// Ours, and left as it is.
    Held {
        /// Its facts.
        facts: Facts,
        /// By whom, and since when.
        note: String,
    },
    /// Somebody else's.
    Foreign(String),
    /// It was not looked at: the last run's row with this key decides.
    Unobserved(Option<Key>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<P> {
    goatbuild_plan: u32,
    /// BLAKE3 of `plan` as compact JSON.
    digest: String,
    plan: P,
}

impl SavedPlan {
    /// Keeps a plan with what it was made of. `bound` are digests of what no step describes.
    pub fn new(
        project: &str,
        environment: Option<&str>,
        request: Request,
        bound: BTreeMap<String, String>,
        graph: &Graph,
        plan: &Plan,
        memory: &dyn Memory,
    ) -> Self {
        let known: HashMap<&StepId, &Facts> =
            plan.steps.iter().map(|step| (&step.id, &step.facts)).collect();
        let keep = |planned: &PlannedStep| {
            let step = graph.get(&planned.id);
            let inputs = step.and_then(|step| gather(&**step, |id| known.get(id).copied()).ok());
            let fields = step.zip(inputs.as_ref()).map(|(step, inputs)| step.describe(inputs));
            let key = fields.as_ref().map(Fingerprint::key);
            let wanted = key.as_ref().zip(inputs.as_ref());
            let wanted = wanted.map(|(key, inputs)| Wanted { key, inputs });
            let seen = step.and_then(|step| seen(&**step, wanted, memory, request.no_refresh));
            SavedStep {
                id: planned.id.clone(),
                action: planned.action,
                key: planned.key,
                reasons: planned.reasons.clone(),
                inputs: step.map(|step| takes(step.inputs(), &planned.after)).unwrap_or_default(),
                fields: fields.as_ref().map(Fingerprint::shown),
                facts: planned.facts.clone(),
                seen,
            }
        };
        Self {
            project: project.to_owned(),
            environment: environment.map(str::to_owned),
            rebuilt_if_missing: rebuilt(graph, plan),
            steps: plan.steps.iter().map(keep).collect(),
            request,
            bound,
        }
    }

    /// The text of the file: the same for the same plan.
    pub fn render(&self) -> String {
        let document = Document { goatbuild_plan: VERSION, digest: self.digest(), plan: self };
        let mut text = serde_json::to_string_pretty(&document)
            .unwrap_or_else(|error| panic!("BUG: a plan is not JSON: {error}"));
        text.push('\n');
        text
    }

    fn digest(&self) -> String {
        let bytes = serde_json::to_vec(self)
            .unwrap_or_else(|error| panic!("BUG: a plan is not JSON: {error}"));
        blake3::hash(&bytes).to_hex().to_string()
    }

    /// Whether a text begins like a saved plan, be it whole or not.
    pub fn begins(head: &str) -> bool {
        let key = head.strip_prefix('{').map(str::trim_start);
        key.is_some_and(|key| key.starts_with("\"goatbuild_plan\""))
    }

    /// Reads the bytes of a file. `path` is for errors.
    pub fn parse(path: &str, bytes: &[u8]) -> Result<Self, PlanFileError> {
        let path = || path.to_owned();
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| {
            let head = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]);
            if bytes.is_empty() || Self::begins(&head) || HEAD.starts_with(&*head) {
                PlanFileError::Syntax { path: path(), message: error.to_string() }
            } else {
                PlanFileError::Other { path: path() }
            }
        })?;
        match value.get("goatbuild_plan") {
            None => return Err(PlanFileError::Other { path: path() }),
            Some(version) if *version != VERSION => {
                return Err(PlanFileError::Version { path: path(), found: version.to_string() });
            }
            Some(_) => {}
        }
        let document: Document<Self> =
            serde_json::from_value(value).map_err(|_| PlanFileError::Edited { path: path() })?;
        if document.digest == document.plan.digest() {
            Ok(document.plan)
        } else {
            Err(PlanFileError::Edited { path: path() })
        }
    }

    /// Whether all that this plan would do is done, as `now` shows.
    pub fn is_done(&self, now: &Self) -> bool {
        let now: HashMap<&StepId, &SavedStep> =
            now.steps.iter().map(|step| (&step.id, step)).collect();
        let mut certain = self.steps.iter().filter(|step| step.certain() == Action::Run).peekable();
        certain.peek().is_some()
            && certain.all(|step| {
                now.get(&step.id).is_some_and(|now| {
                    now.certain() == Action::Fresh && (step.key.is_none() || step.key == now.key)
                })
            })
    }
}

/// What was seen of an effect step's resource. Rows count only where nothing was seen.
fn seen(
    step: &dyn Step,
    wanted: Option<Wanted<'_>>,
    memory: &dyn Memory,
    no_refresh: bool,
) -> Option<Seen> {
    if step.class() == Class::Pure {
        return None;
    }
    let decides = wanted.is_some();
    let row = || Seen::Unobserved(memory.row(step.id()).filter(|_| decides).map(|row| row.key));
    if no_refresh {
        return Some(row());
    }
    Some(match step.observe(wanted) {
        // Its row does not decide: it is never called fresh.
        Observation::Unobserved(Some(_)) => Seen::Unobserved(None),
        Observation::Unobserved(None) => row(),
        Observation::Absent => Seen::Absent,
        Observation::Present { key, facts } => Seen::Present { key, facts },
        Observation::Drifted { changes } => Seen::Drifted(changes),
        Observation::Held { facts, note } => Seen::Held { facts, note },
        Observation::Foreign { owner, .. } => Seen::Foreign(owner),
    })
}

/// The edges of a step as text.
fn takes(inputs: &[Input], after: &[StepId]) -> Vec<String> {
    let take = |input: &Input| match input.edge {
        Edge::Consumes(facts) => {
            let names: Vec<&str> = facts.iter().map(|fact| fact.name()).collect();
            format!("{} ({})", input.step, names.join(", "))
        }
        Edge::Order => format!("{} (order)", input.step),
        Edge::Gate => format!("{} (gate)", input.step),
    };
    let turns = after.iter().map(|step| format!("{step} (turn)"));
    inputs.iter().map(take).chain(turns).collect()
}

/// The fresh pure steps whose files something that runs may need, directly or not.
fn rebuilt(graph: &Graph, plan: &Plan) -> Vec<StepId> {
    let fresh = |step: &PlannedStep| {
        step.action == Action::Fresh
            || step.reasons.iter().any(|reason| reason.kind == ReasonKind::Evicted)
    };
    let planned: HashMap<&StepId, &PlannedStep> =
        plan.steps.iter().map(|step| (&step.id, step)).collect();
    let mut needed: BTreeSet<StepId> = plan
        .steps
        .iter()
        .filter(|step| matches!(step.action, Action::Run | Action::Pending))
        .map(|step| step.id.clone())
        .collect();
    let mut rebuilt = BTreeSet::new();
    for step in graph.in_order().collect::<Vec<_>>().into_iter().rev() {
        if !needed.contains(step.id()) {
            continue;
        }
        for input in step.inputs().iter().filter(|input| input.blobs) {
            needed.insert(input.step.clone());
        }
        let pure = step.class() == Class::Pure;
        if pure && planned.get(step.id()).is_some_and(|planned| fresh(planned)) {
            rebuilt.insert(step.id().clone());
        }
    }
    plan.steps.iter().map(|step| &step.id).filter(|id| rebuilt.contains(id)).cloned().collect()
}

#[cfg(test)]
mod tests;
