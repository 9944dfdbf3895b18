//! Saved plans: which argument is one, reading and writing them, and whether one still holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::session::{self, Planned, UsageError};
use super::{Selection, WishArgs};
use crate::plan::saved::{Moved, Request, SavedPlan};
use crate::spec::{EnvironmentName, Rollout};
use crate::workspace::{self, SharedWorkspace, Workspace};

/// So many differences are told one by one.
const TOLD: usize = 12;

/// Why a saved plan is not applied.
#[derive(Debug, Error, Diagnostic)]
pub(crate) enum Stale {
    /// It was made for another project.
    #[error("{file} is a plan of project {found}; this is {wanted}")]
    #[diagnostic(
        code(goatbuild::plan::other_project),
        help("apply it in that project's directory, or with `-C DIR`")
    )]
    Project { file: String, found: String, wanted: String },
    /// It was made for another environment.
    #[error("{file} is a plan of {found}; this is {wanted}")]
    #[diagnostic(code(goatbuild::plan::other_environment))]
    Environment {
        file: String,
        found: String,
        wanted: String,
        #[help]
        help: String,
    },
    /// Something is no longer as it was.
    #[error(
        "{file} was refused, since not everything is as it was when it was saved:\n{}",
        lines(moved)
    )]
    #[diagnostic(
        code(goatbuild::plan::moved),
        help("nothing was changed; plan again, look at what is new, and save it")
    )]
    Moved { file: String, moved: Vec<Moved> },
    /// It was applied before.
    #[error("{file} was applied already: all that it would run is done")]
    #[diagnostic(
        code(goatbuild::plan::applied),
        help("nothing was changed; `goatbuild plan` shows what is to be done now")
    )]
    Applied { file: String },
    /// It can't even be planned again.
    #[error("{file} was refused, since it can't be planned any more: {reason}")]
    #[diagnostic(
        code(goatbuild::plan::moved),
        help("nothing was changed; plan again, look at what is new, and save it")
    )]
    Unplannable { file: String, reason: String },
}

fn lines(moved: &[Moved]) -> String {
    let mut lines: Vec<String> =
        moved.iter().take(TOLD).map(|moved| format!("  {moved}")).collect();
    if let Some(more) = moved.len().checked_sub(TOLD).filter(|more| *more > 0) {
        lines.push(format!("  and {more} more"));
    }
    lines.join("\n")
}

/// A plan that was read from a file.
pub(crate) struct Saved {
    file: String,
    plan: SavedPlan,
}

/// The one argument that names a saved plan, if one does.
///
/// A model's name is a model; else what ends in `.plan`, holds a `/` or is a file is a plan.
pub(crate) fn named(
    workspace: &Workspace,
    selection: &Selection,
) -> Result<Option<PathBuf>, UsageError> {
    let models = &workspace.project.models;
    let is_plan = |word: &&String| {
        !models.contains_key(word.as_str())
            && !workspace.project.left_out.models.contains(*word)
            && (word.contains('/')
                || Path::new(word).extension().is_some_and(|extension| extension == "plan")
                || Path::new(word).is_file())
    };
    let Some(file) = selection.models.iter().find(is_plan) else { return Ok(None) };
    let asks = selection.models.len() > 1 || selection.wishes != WishArgs::default();
    if asks { Err(UsageError::PlanAndMore { file: file.clone() }) } else { Ok(Some(file.into())) }
}

/// Reads a saved plan, and refuses one that was made for something else.
pub(crate) fn read(workspace: &Workspace, path: &Path) -> Result<Saved, Report> {
    let file = path.display().to_string();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(UsageError::NoPlan { file }.into());
        }
        Err(source) => return Err(workspace::unreadable(path.to_owned(), source)),
    };
    let plan = SavedPlan::parse(&file, &bytes)?;
    let wanted = workspace.project.id.to_string();
    if plan.project != wanted {
        return Err(Stale::Project { file, found: plan.project, wanted }.into());
    }
    let environment = environment(workspace);
    if plan.environment.as_deref() != environment {
        let words = |name: Option<&str>| {
            name.map_or("the default environment".to_owned(), |name| format!("environment {name}"))
        };
        let help = match &plan.environment {
            Some(name) => format!("apply it with `--env {name}`"),
            None => "apply it without `--env`, and with GOATBUILD_ENV unset".to_owned(),
        };
        let found = words(plan.environment.as_deref());
        return Err(Stale::Environment { file, found, wanted: words(environment), help }.into());
    }
    Ok(Saved { file, plan })
}

