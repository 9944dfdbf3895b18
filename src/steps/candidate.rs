//! A candidate goes first: what is to be deployed is tried out beside what stands.

use miette::Diagnostic;
use thiserror::Error;

use super::asked::{self, Asking};
use super::deploy::ModelToServe;
use crate::openai::{ApiError, Server};
use crate::step::{Fact, Facts, Outcome, StepError, Task};
use crate::targets::{Deployment, Tried};

/// A candidate did not pass.
#[derive(Debug, Error, Diagnostic)]
#[error("{cause}; the candidate of {model} {end}, and what stands was not touched")]
#[diagnostic(
    code(goatbuild::smoke::candidate),
    help(
        "`goatbuild logs deploy:{model}` ends with what its containers said. The next apply tries again what the spec wants"
    )
)]
pub(super) struct CandidateFailed {
    /// The model.
    model: String,
    /// How it failed.
    cause: Box<ApiError>,
    /// What became of it.
    end: String,
}

/// Deploys a model once its candidate has passed, and ends the candidate whatever comes.
pub(super) async fn first(
    serving: &ModelToServe,
    deployment: &Deployment,
    task: &Task,
) -> Result<Outcome, StepError> {
    let target = serving.target();
    // Where this shell can't ask, nothing is deployed.
    let headers = serving.target().headers(&serving.model);
    let server = asked::server(target, &serving.model, "", headers, None).await?;
    let Some(candidates) = target.candidates() else {
        return target.deploy(deployment, task).await;
    };
    let Some(facts) = candidates.deploy(deployment, task).await? else {
        return target.deploy(deployment, task).await;
    };
    let asked = ask(serving, &server, &facts, deployment.mark.as_deref(), task).await;
    let failed = match &asked {
        Err(error) => error.downcast_ref::<ApiError>().filter(|it| it.is_of_the_server()),
        Ok(()) => None,
    };
    let failed = failed.map(|_| task.key);
    let outcome = match asked {
        Ok(()) => target.deploy(deployment, task).await,
        Err(error) => Err(error),
    };
    // Whoever interrupts now waits until it is in order.
    let reporter = task.reporter.unstoppable();
    let end = match candidates.end(&deployment.model, failed, &reporter).await {
        Ok(()) => "was stopped".to_owned(),
        Err(error) => {
            // The next deployment stops it; what was done is done.
            reporter.log(format!("the candidate could not be stopped: {error:?}"));
            format!("is up, since it could not be stopped ({error})")
        }
    };
    outcome.map_err(|error| told(error, &deployment.model, end))
}

/// Asks a candidate.
async fn ask(
    serving: &ModelToServe,
    server: &Server,
    facts: &Facts,
    mark: Option<&str>,
    task: &Task,
) -> Result<(), StepError> {
    let (url, served_name) = (Fact::URL.text_of(facts), Fact::SERVED_NAME.text_of(facts));
    let asking = Asking {
        api: serving.api,
        server: &server.at(url),
        model: &serving.model,
        url,
        served_name,
        mark,
        // Nothing that it could replace stands.
        rolling: None,
        starts: serving.target().starts().map(|starts| (starts, Tried::Candidate)),
        reporter: &task.reporter,
    };
    let answered = asking.ask().await?;
    for (name, value) in answered.evidence() {
        task.reporter.log(format!("candidate: {name} {value}"));
    }
    Ok(())
}

/// The error of a candidate that did not answer as it should, as what it means.
fn told(error: StepError, model: &str, end: String) -> StepError {
    match error.downcast::<ApiError>() {
        // Says itself whose fault it is.
        Ok(cause @ ApiError::Denied { .. }) => cause.into(),
        Ok(cause) => {
            CandidateFailed { model: model.to_owned(), cause: Box::new(cause), end }.into()
        }
        Err(other) => other,
    }
}
