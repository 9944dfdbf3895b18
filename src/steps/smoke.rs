//! `smoke:<model>`: whether the instance that stands answers as clients will ask it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use miette::Diagnostic;
use thiserror::Error;

use super::asked::{self, Asking};
use super::{REQUESTS, engine_resource};
use crate::event::Reporter;
use crate::fingerprint::{Fingerprint, Key};
use crate::openai::ApiError;
use crate::spec::{self, Api, Model};
use crate::step::{
    EngineUse, Fact, Facts, Head, Input, Inputs, Observation, Outcome, Step, StepError, StepId,
    Task, Unproven, Wanted,
};
use crate::targets::{TakenBack, Targets, Tried};
use crate::workspace::Workspace;

/// Raise when more is asked of an instance.
const VERSION: u32 = 1;

const DEPLOY_FACTS: &[Fact] = &[Fact::INSTANCE, Fact::URL, Fact::SERVED_NAME];

/// A smoke test of a deployment that failed at a target that takes such back, and what became of that.
#[derive(Debug, Error, Diagnostic)]
pub enum NotPassed {
    /// What had passed before stands again.
    #[error("{cause}; {model} went back to v{version}, which stands as v{stands}")]
    #[diagnostic(
        code(goatbuild::smoke::went_back),
        help(
            "`goatbuild logs {model}` shows what the app said. The next apply tries again what the spec wants"
        )
    )]
    WentBack {
        /// The model.
        model: String,
        /// The number that it was deployed under first.
        version: u32,
        /// The number that it has now.
        stands: u32,
        /// How it failed.
        cause: Box<ApiError>,
    },
    /// What it had replaced was started again.
    #[error("{cause}{outcome}")]
    #[diagnostic(
        code(goatbuild::smoke::restored),
        help(
            "`goatbuild logs {model}` shows what the servers said. The next apply tries again what the spec wants"
        )
    )]
    Restored {
        /// The model.
        model: String,
        /// What came of that.
        outcome: &'static str,
        /// How it failed.
        cause: Box<ApiError>,
    },
    /// Nothing is served any more.
    #[error("{cause}; {model} was stopped, since there is nothing to go back to")]
    #[diagnostic(
        code(goatbuild::smoke::stopped),
        help(
            "`goatbuild logs {model}` shows what the app said. The next apply tries again what the spec wants"
        )
    )]
    Stopped {
        /// The model.
        model: String,
        /// How it failed.
        cause: Box<ApiError>,
    },
    /// It was to be taken back, and could not be.
    #[error("{cause}; {model} stands as it is, since it could not be taken back: {error}")]
    #[diagnostic(
        code(goatbuild::smoke::not_taken_back),
        help(
            "`goatbuild logs {model}` shows what the app said. The next apply tries it out again, and takes it back then; `goatbuild rollback {model}` goes back at once"
        )
    )]
    NotTakenBack {
        /// The model.
        model: String,
        /// Why not.
        error: String,
        /// How it failed.
        cause: Box<ApiError>,
    },
    /// Nobody knows whether it would have answered.
    #[error("{cause}; {model} stands as it is: nobody knows whether it is at fault")]
    #[diagnostic(
        code(goatbuild::smoke::not_reached),
        help(
            "check the network and proxy settings; the next apply tries it out again, and `goatbuild rollback {model}` goes back"
        )
    )]
    NotReached {
        /// The model.
        model: String,
        /// How it failed.
        cause: Box<ApiError>,
    },
}

/// What becomes of a deployment of which nobody can tell whether it passes.
const UNPROVEN: &str = "nothing is taken back, entries in gateways stay as they are, and the next apply asks \
     again; `goatbuild logs {model}` shows what the new version says. `[serve] smoke = \"always\"` has this failed";

impl NotPassed {
    /// Whether what was deployed is deployed no more.
    pub fn is_taken_back(&self) -> bool {
        matches!(self, Self::WentBack { .. } | Self::Restored { .. } | Self::Stopped { .. })
    }
}

/// Describes the smoke test of a deployment with these facts.
fn describe<'a>(value: impl Fn(Fact) -> &'a str) -> Fingerprint {
    let mut fingerprint = Fingerprint::new("smoke", VERSION);
    for fact in DEPLOY_FACTS {
        fingerprint.field(fact, value(*fact));
    }
    fingerprint
}

/// How long a replica may be busy that is asked a few things: the one that was started for it stays for
/// a while.
pub fn asking(model: &Model) -> Duration {
    model.serve.startup_timeout + REQUESTS + model.serve.scaledown_window
}

/// The key of the smoke test of a deployment with these facts.
pub fn smoke_key(facts: &Facts) -> Key {
    describe(|fact| fact.text_of(facts)).key()
}

pub(super) struct Smoke {
    targets: Arc<Targets>,
    head: Head,
    model: Arc<Model>,
    api: Api,
}

