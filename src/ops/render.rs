//! The programs that serve a model elsewhere, to look at or to take away.

use std::path::{Path, PathBuf};

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::Frontend;
use super::open::{self, Site};
use crate::bounded;
use crate::event::Reporter;
use crate::locking::{self, Scope};
use crate::step::StepId;
use crate::steps;
use crate::workspace;

/// Why there is nothing to print.
#[derive(Debug, Error, Diagnostic)]
enum RenderError {
    #[error("{model} is served on {title}, without a program of goatbuild's")]
    #[diagnostic(
        code(goatbuild::usage::not_on_modal),
        help("`goatbuild show {model} --command` prints what is started")
    )]
    NoPrograms { model: String, title: &'static str },
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

/// Renders the programs that serve a model, for any workspace below `out`; gives the one that it runs
/// by here, without an `out`.
pub async fn render(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
    out: Option<&Path>,
) -> Result<Option<String>, Report> {
    let (workspace, model) = open::model(site, frontend, name)?;
    let no_programs =
        || RenderError::NoPrograms { model: name.to_owned(), title: model.target.title() };
    let of_target = workspace.targets.of(&model).programs().ok_or_else(no_programs)?;
    let scope = Scope::of_models(&workspace, &[name.to_owned()]);
    locking::settle_as_it_is(&workspace, scope).await?;
    let sources = model.sources().filter_map(|source| source.hub());
    if let Some(source) = sources.into_iter().find(|it| workspace.lock.commit(it).is_none()) {
        return Err(RenderError::Unlocked { weights: source.to_string() }.into());
    }
    let anywhere = out.is_some();
    if !anywhere {
        workspace.look().await?;
    }
    let images = steps::images(&workspace)?;
    let (_, planned) = steps::foreseen_pushes(&images, &workspace.remember()?);
    let made = |id: &StepId| planned.get(id).map(|step| step.facts.clone());
    let programs = steps::programs(&workspace, &model, anywhere, &made, &Reporter::silent())?;
    let Some(directory) = out else { return Ok(programs.into_iter().next().map(|it| it.1)) };
    for (path, text) in programs {
        write(frontend, &directory.join(path), &text)?;
    }
    frontend.note(&of_target.advice(&model, directory));
    Ok(None)
}

/// Writes over nothing but what was rendered before.
fn write(frontend: &dyn Frontend, path: &Path, text: &str) -> Result<(), Report> {
    match bounded::read_to_string(path, bounded::TEXT) {
        Ok(found) if !found.contains(OURS) => {
            return Err(RenderError::NotOurs { path: path.to_owned() }.into());
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(workspace::unreadable(path.to_owned(), error));
        }
        _ => {}
    }
    if let Some(parent) = path.parent() {
        workspace::make_directory(parent)?;
    }
    workspace::write(path, text.as_bytes())?;
    frontend.note(&format!("wrote {}", path.display()));
    Ok(())
}
