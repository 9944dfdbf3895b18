//! What is served, as commands find it: endpoints that answer, deployments beside their specs, and
//! what a deployment answers when it is tried out.

use std::time::Duration;

use crate::fingerprint::Key;
use crate::spec::{Api, Auth, Header};
use crate::targets::{Live, Measured, Spent};

/// A model that answers, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The model.
    pub model: String,
    /// What it is asked for.
    pub api: Api,
    /// Where it answers: the base of an OpenAI-compatible API.
    pub url: String,
    /// The headers that requests have to have.
    pub headers: Vec<Header>,
    /// What requests call it.
    pub served_name: String,
    /// The gateway's name for it and the gateway's file, when it has an entry there.
    pub alias: Option<(String, String)>,
    /// How quickly it answered in its smoke test, where its target keeps that.
    pub measured: Option<Measured>,
}

/// A deployment beside what its spec wants.
#[derive(Debug, Clone)]
pub struct StatusRow {
    /// How it is.
    pub live: Live,
    /// The gateway's name for it, when its spec has one.
    pub alias: Option<String>,
    /// The key that the spec gives, when it is known.
    pub wanted: Option<Key>,
    /// Who may ask it, as the spec has it; none where the target has no such thing.
    pub auth: Option<Auth>,
    /// What stands around it.
    pub parts: Parts,
    /// How the two compare.
    pub verdict: Verdict,
}

/// What stands around a deployment, beside what its spec wants; none where nobody knows, or there
/// is to be nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parts {
    /// Its weights, as they are locked.
    pub weights: Option<Part>,
    /// Its compile caches.
    pub warmup: Option<Part>,
    /// Its entry in the gateway.
    pub gateway: Option<Part>,
}

/// Whether something is as it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// It is.
    AsWanted,
    /// Something else is there.
    Drifted,
    /// It is not there.
    Missing,
}

/// How a deployment compares with its spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It serves what the spec wants, and passed its smoke test if it has one.
    AsSpecified,
    /// It serves what the spec wants; the smoke test has not passed.
    Untested,
    /// The same, and its smoke test could not tell: something older answered.
    Unproven,
    /// Its start has not come to an end.
    Starting,
    /// It served what the spec wants, and ended or was stopped.
    Stopped,
    /// It is up as the spec wants it, and answers nothing.
    Silent,
    /// The spec wants something else.
    Differs,
    /// Whatever the spec wants, it is left as it is.
    Held,
    /// Its spec says that it is to go.
    Leaving,
    /// No spec wants it.
    Unwanted,
    /// It can't be compared: specs or lock can't be read.
    Unknown,
    /// Something of somebody else is in its place.
    InTheWay,
    /// It is not there.
    Absent,
    /// Its place was not looked at.
    Unobserved,
}

impl StatusRow {
    /// A model whose place was not looked at, and why.
    pub fn unobserved(model: &str, why: String) -> Self {
        let absent = Self::absent(model);
        let live = Live { state: "unknown", detail: why, ..absent.live };
        Self { live, verdict: Verdict::Unobserved, ..absent }
    }

    /// A model in the place of which there is something of somebody else.
    pub fn foreign(model: &str, owner: String) -> Self {
        let absent = Self::absent(model);
        let live = Live { detail: owner, ..absent.live };
        Self { live, verdict: Verdict::InTheWay, ..absent }
    }

    /// A model that is not served anywhere.
    pub fn absent(model: &str) -> Self {
        let live = Live {
            model: model.to_owned(),
            key: None,
            state: "absent",
            url: String::new(),
            pid: None,
            since: String::new(),
            version: None,
            replicas: None,
            auth: None,
            measured: None,
            told: None,
            detail: String::new(),
        };
        Self {
            live,
            alias: None,
            wanted: None,
            auth: None,
            parts: Parts::default(),
            verdict: Verdict::Absent,
        }
    }
}

/// What was spent today, beside what may be.
#[derive(Debug, Clone)]
pub struct Spending {
    /// What may be, in dollars.
    pub budget: f64,
    /// What was, by target.
    pub spent: Vec<Spent>,
}

impl Spending {
    /// What it comes to, in dollars.
    pub fn usd(&self) -> f64 {
        // The sum of nothing is -0 otherwise.
        self.spent.iter().map(|spent| spent.usd).fold(0.0, |sum, usd| sum + usd)
    }

    /// Whether something is up whose price nobody knows, so that it may be more.
    pub fn is_at_least(&self) -> bool {
        self.spent.iter().flat_map(|spent| &spent.running).any(|it| it.usd_per_hour.is_none())
    }

    /// Whether it is more than may be.
    pub fn is_over(&self) -> bool {
        self.usd() > self.budget
    }
}

/// What happens while a deployment is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried<'a> {
    /// It is about to be.
    Begins {
        /// The model.
        model: &'a str,
        /// Where it answers.
        url: &'a str,
        /// How long each call may take.
        patience: Duration,
    },
    /// A call came to what it should.
    Answered {
        /// What was asked.
        call: &'static str,
        /// How long it took.
        took: Duration,
        /// What was answered.
        detail: String,
    },
    /// A call came to something else.
    Failed {
        /// What was asked.
        call: &'static str,
    },
    /// All of them were answered.
    Ends,
}
