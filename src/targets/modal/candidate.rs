//! Candidates: what is to be deployed, tried out as an app of its own first.
//!
//! One that an apply left which was killed is told by its name and its mark, and stopped by whoever
//! deploys or destroys the model next.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::address::Address;
use super::app::Program;
use super::error::in_deployment;
use super::kept::{Failed, Kept};
use super::look::Version;
use super::serve::{Recorded, understood};
use super::spec::CANDIDATE;
use super::{Modal, ModalError};
use crate::clock::now;
use crate::event::Reporter;
use crate::fingerprint::Key;
use crate::step::{Fact, Facts, StepError, Task};
use crate::targets::{Candidates, Deployment};

/// How many of its last lines are kept in a step's log.
const LINES: usize = 100;

/// How long they may take to come.
const LAST_WORDS: Duration = Duration::from_secs(20);

#[async_trait]
impl Candidates for Modal {
    /// The same program under another name, and no replica that nobody asks for.
    async fn deploy(
        &self,
        deployment: &Deployment,
        task: &Task,
    ) -> Result<Option<Facts>, StepError> {
        self.settle_account(&task.reporter).await?;
        let model = &deployment.model;
        self.refuse_held(model)?;
        // An apply was cut off after it was deployed, and so after it was tried out.
        if self.is_deployed(model, &task.key) {
            return Ok(None);
        }
        let app = self.candidate(model);
        let there = self.seen_by_name(&app).filter(|seen| seen.deployed);
        if let Some(there) = &there
            && (!self.is_marked(there) || self.is_a_model(&app))
        {
            let newest = there.history.first().map(Version::describe).unwrap_or_default();
            return Err(ModalError::CandidateTaken { app, newest }.into());
        }
        let (about, mut data) = self.serving(deployment);
        data["app"] = app.as_str().into();
        if data.get("label").is_some() {
            // The model's own would lead those who ask for it to the candidate.
            data["label"] = Address::name_of(&app).into();
        }
        (data["min_containers"], data["buffer_containers"]) = (Value::Null, Value::Null);
        let directory = self.programs.join(model).join("candidate");
        let request = json!({
            "app": app,
            "file": Program::Serve.write(&directory, &about, &data)?,
            "tag": task.key,
            "replaces": there.and_then(|there| Some(there.history.first()?.tag.clone())),
            // Nobody asks it but whoever tries it out: what was left there makes way at once.
            "strategy": "recreate",
        });
        task.reporter.message(format!("deploying {app}, to try it out"));
        let answer = self.client.call(&app, "deploy", request, &task.reporter).await;
        let recorded: Recorded = match answer.and_then(understood) {
            Ok(recorded) => recorded,
            Err(error) => {
                // It may be up all the same, unless somebody else's is.
                if !matches!(error.downcast_ref(), Some(ModalError::Moved { .. }))
                    && let Err(why) = self.stop(&app, &task.reporter.unstoppable()).await
                {
                    task.reporter.notice(format!("{app} may be up, and was not stopped: {why}"));
                }
                return Err(in_deployment(error, model));
            }
        };
        let served_name = Fact::SERVED_NAME.is(&deployment.served_name);
        Ok(Some([Fact::URL.is(recorded.base_url()), served_name].into()))
    }

    async fn end(
        &self,
        model: &str,
        failed: Option<Key>,
        reporter: &Reporter,
    ) -> Result<(), StepError> {
        let app = self.candidate(model);
        let Some(key) = failed else { return self.stop(&app, reporter).await };
        let remark = Failed { key, at: now() };
        let change = |kept: &mut Kept| drop(kept.failed.insert(model.to_owned(), remark));
        // Nothing of this keeps it from being stopped.
        if let Err(error) = self.keep(change, reporter).await {
            reporter.log(format!("that it failed could not be kept: {error:?}"));
        }
        let stopped = self.stop(&app, reporter).await;
        self.keep_last_words(&app, reporter).await;
        stopped
    }

    fn left(&self, model: &str) -> Option<String> {
        let left = self.candidates_left();
        left.into_iter().find_map(|(of, app)| (of == model).then_some(app))
    }
}

impl Modal {
    /// The name of the app that tries a model out.
    pub(super) fn candidate(&self, model: &str) -> String {
        format!("{}{CANDIDATE}", self.app(model))
    }

    /// Whether an app is that of a model.
    fn is_a_model(&self, app: &str) -> bool {
        self.specs.keys().any(|model| self.app(model) == app)
            || self.kept(|kept| kept.deployments.values().any(|deployed| deployed.app == app))
    }

    /// The candidates that are up, of which model, and the apps: none is while nothing is at work.
    ///
    /// A model that nothing is known of any more goes by the name of its app.
    pub(super) fn candidates_left(&self) -> Vec<(String, String)> {
        let up = self.seen_apps(|name, app| {
            name.ends_with(CANDIDATE)
                && app.deployed
                && self.is_marked(app)
                && !self.is_a_model(name)
        });
        let model_of = |app: &str| {
            let own = app.strip_suffix(CANDIDATE).unwrap_or(app);
            let kept = self.kept(|kept| {
                let mut kept = kept.deployments.iter();
                kept.find_map(|(model, deployed)| (deployed.app == own).then(|| model.clone()))
            });
            let named = own.strip_prefix(&self.app_prefix).filter(|name| !name.is_empty());
            kept.unwrap_or_else(|| named.unwrap_or(own).to_owned())
        };
        up.into_iter().map(|app| (model_of(&app), app)).collect()
    }

    /// Stops the candidate that an apply left, if there is one.
    pub(super) async fn stop_left(
        &self,
        model: &str,
        reporter: &Reporter,
    ) -> Result<(), StepError> {
        match self.left(model) {
            Some(app) => self.stop(&app, reporter).await,
            None => Ok(()),
        }
    }

    pub(super) async fn stop(&self, app: &str, reporter: &Reporter) -> Result<(), StepError> {
        reporter.message(format!("stopping {app}"));
        self.client.call(app, "stop", json!({"app": app}), reporter).await.map(drop)
    }

    /// Puts the last lines of an app's containers into the log, as far as they can be had.
    async fn keep_last_words(&self, app: &str, reporter: &Reporter) {
        let said = std::sync::Mutex::new(Vec::new());
        let keep = |bytes: &[u8]| {
            said.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend_from_slice(bytes);
        };
        let request = json!({"app": app, "lines": LINES, "follow": false});
        let printed = self.client.print(app, "logs", request, &keep, std::future::pending::<()>());
        match tokio::time::timeout(LAST_WORDS, printed).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                reporter.log(format!("what its containers said can't be had: {error}"));
            }
            Err(_) => reporter.log("what its containers said did not come in time"),
        }
        let said = said.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        String::from_utf8_lossy(&said).lines().for_each(|line| reporter.log(line));
    }
}