/// Writes a plan with what it was made of.
pub(crate) fn write(
    workspace: &SharedWorkspace,
    planned: &Planned,
    selection: &Selection,
    path: &Path,
) -> Result<SavedPlan, Report> {
    let plan = keep(workspace, planned, selection)?;
    workspace::write(path, plan.render().as_bytes())?;
    Ok(plan)
}

fn keep(
    workspace: &SharedWorkspace,
    planned: &Planned,
    selection: &Selection,
) -> Result<SavedPlan, Report> {
    let wishes = &selection.wishes;
    let request = Request {
        models: selection.models.clone(),
        only: wishes.only.clone(),
        replace: wishes.replace.clone(),
        adopt: wishes.adopt.clone(),
        prune: wishes.prune,
        no_refresh: wishes.no_refresh,
    };
    Ok(SavedPlan::new(
        workspace.project.id.as_str(),
        environment(workspace),
        request,
        bound(workspace)?,
        &planned.graph,
        &planned.plan,
        &session::remember(workspace)?,
    ))
}

impl Saved {
    /// What it was asked to cover.
    pub(crate) fn selection(&self) -> Selection {
        let request = self.plan.request.clone();
        let wishes = WishArgs {
            only: request.only,
            replace: request.replace,
            adopt: request.adopt,
            prune: request.prune,
            no_refresh: request.no_refresh,
            refresh: false,
        };
        Selection { models: request.models, wishes }
    }

    /// Refuses unless a plan made now is the one that was saved.
    pub(crate) fn holds(
        &self,
        workspace: &SharedWorkspace,
        planned: &Planned,
    ) -> Result<(), Report> {
        let now = keep(workspace, planned, &self.selection())?;
        let moved = self.plan.moved(&now);
        if moved.is_empty() {
            return Ok(());
        }
        let file = self.file.clone();
        Err(if self.plan.is_done(&now) {
            Stale::Applied { file }.into()
        } else {
            Stale::Moved { file, moved }.into()
        })
    }

    /// What it means when planning again fails: what it names is gone, or asks for other locks.
    pub(crate) fn explain(&self, error: Report) -> Report {
        let code = error.code().map(|code| code.to_string()).unwrap_or_default();
        match code.as_str() {
            "goatbuild::usage::unknown_name" | "goatbuild::lock::out_of_date" => {
                Stale::Unplannable { file: self.file.clone(), reason: error.to_string() }.into()
            }
            _ => error,
        }
    }
}

fn environment(workspace: &Workspace) -> Option<&str> {
    workspace.project.environment.as_ref().map(EnvironmentName::as_str)
}

/// Digests of what no step describes, and an apply depends on.
fn bound(workspace: &Workspace) -> Result<BTreeMap<String, String>, Report> {
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex()[..32].to_owned();
    // What was built is a record: each step tells of its own.
    let lock = workspace.lock(|lock| {
        let mut lock = lock.clone();
        lock.built.clear();
        lock.render()
    });
    let mut bound = BTreeMap::from([("goatbuild.lock".to_owned(), digest(lock.as_bytes()))]);
    for image in workspace.project.images.keys() {
        let name = format!("images/{image}.pylock.toml");
        let path = workspace.root.join(&name);
        match std::fs::read(&path) {
            Ok(bytes) => drop(bound.insert(name, digest(&bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(workspace::unreadable(path, source)),
        }
    }
    for (name, model) in &workspace.project.models {
        if model.serve.rollout == Rollout::Candidate {
            bound.insert(format!("serve.rollout of {name}"), "candidate".to_owned());
        }
    }
    if let Some(reload) = workspace.project.gateway.as_ref().and_then(|it| it.reload.as_ref()) {
        let words = reload.join("\0");
        bound.insert("gateway.litellm.reload".to_owned(), digest(words.as_bytes()));
    }
    Ok(bound)
}
