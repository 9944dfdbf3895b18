//! What an apply did, step by step.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::Traffic;
use crate::fingerprint::Key;
use crate::step::{Facts, StepError, StepId};

/// A step that failed.
#[derive(Debug)]
pub struct FailedStep {
    /// The step.
    pub id: StepId,
    /// Why.
    pub error: StepError,
}

/// What an apply did.
#[derive(Debug, Default)]
pub struct Report {
    /// Steps that ran to their end, in the order they ended, with the time each took.
    pub ran: Vec<(StepId, Duration)>,
    /// Pending steps whose inputs turned out to be the same.
    pub cut_off: Vec<StepId>,
    /// Steps that failed.
    pub failed: Vec<FailedStep>,
    /// Steps that were left open: nobody can tell yet whether they did what they had to.
    pub unproven: Vec<FailedStep>,
    /// Steps that wait until one of those is known.
    pub waiting: Vec<StepId>,
    /// Steps that did not run because an input failed, because one failed that they go after, or because
    /// the apply was asked to stop.
    pub blocked: Vec<StepId>,
    /// Of the blocked, those whose turn did not come, and the step that failed or was left open before it.
    pub turns: BTreeMap<StepId, StepId>,
    /// Whether it was asked to stop.
    pub interrupted: bool,
    /// The facts of every step that stands.
    pub facts: BTreeMap<StepId, Facts>,
    /// Keys and facts of the pure steps that ran.
    pub built: Vec<(StepId, Key, Facts)>,
    /// What the steps that ran had to say about how.
    pub evidence: BTreeMap<StepId, Facts>,
    /// What all steps together moved.
    pub traffic: Traffic,
}
