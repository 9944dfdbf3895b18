//! `goatbuild show`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::session::unknown;
use super::{Exit, Global, completions, part, session};
use crate::event::Reporter;
use crate::locking::{self, LockOptions, Scope};
use crate::spec::{self, ModelName, TargetKind};
use crate::steps;
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The model
    #[arg(add = ArgValueCandidates::new(completions::models))]
    model: String,
    /// Print what is started in the image instead: environment variables and command line
    #[arg(long)]
    command: bool,
}

pub(crate) async fn run(global: &Global, arguments: &ShowArgs) -> Result<Exit, Report> {
    if arguments.command {
        return show_command(global, &arguments.model).await;
    }
    let files = session::files(global)?;
    let known: Vec<String> = files
        .sources
        .specs
        .iter()
        .filter_map(|file| file.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .collect();
    let missing = || unknown("model", &arguments.model, known.iter().map(String::as_str));
    let model: ModelName = arguments.model.parse().map_err(|_| missing())?;
    let environment = files.environment.as_ref();
    let values = spec::effective(&files.sources, environment, &model)?.ok_or_else(missing)?;
    ui::print_text(&spec::render_effective(&values));
    Ok(Exit::Done)
}

/// What is started, as far as the lock says: what it leaves open is told.
async fn show_command(global: &Global, name: &str) -> Result<Exit, Report> {
    /// Where the target chooses another.
    const PORT: u16 = 8000;
    let workspace = part::open_part(global, &[name.to_owned()])?.of_model(name)?;
    session::model(&workspace, name)?;
    let model = &workspace.project.models[name];
    let scope = Scope::of_models(&workspace, &[name.to_owned()]);
    let options = LockOptions { locked: true, lenient: true, scope, ..LockOptions::default() };
    locking::settle(&workspace, &options, &Reporter::silent()).await?;
    let started = steps::foreseen(&workspace, model, &Reporter::silent())?;
    for source in model.sources().filter_map(|source| source.hub()) {
        if workspace.commit(source).is_none() {
            ui::note(&format!("hf:{source} is not locked: a commit will stand for it"));
        }
    }
    let host = match model.target {
        TargetKind::Local => "127.0.0.1",
        TargetKind::Modal => "0.0.0.0",
    };
    let port = model.serve.port.as_ref().map_or(PORT, |port| port.value);
    let command = (started.command)(model.serve.served_names.first(), host, port);
    ui::print_text(&ui::command_text(&started.environment, &command));
    Ok(Exit::Done)
}