impl Smoke {
    pub(super) fn new(workspace: &Workspace, model: &Arc<Model>, deploy: &StepId) -> Self {
        let (targets, api) = (&workspace.targets, workspace.api_of(model));
        let id = StepId::smoke(&model.name);
        let resource = engine_resource(model);
        let head = Head::effect(id, resource, &[model.name.to_string()])
            .taking(vec![Input::facts(deploy.clone(), DEPLOY_FACTS)]);
        let mut busy = asking(model);
        let target = targets.of(model);
        if target.rolling().is_some() && target.has(model.name.as_str()) {
            // What stands is kept up for as long as it is what answers.
            busy += asked::most_for_older(model);
        }
        let engine = EngineUse { starts: false, asks: true, busy };
        let head = Head { engine: Some(engine), ..head };
        Self { targets: Arc::clone(targets), head, model: Arc::clone(model), api }
    }

    fn fact<'a>(&self, inputs: &'a Inputs, fact: Fact) -> &'a str {
        inputs.fact(&self.inputs()[0].step, fact)
    }
}

#[async_trait]
impl Step for Smoke {
    fn head(&self) -> &Head {
        &self.head
    }

    fn describe(&self, inputs: &Inputs) -> Fingerprint {
        describe(|fact| self.fact(inputs, fact))
    }

    fn left_open(&self) -> Option<Key> {
        self.targets.of(&self.model).rolling()?.left_open(self.model.name.as_str())
    }

    fn observe(&self, _: Option<Wanted<'_>>) -> Observation {
        self.targets.of(&self.model).observe_smoke(self.model.name.as_str())
    }

    async fn run(&self, task: &Task) -> Result<Outcome, StepError> {
        let fact = |fact| self.fact(&task.inputs, fact);
        let target = self.targets.of(&self.model);
        let headers = target.headers(&self.model);
        let server = asked::server(target, &self.model, fact(Fact::URL), headers, None).await?;
        let model = self.model.name.as_str();
        let instance = fact(Fact::INSTANCE);
        let rolling = target.rolling();
        let mark = rolling.and_then(|rolling| rolling.mark(model, instance));
        let asking = Asking {
            api: self.api,
            server: &server,
            model: &self.model,
            url: fact(Fact::URL),
            served_name: fact(Fact::SERVED_NAME),
            mark: mark.as_deref(),
            rolling: rolling.map(|rolling| (rolling, instance)),
            starts: target.starts().map(|starts| (starts, Tried::Standing)),
            reporter: &task.reporter,
        };
        let answered = match asking.ask().await {
            Ok(answered) => answered,
            Err(error) => return Err(self.not_passed(error, instance, task).await),
        };
        target.passed_smoke(model, instance, task.key, answered.measured).await?;
        let facts = [Fact::INSTANCE.is(instance)].into();
        Ok(Outcome { facts, evidence: answered.evidence() })
    }
}

impl Smoke {
    /// What it means that nothing passed: it failed, or nobody can tell yet.
    async fn not_passed(&self, error: StepError, instance: &str, task: &Task) -> StepError {
        let target = self.targets.of(&self.model);
        // Elsewhere somebody on the way may have said that.
        let is_open = |cause: &&ApiError| match cause {
            ApiError::Older { .. } => target.rolling().is_some(),
            _ => target.is_here() && asked::is_too_busy(cause),
        };
        let open = error.downcast_ref::<ApiError>().filter(is_open);
        let open = open.filter(|_| self.model.serve.smoke != spec::Smoke::Always);
        let Some(why) = open.map(ToString::to_string) else {
            return self.failed(error, instance, &task.reporter).await;
        };
        let model = self.model.name.as_str();
        if let Some(rolling) = target.rolling()
            && let Err(error) = rolling.leave_open(model, instance, task.key).await
        {
            // The next plan asks for it all the same.
            task.reporter.log(format!("that it is open could not be kept: {error:?}"));
        }
        Unproven { why, help: UNPROVEN.replace("{model}", model) }.into()
    }

    /// Has the target take back what is at fault; gives the error that tells of it.
    async fn failed(&self, error: StepError, instance: &str, reporter: &Reporter) -> StepError {
        let target = self.targets.of(&self.model);
        let (cause, takes_back) = match (error.downcast::<ApiError>(), target.takes_back()) {
            (Ok(cause), Some(takes_back)) => (cause, takes_back),
            (Ok(cause), None) => return cause.into(),
            (Err(other), _) => return other,
        };
        let (model, cause) = match cause {
            // Says itself whose fault it is.
            ApiError::Denied { .. } => return cause.into(),
            cause => (self.model.name.to_string(), Box::new(cause)),
        };
        // On this machine there is nobody on the way.
        let is_at_fault = target.is_here() || cause.is_of_the_server();
        if !is_at_fault && !matches!(*cause, ApiError::Older { .. }) {
            return NotPassed::NotReached { model, cause }.into();
        }
        // Whoever interrupts now waits until it is in order.
        let reporter = reporter.unstoppable();
        match takes_back.take_back(&model, instance, &smoke_key, &reporter).await {
            Ok(TakenBack::WentBack { version, stands }) => {
                NotPassed::WentBack { model, version, stands, cause }
            }
            Ok(TakenBack::Restored { outcome }) => NotPassed::Restored { model, outcome, cause },
            Ok(TakenBack::Stopped) => NotPassed::Stopped { model, cause },
            Ok(TakenBack::Left) => return (*cause).into(),
            Err(error) => {
                reporter.log(format!("{error:?}"));
                NotPassed::NotTakenBack { model, error: error.to_string(), cause }
            }
        }
        .into()
    }
}
