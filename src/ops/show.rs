//! What a model's spec comes to: its values, and what is started.

use std::collections::BTreeMap;

use miette::Report;

use super::Frontend;
use super::open::{self, Files, Site};
use crate::event::Reporter;
use crate::locking::{self, Scope};
use crate::spec::{self, Effective, ModelName, Origin, unknown};
use crate::steps;
use crate::workspace::LockCell;

/// Every effective value of a model, as text, and where it came from.
pub fn values(files: &Files, name: &str) -> Result<String, Report> {
    let known: Vec<String> = files
        .sources
        .specs
        .iter()
        .filter_map(|file| file.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .collect();
    let missing = || unknown("model", name, known.iter().map(String::as_str));
    let model: ModelName = name.parse().map_err(|_| missing())?;
    let environment = files.environment.as_ref();
    let mut values = spec::effective(&files.sources, environment, &model)?.ok_or_else(missing)?;
    // A lock with mistakes is for the commands that need one.
    if let Ok(lock) = LockCell::open(&files.root, files.sources.kinds.engines) {
        for value in &mut values {
            take_price(value, &lock);
        }
    }
    Ok(spec::render_effective(&values))
}

/// Takes what the lock says of a price that files say nothing of.
fn take_price(value: &mut Effective, lock: &LockCell) {
    if value.origin != Origin::BuiltIn {
        return;
    }
    let Some(field) = value.field.strip_prefix("project:") else { return };
    let gpu = field.strip_prefix("gpu.").and_then(|rest| rest.strip_suffix(".usd-per-hour"));
    let price = lock.read(|lock| {
        lock.prices.iter().find_map(|(target, prices)| match gpu {
            Some(gpu) => prices.gpu.get(gpu.trim_matches('"')).copied(),
            None if field == format!("target.{target}.prices.cpu") => prices.cpu,
            None if field == format!("target.{target}.prices.memory") => prices.memory,
            None => None,
        })
    });
    if let Some(price) = price {
        (value.value, value.origin) = (price.to_string(), Origin::Lock);
    }
}

/// What is started to serve a model.
#[derive(Debug)]
pub struct Started {
    /// Environment variables; what is secret is hidden.
    pub environment: BTreeMap<String, String>,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// What is started in the image, as far as the lock says: what it leaves open is told.
pub async fn command(site: &Site, frontend: &dyn Frontend, name: &str) -> Result<Started, Report> {
    /// Where the target chooses another.
    const PORT: u16 = 8000;
    let (workspace, model) = open::model(site, frontend, name)?;
    let scope = Scope::of_models(&workspace, &[name.to_owned()]);
    locking::settle_as_it_is(&workspace, scope).await?;
    let started = steps::foreseen(&workspace, &model, &Reporter::silent())?;
    for source in model.sources().filter_map(|source| source.hub()) {
        if workspace.lock.commit(source).is_none() {
            frontend.note(&format!("hf:{source} is not locked: a commit will stand for it"));
        }
    }
    let host = if model.target.is_here() { "127.0.0.1" } else { "0.0.0.0" };
    if model.engine.kind.takes_several_names() && workspace.targets.of(&model).rolling().is_some() {
        frontend.note("a deployment answers to its key, too: that is the last of the served names");
    }
    let port = model.serve.port.as_ref().map_or(PORT, |port| port.value);
    let command = (started.command)(model.serve.served_names.first(), host, port, None);
    let mut environment = started.environment;
    for (name, value) in &mut environment {
        if spec::is_telling(name) {
            spec::HIDDEN.clone_into(value);
        }
    }
    let secrets = model.secret_env.keys();
    environment.extend(secrets.map(|name| (name.clone(), spec::HIDDEN.to_owned())));
    Ok(Started { environment, command })
}
