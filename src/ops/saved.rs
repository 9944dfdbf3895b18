//! Saved plans: which argument is one, reading and writing them, and whether one still holds.

use std::collections::BTreeMap;
use std::path::Path;

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::plan::{self, Planned};
use super::{Frontend, preflight};
use crate::bounded;
use crate::locking::{LockOptions, Renew};
use crate::plan::saved::{Moved, Request, SavedPlan};
use crate::spec::{EnvironmentName, Project, Rollout, Smoke, Unknown};
use crate::workspace::{self, SharedWorkspace, Workspace};

/// So many differences are told one by one.
const TOLD: usize = 12;

/// Why nothing is read.
#[derive(Debug, Error, Diagnostic)]
pub enum UnreadPlan {
    /// Something that it would have to say itself was said beside it.
    #[error("the saved plan {file} says itself what it covers")]
    #[diagnostic(
        code(goatbuild::usage::plan_and_more),
        help(
            "apply it alone; models, --only, --replace, --adopt, --prune and --no-refresh belong to `goatbuild plan -o`"
        )
    )]
    AndMore {
        /// As it was named.
        file: String,
    },
    /// It isn't there.
    #[error("there is no saved plan {file}")]
    #[diagnostic(
        code(goatbuild::usage::no_plan),
        help(
            "`goatbuild plan -o {file}` saves one; a word with `/` or `.plan` at its end is taken for a plan, any other for a model"
        )
    )]
    Missing {
        /// As it was named.
        file: String,
    },
}

/// Why a saved plan is not applied.
#[derive(Debug, Error, Diagnostic)]
enum Stale {
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
pub(super) struct Saved {
    file: String,
    plan: SavedPlan,
}

/// What an apply covers.
pub(super) struct Covered {
    /// What was asked for; of a saved plan, when it was made.
    pub(super) request: Request,
    /// The saved plan that was named, if one was.
    pub(super) saved: Option<Saved>,
}

/// What a request covers: what it says, or what the saved plan says that it names; refuses one that was
/// made for something else.
///
/// A model's name is a model; else what ends in `.plan`, holds a `/` or is a file is a plan.
pub(super) fn covered(
    project: &Project,
    request: Request,
    refresh: bool,
) -> Result<Covered, Report> {
    let is_plan = |word: &&String| {
        !project.models.contains_key(word.as_str())
            && !project.left_out.models.contains(*word)
            && (word.contains('/')
                || Path::new(word).extension().is_some_and(|extension| extension == "plan")
                || Path::new(word).is_file())
    };
    let Some(file) = request.models.iter().find(is_plan) else {
        return Ok(Covered { request, saved: None });
    };
    let alone = Request { models: vec![file.clone()], ..Request::default() };
    if refresh || request != alone {
        return Err(UnreadPlan::AndMore { file: file.clone() }.into());
    }
    let saved = read(project, Path::new(file))?;
    Ok(Covered { request: saved.plan.request.clone(), saved: Some(saved) })
}

/// Reads a saved plan, and refuses one that was made for something else.
fn read(project: &Project, path: &Path) -> Result<Saved, Report> {
    let file = path.display().to_string();
    let bytes = match bounded::read(path, bounded::LOCK) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(UnreadPlan::Missing { file }.into());
        }
        Err(source) => return Err(workspace::unreadable(path.to_owned(), source)),
    };
    let plan = SavedPlan::parse(&file, &bytes)?;
    let wanted = project.id.to_string();
    if plan.project != wanted {
        return Err(Stale::Project { file, found: plan.project, wanted }.into());
    }
    let environment = environment(project);
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

/// Writes a plan with what it was made of, unless no apply would run it.
pub fn write(
    workspace: &SharedWorkspace,
    planned: &Planned,
    request: &Request,
    path: &Path,
) -> Result<SavedPlan, Report> {
    preflight::refuse_conflicts(workspace, &planned.plan)?;
    let plan = keep(workspace, planned, request)?;
    workspace::write_private(path, plan.render().as_bytes())?;
    Ok(plan)
}

fn keep(
    workspace: &SharedWorkspace,
    planned: &Planned,
    request: &Request,
) -> Result<SavedPlan, Report> {
    Ok(SavedPlan::new(
        workspace.project.id.as_str(),
        environment(&workspace.project),
        request.clone(),
        bound(workspace)?,
        &planned.graph,
        &planned.plan,
        &workspace.remember()?,
    ))
}

impl Covered {
    /// Plans what is true now; a saved plan has to be the same still.
    pub(super) async fn plan(
        &self,
        workspace: &SharedWorkspace,
        frontend: &dyn Frontend,
        may_lock: bool,
        upgrade: Renew,
    ) -> Result<Planned, Report> {
        let settling = plan::settling(workspace, &self.request);
        let options = LockOptions { locked: !may_lock, upgrade, ..settling };
        let planned = plan::plan(workspace, frontend, &self.request, options).await;
        let Some(saved) = &self.saved else { return planned };
        let planned = planned.map_err(|error| saved.explain(error))?;
        saved.holds(workspace, &planned)?;
        Ok(planned)
    }
}

impl Saved {
    /// Refuses unless a plan made now is the one that was saved.
    fn holds(&self, workspace: &SharedWorkspace, planned: &Planned) -> Result<(), Report> {
        let now = keep(workspace, planned, &self.plan.request)?;
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
    fn explain(&self, error: Report) -> Report {
        let code = error.code().map(|code| code.to_string());
        let is_stale = error.downcast_ref::<Unknown>().is_some()
            || code.as_deref() == Some("goatbuild::lock::out_of_date");
        if is_stale {
            Stale::Unplannable { file: self.file.clone(), reason: error.to_string() }.into()
        } else {
            error
        }
    }
}

fn environment(project: &Project) -> Option<&str> {
    project.environment.as_ref().map(EnvironmentName::as_str)
}

/// Digests of what no step describes, and an apply depends on.
fn bound(workspace: &Workspace) -> Result<BTreeMap<String, String>, Report> {
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex()[..32].to_owned();
    // What was built is a record: each step tells of its own.
    let lock = workspace.lock.read(|lock| {
        let mut lock = lock.clone();
        lock.built.clear();
        lock.render()
    });
    let mut bound = BTreeMap::from([("goatbuild.lock".to_owned(), digest(lock.as_bytes()))]);
    for image in workspace.project.images.keys() {
        let name = format!("images/{image}.pylock.toml");
        let path = workspace.root.join(&name);
        match bounded::read(&path, bounded::LOCK) {
            Ok(bytes) => drop(bound.insert(name, digest(&bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(workspace::unreadable(path, source)),
        }
    }
    for (name, model) in &workspace.project.models {
        if model.serve.rollout == Some(Rollout::Candidate) {
            bound.insert(format!("serve.rollout of {name}"), "candidate".to_owned());
        }
        if model.serve.smoke == Smoke::Always {
            bound.insert(format!("serve.smoke of {name}"), "always".to_owned());
        }
    }
    if let Some((name, text)) = workspace.gateway.as_ref().and_then(|it| it.bound()) {
        bound.insert(name.to_owned(), digest(text.as_bytes()));
    }
    Ok(bound)
}
