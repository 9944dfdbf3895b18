//! A deployment, asked as clients will ask it.

use std::time::{Duration, Instant};

use crate::event::{Cancelled, Reporter};
use crate::openai::{Credentials, Server};
use crate::spec::{Header, Model};
use crate::step::{Evidence, StepError};
use crate::targets::Measured;

/// How often an interruption is looked for.
const GLANCE: Duration = Duration::from_millis(100);

/// What asking came to.
pub(super) struct Answered {
    pub(super) measured: Measured,
    /// How many pieces a streamed answer had.
    pieces: usize,
}

impl Answered {
    /// Seconds until the first answer, milliseconds until the first token, and pieces.
    pub(super) fn evidence(&self) -> Evidence {
        let Measured { first_answer, first_token } = self.measured;
        [
            ("first-token-ms", first_token.as_millis().to_string()),
            ("pieces", self.pieces.to_string()),
            ("first-answer-seconds", format!("{:.1}", first_answer.as_secs_f64())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// A client for a deployment that wants these headers; fails where this shell has not what they hold.
pub fn server(model: &Model, url: &str, headers: Vec<Header>) -> Result<Server, StepError> {
    let (name, serve) = (model.name.as_str(), &model.serve);
    let patience = serve.timeout.min(Duration::from_secs(600));
    if model.target.is_here() {
        return Ok(Server::local(url, name, patience)?);
    }
    let credentials = Credentials::of_environment(name, headers)?;
    // The first request starts a replica.
    Ok(Server::remote(url, name, patience + serve.startup_timeout, credentials)?)
}

/// Asks for the models, for a chat and for a streamed one, until somebody interrupts.
pub(super) async fn ask(
    server: &Server,
    model: &Model,
    url: &str,
    served_name: &str,
    reporter: &Reporter,
) -> Result<Answered, StepError> {
    tokio::select! {
        answered = questions(server, model, url, served_name, reporter) => answered,
        stopped = interrupted(reporter) => Err(stopped.into()),
    }
}

async fn interrupted(reporter: &Reporter) -> Cancelled {
    loop {
        if let Err(cancelled) = reporter.check() {
            return cancelled;
        }
        tokio::time::sleep(GLANCE).await;
    }
}

async fn questions(
    server: &Server,
    model: &Model,
    url: &str,
    served_name: &str,
    reporter: &Reporter,
) -> Result<Answered, StepError> {
    reporter.message("GET /v1/models");
    let began = Instant::now();
    let listed = server.models().await?;
    let first_answer = began.elapsed();
    let is_listed = |name| listed.iter().any(|id| id == name);
    let are_listed = is_listed(served_name) && model.serve.served_names.iter().all(is_listed);
    if model.engine.kind.lists_served_name() && !are_listed {
        let (url, listed) = (format!("{url}/models"), listed.join(", "));
        return Err(server.unexpected(&url, "a list with the served name", &listed).into());
    }
    reporter.message("a chat completion");
    let answer = server.chat(served_name).await?;
    reporter.log(format!("chat: {answer:?}"));
    reporter.message("a streamed chat completion");
    let streamed = server.stream(served_name).await?;
    for adapter in &model.adapters {
        let name = &adapter.value;
        reporter.message(format!("a chat completion of {name}"));
        let answer = server.chat(name).await?;
        reporter.log(format!("chat of {name}: {answer:?}"));
    }
    let measured = Measured { first_answer, first_token: streamed.first };
    Ok(Answered { measured, pieces: streamed.pieces })
}
