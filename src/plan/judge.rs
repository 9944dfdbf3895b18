//! One step whose inputs are known: does it stand, or does it have to run, and why.

use super::{Memory, Reason, ReasonKind, Wishes};
use crate::fingerprint::{Change, Fingerprint, Key};
use crate::step::{Adoptable, Class, Facts, Inputs, Observation, Step, Wanted};

/// What a step with known inputs has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stands, with these facts.
    Fresh(Facts),
    /// It is left as it is, with these facts, whatever its key is; the note says why.
    Held {
        /// Its facts.
        facts: Facts,
        /// For people.
        note: String,
    },
    /// It has to run.
    Run(Vec<Reason>),
    /// Nobody could look whether it stands, so it is neither certain to run nor fresh.
    Unknown(Vec<Reason>),
    /// Somebody else's thing is in its place.
    Conflict(Vec<Reason>),
}

/// Judges a step whose declared inputs are all known: its key, what to do, and whether its
/// resource was looked at.
pub fn judge(
    step: &dyn Step,
    fingerprint: &Fingerprint,
    inputs: &Inputs,
    memory: &dyn Memory,
    wishes: &Wishes,
) -> (Key, Verdict, bool) {
    let key = &fingerprint.key();
    let remembered = memory.applied(step.id());
    // What an earlier version remembers under another key may be the same all the same.
    let is_same = |known: &Key| {
        let applied = remembered.as_ref().filter(|applied| applied.key() == *known);
        known == key || applied.is_some_and(|it| step.as_described_now(it).key() == *key)
    };
    let changes = |known: Option<&Key>| -> Vec<Reason> {
        // The resource itself knows best what it stands for; what was remembered may be older.
        let own = known.and_then(|known| Some((known, step.applied(inputs)?)));
        let own = own.filter(|(known, own)| own.key() == **known).map(|(_, own)| own);
        let applied = own.or_else(|| remembered.clone());
        let applied = applied.map(|applied| step.as_described_now(&applied));
        let since = applied.map(|applied| fingerprint.changes_since(&applied));
        let reason = |change| Reason::change(ReasonKind::Changed, change);
        since.into_iter().flatten().map(reason).collect()
    };
    let because = |first: ReasonKind, known: Option<&Key>| {
        let mut reasons = changes(known);
        if reasons.is_empty() {
            reasons.push(match known {
                Some(known) if known != key => Reason::change(
                    ReasonKind::Changed,
                    Change {
                        field: "key".to_owned(),
                        old: Some(known.to_string()),
                        new: Some(key.to_string()),
                    },
                ),
                _ => Reason::plain(first),
            });
        }
        reasons
    };
    let seen = observation(step, Some(Wanted { key, inputs }), wishes);
    if let Some(Observation::Held { facts, note }) = seen {
        return (*key, Verdict::Held { facts, note }, true);
    }
    let observed = !matches!(seen, Some(Observation::Unobserved(_)));
    let mut verdict = match seen {
        None => match memory.record(step.id(), key) {
            Some(facts) => Verdict::Fresh(facts),
            None => Verdict::Run(because(ReasonKind::First, None)),
        },
        Some(Observation::Unobserved(Some(why))) => {
            let mut reasons = changes(None);
            reasons.push(Reason::about(ReasonKind::Unobserved, why));
            Verdict::Unknown(reasons)
        }
        Some(Observation::Unobserved(None)) => match memory.row(step.id()) {
            Some(row) if is_same(&row.key) => Verdict::Fresh(row.facts),
            row => Verdict::Run(because(ReasonKind::First, row.map(|row| row.key).as_ref())),
        },
        Some(Observation::Present { key: marked, facts }) if marked == *key => {
            Verdict::Fresh(facts)
        }
        Some(Observation::Present { key: marked, .. }) => {
            Verdict::Run(because(ReasonKind::Changed, Some(&marked)))
        }
        // What was there stood for other inputs: that those changed says more than that it is gone.
        Some(Observation::Absent)
            if memory.row(step.id()).is_some_and(|row| !is_same(&row.key)) =>
        {
            let known = memory.row(step.id()).map(|row| row.key);
            Verdict::Run(because(ReasonKind::Changed, known.as_ref()))
        }
        Some(seen) => certain(step, &seen, memory, wishes)
            .unwrap_or_else(|| panic!("BUG: {} was seen and not judged", step.id())),
    };
    if wishes.replace.contains(step.id()) && !matches!(verdict, Verdict::Conflict(_)) {
        verdict = Verdict::Run(vec![Reason::plain(ReasonKind::Replaced)]);
    }
    if let Verdict::Run(reasons) | Verdict::Unknown(reasons) = &mut verdict
        && [memory.failed(step.id()), step.failed()].contains(&Some(*key))
    {
        reasons.push(Reason::plain(ReasonKind::FailedBefore));
    }
    if let Verdict::Run(reasons) | Verdict::Unknown(reasons) = &mut verdict
        && step.left_open() == Some(*key)
    {
        reasons.push(Reason::plain(ReasonKind::Unproven));
    }
    (*key, verdict, observed)
}

