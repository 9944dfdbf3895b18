//! How deployments are right now.

use std::time::Duration;

use crate::fingerprint::Key;
use crate::spec::Auth;

/// How quickly a deployment answered when it was tried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Until the first answer: a cold start, unless a replica was up.
    pub first_answer: Duration,
    /// Until the first piece of a streamed answer.
    pub first_token: Duration,
}

/// How a deployment is right now, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The model.
    pub model: String,
    /// The key it is marked with.
    pub key: Option<Key>,
    /// `running`, `busy`, `silent`, `stopped` or `starting`; `left`, where nothing but a candidate is up.
    pub state: &'static str,
    /// Where it answers; empty where nobody is led there.
    pub url: String,
    /// Its process on this machine, where it is one.
    pub pid: Option<i32>,
    /// Since when, RFC 3339.
    pub since: String,
    /// The version that stands, where the target counts them.
    pub version: Option<LiveVersion>,
    /// How many replicas are up, where the target counts them.
    pub replicas: Option<u32>,
    /// Who may ask it, where the target knows that.
    pub auth: Option<Auth>,
    /// How quickly it answered in its smoke test, where the target keeps that.
    pub measured: Option<Measured>,
    /// What its replicas told of themselves, where the target knows that.
    pub told: Option<Replicas>,
    /// Anything else worth a line: process, memory, ….
    pub detail: String,
}

/// What the replicas of a deployment told of themselves since it was deployed, or in the last day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replicas {
    /// How many of their starts failed.
    pub failed_starts: usize,
    /// How many engines ended after they had started.
    pub ended: usize,
    /// When the first of those was: RFC 3339.
    pub since: Option<String>,
    /// How the last of those was.
    pub last: Option<String>,
    /// What they ran on, each with what was wrong with that.
    pub devices: Vec<String>,
}

impl Replicas {
    /// How often engines ended, if they did.
    pub fn ends(&self) -> Option<String> {
        let (since, last) = (self.since.as_ref()?, self.last.as_ref()?);
        let count = |count: usize, one: &str, many: &str| {
            (count > 0).then(|| format!("{count} {}", if count == 1 { one } else { many }))
        };
        let starts = count(self.failed_starts, "failed start", "failed starts");
        let later = count(self.ended, "engine that ended later", "engines that ended later");
        let counted: Vec<String> = starts.into_iter().chain(later).collect();
        Some(format!("{} since {since}, last: {last}", counted.join(" and ")))
    }
}

/// The version of a deployment that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveVersion {
    /// The target's number of it.
    pub number: u32,
    /// What it is marked with: its key, if goatbuild deployed it.
    pub tag: String,
    /// Who deployed it.
    pub by: String,
    /// When: RFC 3339.
    pub at: String,
}
