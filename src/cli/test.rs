//! `goatbuild test`: what is deployed, asked as its clients would ask it.

use std::time::{Duration, Instant};

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::{Exit, Global, completions, part, session};
use crate::engines::engine;
use crate::openai::{Credentials, Server};
use crate::spec::{Model, TargetKind, Value};
use crate::step::{Facts, Observation};
use crate::ui;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The model
    #[arg(add = ArgValueCandidates::new(completions::models))]
    model: String,
    /// Print one JSON object per call
    #[arg(long)]
    pub(crate) json: bool,
}

/// There is nothing to ask.
#[derive(Debug, Error, Diagnostic)]
#[error("{model} can't be tested: {why}")]
#[diagnostic(
    code(goatbuild::test::not_deployed),
    help("`goatbuild status` shows what is deployed, `goatbuild apply {model}` deploys it")
)]
struct NotDeployed {
    model: String,
    why: String,
}

pub(crate) async fn run(global: &Global, arguments: &TestArgs) -> Result<Exit, Report> {
    let name = arguments.model.as_str();
    let asked = [name.to_owned()];
    let workspace = part::open_part(global, &asked)?.of_model(name)?;
    session::model(&workspace, name)?;
    let model = &workspace.project.models[name];
    workspace.look().await?;
    let facts = facts(name, workspace.targets.of(model).observe_deployment(name))?;
    let fact = |name: &str| facts.get(name).map_or("", String::as_str);
    let (url, id) = (fact("url"), fact("served-name"));
    let server = server(&workspace, model, url)?;
    let mut tried = ui::Tried::begin(name, url, arguments.json);

    let began = Instant::now();
    let listed = server.models().await.map_err(|error| tried.failed("models", error))?;
    if engine(model.engine.name).lists_served_name() && !listed.iter().any(|it| it == id) {
        let (url, listed) = (format!("{url}/models"), listed.join(", "));
        let error = server.unexpected(&url, "a list with the served name", &listed);
        return Err(tried.failed("models", error).into());
    }
    tried.answered("models", began.elapsed(), &listed.join(", "));

    let began = Instant::now();
    let answer = server.chat(id).await.map_err(|error| tried.failed("chat", error))?;
    tried.answered("chat", began.elapsed(), &format!("{answer:?}"));

    let began = Instant::now();
    let streamed = server.stream(id).await.map_err(|error| tried.failed("stream", error))?;
    let detail = format!(
        "the first of {} after {} ms",
        ui::count(streamed.pieces, "piece"),
        streamed.first.as_millis()
    );
    tried.answered("stream", began.elapsed(), &detail);

    if calls_tools(model) {
        let began = Instant::now();
        let called = server.call_tool(id).await.map_err(|error| tried.failed("tool", error))?;
        let detail = match called {
            Some(name) => format!("called {name}"),
            None => "answered, and called none".to_owned(),
        };
        tried.answered("tool", began.elapsed(), &detail);
    }
    tried.finish();
    Ok(Exit::Done)
}

/// What is known of a deployment that stands.
fn facts(model: &str, seen: Observation) -> Result<Facts, NotDeployed> {
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

fn server(workspace: &Workspace, model: &Model, url: &str) -> Result<Server, Report> {
    let name = model.name.as_str();
    let patience = model.serve.timeout.min(Duration::from_secs(600));
    match model.target {
        TargetKind::Local => Ok(Server::local(url, name, patience)?),
        // The first request starts a replica.
        TargetKind::Modal => {
            let headers = workspace.targets.of(model).headers_of_deployed(model);
            let credentials = Credentials::of_environment(name, headers)?;
            let patience = patience + model.serve.startup_timeout;
            Ok(Server::remote(url, name, patience, credentials)?)
        }
    }
}

/// Whether the spec says how tool calls are read out of what the model writes.
fn calls_tools(model: &Model) -> bool {
    /// vLLM's flag.
    const PARSER: &str = "tool-call-parser";
    let flag = model.engine.flags.get(PARSER);
    let words = model.engine.command.iter().flat_map(|command| &command.command);
    flag.is_some_and(|flag| matches!(&flag.value, Value::String(_)))
        || words.filter_map(|word| word.strip_prefix("--")).any(|word| {
            word.strip_prefix(PARSER).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
}