/// Judges a step of which an input is unknown, and so its key: what to do, and whether its resource
/// was looked at.
pub(super) fn judge_early(
    step: &dyn Step,
    unknown: Reason,
    memory: &dyn Memory,
    wishes: &Wishes,
) -> (Verdict, bool) {
    let seen = observation(step, None, wishes);
    if let Some(Observation::Held { facts, note }) = seen {
        return (Verdict::Held { facts, note }, true);
    }
    let observed = !matches!(seen, Some(Observation::Unobserved(_)));
    let mut verdict = seen.as_ref().and_then(|seen| certain(step, seen, memory, wishes));
    if wishes.replace.contains(step.id()) && !matches!(verdict, Some(Verdict::Conflict(_))) {
        verdict = Some(Verdict::Run(vec![Reason::plain(ReasonKind::Replaced)]));
    }
    let mut verdict = verdict.unwrap_or_else(|| Verdict::Unknown(Vec::new()));
    if let Verdict::Run(reasons) | Verdict::Unknown(reasons) = &mut verdict {
        reasons.push(unknown);
        if let Some(Observation::Unobserved(Some(why))) = seen {
            reasons.push(Reason::about(ReasonKind::Unobserved, why));
        }
    }
    (verdict, observed)
}

fn observation(
    step: &dyn Step,
    wanted: Option<Wanted<'_>>,
    wishes: &Wishes,
) -> Option<Observation> {
    match step.class() {
        Class::Pure => None,
        Class::Effect if wishes.no_refresh => Some(Observation::Unobserved(None)),
        Class::Effect => Some(step.observe(wanted)),
    }
}

/// What can be said of an effect step whatever its key is.
fn certain(
    step: &dyn Step,
    seen: &Observation,
    memory: &dyn Memory,
    wishes: &Wishes,
) -> Option<Verdict> {
    match seen {
        Observation::Absent => Some(Verdict::Run(vec![match memory.row(step.id()) {
            Some(_) => Reason {
                old: Some("present".to_owned()),
                new: Some("gone".to_owned()),
                ..Reason::about(ReasonKind::Drift, step.head().kind.word())
            },
            None => Reason::plain(ReasonKind::First),
        }])),
        Observation::Drifted { changes } => Some(Verdict::Run(
            changes
                .iter()
                .map(|change| Reason::change(ReasonKind::Drift, change.clone()))
                .collect(),
        )),
        Observation::Foreign { owner, adoptable, ours, differs } => {
            let because = |kind| {
                let first = match adoptable {
                    Adoptable::Once(what) => Some(Reason::about(ReasonKind::Before, what)),
                    Adoptable::Yes | Adoptable::No => None,
                };
                let changes =
                    differs.iter().map(|it| Reason::change(it.concerns.into(), it.change.clone()));
                std::iter::once(Reason::about(kind, owner)).chain(first).chain(changes).collect()
            };
            Some(if *adoptable == Adoptable::Yes && wishes.adopts(step) {
                Verdict::Run(because(ReasonKind::Adopted))
            } else if *ours {
                Verdict::Conflict(because(ReasonKind::OtherEnvironment))
            } else {
                Verdict::Conflict(because(ReasonKind::Foreign))
            })
        }
        Observation::Unobserved(_) | Observation::Present { .. } | Observation::Held { .. } => None,
    }
}
