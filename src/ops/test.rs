//! What is deployed, asked as its clients would ask it.

use std::time::{Duration, Instant};

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::Frontend;
use super::open::{self, Site};
use crate::fingerprint::Key;
use crate::openai::ApiError;
use crate::served::Tried;
use crate::spec::Api;
use crate::step::{Fact, Facts, Observation};
use crate::steps;
use crate::words::count;

/// There is nothing to ask.
#[derive(Debug, Error, Diagnostic)]
#[error("{model} can't be tested: {why}")]
#[diagnostic(
    code(goatbuild::test::not_deployed),
    help("`goatbuild status` shows what is deployed, `goatbuild apply {model}` deploys it")
)]
pub(super) struct NotDeployed {
    model: String,
    why: String,
}

/// How long a call to a server on this machine may take where nobody says it: one that hangs is told soon.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks a deployment as its clients would; `tell` hears of each call as it is answered. Each may take
/// `patience`, or as long as is usual there.
pub async fn test(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
    patience: Option<Duration>,
    tell: &mut dyn FnMut(Tried<'_>),
) -> Result<(), Report> {
    let (workspace, model) = open::model(site, frontend, name)?;
    let model = &*model;
    workspace.look().await?;
    let facts = facts(name, workspace.targets.of(model).observe_deployment(name))?;
    let (url, id) = (Fact::URL.text_of(&facts), Fact::SERVED_NAME.text_of(&facts));
    let target = workspace.targets.of(model);
    let headers = target.headers_of_deployed(model);
    let patience = patience.or_else(|| model.target.is_here().then_some(PATIENCE));
    let server = steps::server(target, model, url, headers, patience).await?;
    tell(Tried::Begins { model: name, url, patience: server.patience() });
    let answered = |call, began: Instant, detail: String| Tried::Answered {
        call,
        took: began.elapsed(),
        detail,
    };

    let began = Instant::now();
    let listed = told(tell, "models", server.models().await)?;
    if model.engine.kind.lists_served_name() && !listed.iter().any(|it| it == id) {
        let (url, listed) = (format!("{url}/models"), listed.join(", "));
        let error = server.unexpected(&url, "a list with the served name", &listed);
        return Ok(told(tell, "models", Err(error))?);
    }
    // A deployment's own mark is nothing that anybody asks by.
    let names = listed.into_iter().filter(|name| name.parse::<Key>().is_err());
    tell(answered("models", began, names.collect::<Vec<_>>().join(", ")));

    let api = workspace.api_of(model);
    let began = Instant::now();
    let answer = told(tell, api.word(), server.answer(api, id).await)?;
    tell(answered(api.word(), began, answer));

    for adapter in &model.adapters {
        let began = Instant::now();
        let answer = told(tell, "adapter", server.answer(api, &adapter.value).await)?;
        tell(answered("adapter", began, format!("{}: {answer}", adapter.value)));
    }

    if api == Api::Chat {
        let began = Instant::now();
        let streamed = told(tell, "stream", server.stream(id).await)?;
        let detail = format!(
            "the first of {} after {} ms",
            count(streamed.pieces, "piece"),
            streamed.first.as_millis()
        );
        tell(answered("stream", began, detail));
    }

    if api == Api::Chat && model.engine.kind.calls_tools(model) {
        let began = Instant::now();
        let called = told(tell, "tool", server.call_tool(id).await)?;
        let detail = match called {
            Some(name) => format!("called {name}"),
            None => "answered, and called none".to_owned(),
        };
        tell(answered("tool", began, detail));
    }
    tell(Tried::Ends);
    Ok(())
}

/// What a call came to, told at once where it failed; the error is told by whoever ends the command.
fn told<T>(
    tell: &mut dyn FnMut(Tried<'_>),
    call: &'static str,
    answer: Result<T, ApiError>,
) -> Result<T, ApiError> {
    answer.inspect_err(|_| tell(Tried::Failed { call }))
}

/// What is known of a deployment that stands.
pub(super) fn facts(model: &str, seen: Observation) -> Result<Facts, NotDeployed> {
    let why = match seen {
        Observation::Present { facts, .. } | Observation::Held { facts, .. } => return Ok(facts),
        Observation::Unobserved(why) => why.unwrap_or_else(|| "nobody looked".to_owned()),
        Observation::Absent => "it is not deployed".to_owned(),
        Observation::Drifted { changes } => match changes.first() {
            Some(change) => format!(
                "it is not as it was deployed: {} is {}",
                change.field,
                change.new.as_deref().unwrap_or("gone")
            ),
            None => "it is not as it was deployed".to_owned(),
        },
        Observation::Foreign { owner, .. } => format!("{owner} is in its place"),
    };
    Err(NotDeployed { model: model.to_owned(), why })
}
