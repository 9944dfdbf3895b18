//! What every command starts with: the project, all of it or the part that can be read or was asked
//! for, and the locks that keep others away.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use miette::Report;

use super::Frontend;
use super::saved::{self, Covered};
use crate::plan::saved::Request;
use crate::project;
use crate::spec::{
    self, EnvironmentName, LeftOut, Model, Shared, Sources, SpecErrors, Unknown, some_of, unknown,
};
use crate::step::StepId;
use crate::steps;
use crate::store::{StoreError, WriterLock};
use crate::targets::local;
use crate::workspace::{self, Settings, SharedWorkspace, Workspace};

/// Which project a command is about, and how it works there.
#[derive(Debug, Clone)]
pub struct Site {
    /// Where the project is looked for, unless that is here.
    pub directory: Option<PathBuf>,
    /// The environment that was asked for.
    pub environment: Option<String>,
    /// How the project is worked with.
    pub settings: Settings,
    /// How long to wait for another goatbuild that is at work there.
    pub patience: Duration,
    /// The address of the CI run that this is.
    pub ci_run: Option<String>,
}

impl Site {
    /// A command to suggest, about this project and environment.
    pub fn command(&self, rest: &str) -> String {
        let mut words = String::from("goatbuild");
        if let Some(directory) = &self.directory {
            words = format!("{words} -C {}", directory.display());
        }
        if let Some(environment) = &self.environment {
            words = format!("{words} --env {environment}");
        }
        format!("{words} {rest}")
    }

    /// The same project in another environment, the default one without a name.
    #[must_use]
    pub fn in_environment(&self, environment: Option<&EnvironmentName>) -> Self {
        Self { environment: environment.map(ToString::to_string), ..self.clone() }
    }

    /// The files of its project.
    pub fn files(&self) -> Result<Files, Report> {
        let root = project::find(self.directory.as_deref().unwrap_or(Path::new(".")))?;
        let mut sources = project::load(&root)?;
        let environment = self.environment.as_deref();
        let environment = environment.map(|name| named(&sources, name)).transpose()?;
        sources.kinds.engines = self.settings.engines;
        sources.kinds.targets = self.settings.targets.types();
        Ok(Files { root, sources, environment })
    }
}

/// The files of a project, to be read for one of its environments.
#[derive(Debug)]
pub struct Files {
    /// The project's directory.
    pub root: PathBuf,
    /// What is in them.
    pub sources: Sources,
    /// The environment; none for the default one.
    pub environment: Option<EnvironmentName>,
}

/// The environment that was asked for, which the project has to have.
fn named(sources: &Sources, name: &str) -> Result<EnvironmentName, Unknown> {
    let known = spec::environments(sources);
    let named = name.parse().ok().filter(|name| match &known {
        Some(known) => known.contains(name),
        // The file has a mistake, and is about to be told.
        None => true,
    });
    let known = known.unwrap_or_default();
    named.ok_or_else(|| unknown("environment", name, known.iter().map(EnvironmentName::as_str)))
}

/// Opens the workspace of a project without mistakes.
pub fn whole(site: &Site) -> Result<SharedWorkspace, Report> {
    let files = site.files()?;
    let project = project::read(&files.sources, files.environment.as_ref())?;
    let workspace = Workspace::open(files.root, project, site.settings.clone())?;
    Ok(Arc::new(workspace))
}

/// Opens the workspace even when files have mistakes, without what they are about: what is served
/// can still be seen and stopped. Says whether all could be read.
pub fn anyway(site: &Site, frontend: &dyn Frontend) -> Result<(SharedWorkspace, bool), Report> {
    let files = site.files()?;
    let shared = Shared::tolerant(&files.sources, files.environment.as_ref());
    let (project, mistakes) = project::read_part(&files.sources, shared, true)?;
    if mistakes.is_some() {
        let what = match told_left_out(&project.left_out) {
            Some(what) => format!("going on without {what}"),
            None => format!("going on with what can be read of {}", project::PROJECT_FILE),
        };
        frontend.note(&format!("some files have mistakes, which `goatbuild check` shows; {what}"));
    }
    let workspace = Workspace::open(files.root, project, site.settings.clone())?;
    tell_forgetful(&workspace, frontend);
    Ok((Arc::new(workspace), mistakes.is_none()))
}

