//! What is served on this machine, as it was seen.

use super::answers::Answer;
use super::server::{Life, Running};
use super::state::Served;
use super::{Local, drift};
use crate::plan::Unwanted;
use crate::spec::Auth;
use crate::step::{Fact, Observation, StepId};
use crate::targets::Live;

impl Local {
    /// What serves a model, beside what was to.
    pub(super) fn deployment_seen(&self, model: &str) -> Observation {
        let Some(served) = self.served(model) else { return Observation::Absent };
        let kind = served.instance.as_ref().map_or("process", Running::kind);
        match (served.healthy, self.life(&served)) {
            (true, Life::Runs) => match self.mount_changes(&served) {
                changes if changes.is_empty() => {
                    Observation::Present { key: served.key, facts: served.facts }
                }
                changes => Observation::Drifted { changes },
            },
            (true, Life::Hangs(how)) => drift(kind, "running", how),
            (true, Life::Ended(how)) => drift(kind, "running", &how),
            (false, Life::Runs) if served.left_of_start().is_some() => {
                drift("start", "finished", "going on")
            }
            (false, _) => drift("start", "finished", "not finished"),
        }
    }

    /// Whether what serves a model passed its smoke test.
    pub(super) fn smoke_seen(&self, model: &str) -> Observation {
        let Some(served) = self.served(model) else { return Observation::Absent };
        let instance = Fact::INSTANCE.text_of(&served.facts);
        if served.failed {
            return drift("smoke test", "passed", "failed");
        }
        match (served.smoke, served.tested) {
            (None, _) => Observation::Absent,
            (Some(_), Some(tested)) if tested != instance => drift("instance", &tested, instance),
            (Some(key), _) => {
                let facts = [Fact::INSTANCE.is(instance)].into();
                Observation::Present { key, facts }
            }
        }
    }

    /// All that is served, for people.
    pub(super) fn all_seen(&self) -> Vec<Live> {
        let describe = |(model, served): (&String, &Served)| {
            let life = self.life(served);
            Live {
                model: model.clone(),
                key: Some(served.key),
                state: match (&life, served.healthy, self.answer_of(served)) {
                    (Life::Runs, true, Some(answer)) if is_busy(served, answer) => "busy",
                    (Life::Runs, true, _) => "running",
                    (Life::Runs, false, _) => "starting",
                    (Life::Hangs(_), _, Some(Answer::Nothing)) => "silent",
                    (Life::Hangs(_) | Life::Ended(_), ..) => "stopped",
                },
                url: served.url(),
                pid: match (&served.instance, &life) {
                    (Some(Running::Embedded(_)), Life::Ended(_)) => None,
                    (Some(Running::Embedded(process)), _) => Some(process.pid),
                    _ => None,
                },
                since: served.since.clone(),
                version: None,
                replicas: None,
                auth: served.has_key().then_some(Auth::ApiKey),
                measured: None,
                told: None,
                detail: match (&served.instance, life) {
                    (Some(instance), Life::Runs) => {
                        let mut words = instance.describe();
                        if let Some(answer @ Answer::Status(status)) = self.answer_of(served)
                            && is_busy(served, answer)
                        {
                            words = format!("{words} answers {status} to GET {}", served.health);
                        }
                        self.described_with_changes(served, words)
                    }
                    (Some(instance), Life::Hangs(how)) => {
                        format!("{}: {how}; `goatbuild apply` starts it anew", instance.describe())
                    }
                    (Some(Running::Container(_)), Life::Ended(how)) => {
                        format!("{how}; `goatbuild apply` starts it again")
                    }
                    _ => "`goatbuild apply` starts it again".to_owned(),
                },
            }
        };
        self.seen(|state| state.served.iter().map(describe).collect())
    }

    /// What is served that nobody wants.
    pub(super) fn served_unwanted(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<Unwanted> {
        self.seen(|state| {
            let gone = state.served.iter().filter(|(model, _)| !wanted(model));
            gone.map(|(model, served)| Unwanted {
                id: StepId::deploy(model),
                model: model.clone(),
                detail: format!("{} on this machine, costs nothing per hour", served.url()),
                absent: false,
            })
            .collect()
        })
    }
}

/// Whether a server answers its health path, and does not say that it is up. One that asks for a key may ask
/// there, too, and nobody has it who only looks.
fn is_busy(served: &Served, answer: Answer) -> bool {
    match answer {
        Answer::Status(401 | 403) if served.has_key() => false,
        Answer::Status(status) => status >= 300,
        Answer::Stopped | Answer::Nothing => false,
    }
}
