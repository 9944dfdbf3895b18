//! What is no longer as it was when a plan was saved, down to the field.

use std::collections::{BTreeSet, HashMap};

use super::{SavedPlan, SavedStep, Seen};
use crate::fingerprint::{Change, Key};
use crate::plan::{Action, ReasonKind};
use crate::step::{Facts, StepId};

impl SavedPlan {
    /// What differs between this plan and the one that would be made now, in the plan's order.
    pub fn moved(&self, now: &Self) -> Vec<Moved> {
        let mut moved = Vec::new();
        let names: BTreeSet<&String> = self.bound.keys().chain(now.bound.keys()).collect();
        for name in names {
            if self.bound.get(name) != now.bound.get(name) {
                moved.push(Moved::Part { name: name.clone() });
            }
        }
        let before: HashMap<&StepId, &SavedStep> =
            self.steps.iter().map(|step| (&step.id, step)).collect();
        let after: HashMap<&StepId, &SavedStep> =
            now.steps.iter().map(|step| (&step.id, step)).collect();
        for step in &self.steps {
            match after.get(&step.id) {
                Some(now) => step.moved(now, &mut moved),
                None => moved.push(Moved::Gone { step: step.id.clone() }),
            }
        }
        let new = now.steps.iter().filter(|step| !before.contains_key(&step.id));
        moved.extend(new.map(|step| Moved::New { step: step.id.clone(), action: step.action }));
        moved
    }
}

/// One thing that is no longer as it was when a plan was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// A lock file, or the gateway's reload command.
    Part {
        /// Which one.
        name: String,
    },
    /// A step that was planned is none any more.
    Gone {
        /// The step.
        step: StepId,
    },
    /// A step that was not there.
    New {
        /// The step.
        step: StepId,
        /// What would happen to it.
        action: Action,
    },
    /// A field, or what was seen or known, differs.
    Field {
        /// The step.
        step: StepId,
        /// Which, and how.
        change: Change,
    },
}

impl std::fmt::Display for Moved {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Part { name } => write!(formatter, "{name} is not what it was"),
            Self::Gone { step } => write!(formatter, "{step} is no step any more"),
            Self::New { step, action } => write!(formatter, "{step} is new, to {}", action.word()),
            Self::Field { step, change: Change { field, old, new } } => {
                let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
                write!(formatter, "{step}: {field}: {} → {}", text(old), text(new))
            }
        }
    }
}

impl SavedStep {
    /// The action, whatever this machine's cache holds.
    pub(super) fn certain(&self) -> Action {
        if self.reasons.iter().any(|reason| reason.kind == ReasonKind::Evicted) {
            Action::Fresh
        } else {
            self.action
        }
    }

    fn moved(&self, now: &Self, moved: &mut Vec<Moved>) {
        let told = moved.len();
        let mut field = |change| moved.push(Moved::Field { step: self.id.clone(), change });
        let change = |field: &str, old: Option<String>, new: Option<String>| Change {
            field: field.to_owned(),
            old,
            new,
        };
        if let (Some(then), Some(now)) = (&self.fields, &now.fields) {
            now.changes_since(then).into_iter().for_each(&mut field);
        }
        if self.inputs != now.inputs {
            let (then, now) = (self.inputs.join(", "), now.inputs.join(", "));
            field(change("inputs", Some(then), Some(now)));
        }
        match (&self.seen, &now.seen) {
            (then, now) if then == now => {}
            (_, Some(Seen::Drifted(changes))) => changes.iter().cloned().for_each(&mut field),
            (
                Some(Seen::Present { key: then, facts }),
                Some(Seen::Present { key: now, facts: found }),
            ) if then == now => differing(facts, found).into_iter().for_each(&mut field),
            (then, now) => {
                let words = |seen: &Option<Seen>| seen.as_ref().map(Seen::words);
                field(change("found", words(then), words(now)));
            }
        }
        if self.action == Action::Remove && now.action == Action::Remove {
            let detail = |step: &Self| step.reasons.iter().find_map(|reason| reason.field.clone());
            if detail(self) != detail(now) {
                field(change("found", detail(self), detail(now)));
            }
        }
        if moved.len() > told {
            return;
        }
        let mut field = |change| moved.push(Moved::Field { step: self.id.clone(), change });
        if self.certain() == now.certain() {
            differing(&self.facts, &now.facts).into_iter().for_each(&mut field);
        } else {
            let word = |step: &Self| Some(step.certain().word().to_owned());
            field(change("action", word(self), word(now)));
        }
        if self.key != now.key && moved.len() == told {
            let text = |key: Option<Key>| key.map(|key| key.to_string());
            let change = change("key", text(self.key), text(now.key));
            moved.push(Moved::Field { step: self.id.clone(), change });
        }
    }
}

impl Seen {
    fn words(&self) -> String {
        match self {
            Self::Absent => "nothing".to_owned(),
            Self::Present { key, .. } => key.to_string(),
            Self::Drifted(changes) => {
                let word = |change: &Change| {
                    let text = |value: &Option<String>| value.clone().unwrap_or_default();
                    format!("{} {} → {}", change.field, text(&change.old), text(&change.new))
                };
                changes.iter().map(word).collect::<Vec<_>>().join(", ")
            }
            Self::Held { note, .. } => note.clone(),
            Self::Foreign(owner) => format!("in the way: {owner}"),
            Self::Unobserved(Some(row)) => format!("{row}, as of the last run"),
            Self::Unobserved(None) => "nothing, as of the last run".to_owned(),
        }
    }
}

fn differing(then: &Facts, now: &Facts) -> Vec<Change> {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let differ = names.into_iter().filter(|name| then.get(*name) != now.get(*name));
    let change = |name: &String| Change {
        field: name.clone(),
        old: then.get(name).cloned(),
        new: now.get(name).cloned(),
    };
    differ.map(change).collect()
}