/// Names what was left out of a project, if anything was.
fn told_left_out(left_out: &LeftOut) -> Option<String> {
    let named = |kind: &str, names: &BTreeSet<String>| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match names.len() {
            0 => None,
            1 => Some(format!("{kind} {}", names[0])),
            _ => Some(format!("{kind}s {}", some_of(&names))),
        }
    };
    let told = [named("image", &left_out.images), named("model", &left_out.models)];
    let told: Vec<String> = told.into_iter().flatten().collect();
    (!told.is_empty()).then(|| told.join(" and "))
}

/// A project of which a part was asked for, and the mistakes in it.
struct Part {
    /// What could be read.
    workspace: SharedWorkspace,
    mistakes: Option<SpecErrors>,
}

/// Opens the workspace for who may ask for a part of it: mistakes in the rest are no hindrance.
/// [`Part::check`] tells whether they are.
fn part(site: &Site, asked: &[String]) -> Result<Part, Report> {
    let files = site.files()?;
    let shared = Shared::new(&files.sources, files.environment.as_ref());
    let (mut project, mistakes) = project::read_part(&files.sources, shared, false)?;
    // All others' weights are looked for, too; that theirs are missing is their mistake.
    let is_other = |model: &Arc<Model>| !asked.iter().any(|name| name == model.name.as_str());
    if !asked.is_empty() {
        let wrong = |model: &&Arc<Model>| {
            is_other(model) && workspace::weights_mistake(&files.root, model).is_some()
        };
        let wrong: Vec<_> =
            project.models.values().filter(wrong).map(|it| it.name.clone()).collect();
        for name in wrong {
            project.models.remove(&name);
            project.left_out.models.insert(name.to_string());
        }
    }
    let workspace = Workspace::open(files.root, project, site.settings.clone())?;
    Ok(Part { workspace: Arc::new(workspace), mistakes })
}

/// Opens the workspace for what was asked for; mistakes in the rest are told, and no hindrance.
pub fn asked(
    site: &Site,
    frontend: &dyn Frontend,
    request: &Request,
) -> Result<SharedWorkspace, Report> {
    let workspace = part(site, &request.models)?.check(frontend, request)?;
    tell_forgetful(&workspace, frontend);
    Ok(workspace)
}

/// Says that nothing is remembered, where the cache can't be written, or is damaged: what is only looked at
/// is as well known without one.
pub(super) fn tell_forgetful(workspace: &Workspace, frontend: &dyn Frontend) {
    if let Some(unwritable) = workspace.store.unwritable() {
        frontend.note(&format!("{unwritable}; going on without it"));
    }
    if let Some(damaged) = workspace.store.damaged() {
        let then = "the next apply puts it aside and begins a new one";
        frontend.note(&format!("{damaged}; going on without it; {then}"));
    }
}

/// The same for one model alone, which the project has to have.
pub fn model(
    site: &Site,
    frontend: &dyn Frontend,
    name: &str,
) -> Result<(SharedWorkspace, Arc<Model>), Report> {
    let request = Request { models: vec![name.to_owned()], ..Request::default() };
    let workspace = asked(site, frontend, &request)?;
    let model = Arc::clone(workspace.project.model(name)?);
    Ok((workspace, model))
}

impl Part {
    /// Fails with all mistakes unless what is asked for needs none of the files that have some; says
    /// what is left out.
    fn check(self, frontend: &dyn Frontend, request: &Request) -> Result<SharedWorkspace, Report> {
        let left_out = &self.workspace.project.left_out;
        let is_part = !request.models.is_empty() || !request.only.is_empty();
        // A step is known by a model that needs it; what is nobody's is told as such.
        let project = &self.workspace.project;
        let has_step = |name: &String| steps::is_known(project, &StepId::from(name.as_str()));
        let is_had = is_part
            && !request.models.iter().any(|name| left_out.models.contains(name))
            && request.only.iter().all(has_step);
        match self.mistakes {
            Some(mistakes) if !is_had => return Err(mistakes.into()),
            _ => {}
        }
        if let Some(told) = told_left_out(left_out) {
            let what = "`goatbuild plan` says what is wrong there";
            frontend.note(&format!("left out: {told}; {what}"));
        }
        Ok(self.workspace)
    }
}

