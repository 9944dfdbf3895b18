//! `goatbuild render`.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::{Exit, Global, completions, part, pushed, session};
use crate::event::Reporter;
use crate::locking::{self, LockOptions, Scope};
use crate::spec::TargetKind;
use crate::step::StepId;
use crate::steps;
use crate::ui;
use crate::workspace;

#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// The model, served on Modal
    #[arg(add = ArgValueCandidates::new(completions::models))]
    model: String,
    /// Write the programs below DIR instead: plain `modal deploy` runs them, in any workspace
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Why there is nothing to print.
#[derive(Debug, Error, Diagnostic)]
enum RenderError {
    #[error("{model} is served on this machine, without a program of goatbuild's")]
    #[diagnostic(
        code(goatbuild::usage::not_on_modal),
        help("`goatbuild show {model} --command` prints what is started")
    )]
    Local { model: String },
    #[error("{} is there, and goatbuild did not write it", path.display())]
    #[diagnostic(
        code(goatbuild::usage::not_ours),
        help("choose another directory, or move the file away")
    )]
    NotOurs { path: PathBuf },
    #[error("hf:{weights} is not locked, and the programs name its commit")]
    #[diagnostic(
        code(goatbuild::lock::out_of_date),
        help("`goatbuild lock` asks the hub which commit that is")
    )]
    Unlocked { weights: String },
}

/// What every program of ours has in its first lines.
const OURS: &str = "Written by goatbuild; edit the project's specs instead.";

pub(crate) async fn run(global: &Global, arguments: &RenderArgs) -> Result<Exit, Report> {
    let name = arguments.model.as_str();
    let asked = [name.to_owned()];
    let workspace = part::open_part(global, &asked)?.of_model(name)?;
    session::model(&workspace, name)?;
    let model = &workspace.project.models[name];
    if model.target != TargetKind::Modal {
        return Err(RenderError::Local { model: name.to_owned() }.into());
    }
    let scope = Scope::of_models(&workspace, &[name.to_owned()]);
    let options = LockOptions { locked: true, lenient: true, scope, ..LockOptions::default() };
    locking::settle(&workspace, &options, &Reporter::silent()).await?;
    let sources = model.sources().filter_map(|source| source.hub());
    if let Some(source) = sources.into_iter().find(|it| workspace.commit(it).is_none()) {
        return Err(RenderError::Unlocked { weights: source.to_string() }.into());
    }
    let anywhere = arguments.out.is_some();
    if !anywhere {
        workspace.look().await?;
    }
    let images = steps::images(&workspace)?;
    let (_, plan) = pushed::foreseen(&images, &session::remember(&workspace)?);
    let made = |id: &StepId| plan.get(id).map(|step| step.facts.clone());
    let programs = steps::programs(&workspace, model, anywhere, &made, &Reporter::silent())?;
    match &arguments.out {
        None => {
            let texts: Vec<&str> = programs.iter().map(|(_, text)| text.as_str()).collect();
            ui::print_text(texts.first().copied().unwrap_or_default());
        }
        Some(directory) => {
            for (path, text) in programs {
                write(&directory.join(path), &text)?;
            }
            ui::note(&format!(
                "`modal deploy --env {} --name {} {}` deploys it, once its weights are in the volume",
                workspace.targets.modal().environment(),
                workspace.targets.of(model).plan_model(model).app.unwrap_or_default(),
                directory.join(name).join("serve.py").display(),
            ));
        }
    }
    Ok(Exit::Done)
}

/// Writes over nothing but what was rendered before.
fn write(path: &Path, text: &str) -> Result<(), Report> {
    match std::fs::read_to_string(path) {
        Ok(found) if !found.contains(OURS) => {
            return Err(RenderError::NotOurs { path: path.to_owned() }.into());
        }
        _ => {}
    }
    if let Some(parent) = path.parent() {
        workspace::make_directory(parent)?;
    }
    workspace::write(path, text.as_bytes())?;
    ui::note(&format!("wrote {}", path.display()));
    Ok(())
}