/// Where this project keeps its state on this machine, in its environment.
pub fn state_of(workspace: &Workspace) -> PathBuf {
    let project = &workspace.project;
    let environment = project.environment.as_ref().map_or("", |name| name.as_str());
    local::state_of(&workspace.settings.state, project.id.as_str(), environment)
}

/// What an apply has to itself.
pub(super) struct Alone {
    pub(super) workspace: SharedWorkspace,
    pub(super) covered: Covered,
    locks: Locks,
}

impl Alone {
    /// Says that the cache was removed or moved meanwhile, where it was: steps that fail then tell of files
    /// that aren't there, and none of why.
    pub(super) fn tell_removed(&self, frontend: &dyn Frontend) {
        if !self.locks.cache.is_there() {
            frontend.note(
                "cache/ was removed or moved while this apply was at work: what failed of it, failed by that; \
                 run it again, since what it made elsewhere is recognised",
            );
        }
    }
}

/// Opens what an apply covers of a project, once its targets can be used and nobody else is at work there.
/// Everything is read again then: who waited works on what is true now.
pub(super) async fn alone(
    site: &Site,
    frontend: &dyn Frontend,
    request: Request,
    refresh: bool,
) -> Result<Alone, Report> {
    let waiting = part(site, &request.models)?;
    let covered = saved::covered(&waiting.workspace.project, request, refresh)?;
    let request = &covered.request;
    let waiting = waiting.check(frontend, request)?;
    if let Some(unwritable) = waiting.store.unwritable() {
        return Err(unwritable.clone().into());
    }
    // The farthest target first: it is the one that most likely can't be reached.
    for (kind, what) in steps::at_targets(&waiting.project, request).into_iter().rev() {
        let what: Vec<String> = what.into_iter().collect();
        waiting.targets.named(kind).check(&what).await?;
    }
    let locks = lock(&waiting, site, frontend, "apply").await?;
    let told = waiting.project.left_out.clone();
    drop(waiting);
    let part = part(site, &request.models)?;
    let is_told = part.workspace.project.left_out == told;
    let workspace = if is_told { part.workspace } else { part.check(frontend, request)? };
    Ok(Alone { workspace, covered, locks })
}

/// The locks of a project's cache and of its state on this machine.
pub(super) struct Locks {
    cache: WriterLock,
    _state: WriterLock,
}

/// Takes both, and removes what commands that were killed left half-made.
pub(super) async fn lock(
    workspace: &Workspace,
    site: &Site,
    frontend: &dyn Frontend,
    command: &str,
) -> Result<Locks, Report> {
    if let Some(unwritable) = workspace.store.unwritable() {
        return Err(unwritable.clone().into());
    }
    let state = state_of(workspace);
    std::fs::create_dir_all(&state)
        .map_err(|source| StoreError::Write { path: state.clone(), source })?;
    let waiting = |holder: &str| frontend.waits_for(holder);
    let cache = workspace.store.root().join("lock");
    let (cache, _) = WriterLock::take(&cache, command, site.patience, waiting).await?;
    let state = state.join("lock");
    let (state, _) = WriterLock::take(&state, command, site.patience, waiting).await?;
    if let Some(aside) = workspace.store.mend()? {
        let aside = aside.strip_prefix(&workspace.root).unwrap_or(&aside).display();
        frontend.note(&format!(
            "cache/state.db was damaged, and is {aside} now: what is deployed is recognised without it; \
             when steps ran, and what failed before, is forgotten"
        ));
    }
    workspace.sweep();
    Ok(Locks { cache, _state: state })
}
