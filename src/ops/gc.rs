//! Cleaning up: what no spec, no deployment and no recent run needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Report;

use super::open::{self, Site};
use super::{Frontend, plan};
use crate::container::{self, ContainerEngine, ContainerError, Loaded};
use crate::garbage::{self, Garbage, Needed};
use crate::plan::{Action, Plan};
use crate::spec::EnvironmentName;
use crate::store::WriterLock;
use crate::targets::local;
use crate::workspace::Workspace;

/// What is to be cleaned up, and how much of it.
#[derive(Debug, Clone, Copy)]
pub struct Cleaning {
    /// Only tell what would be removed.
    pub dry_run: bool,
    /// Keep what so many last runs of each environment made.
    pub keep_runs: u32,
    /// Also ask Docker and Podman for images of this project.
    pub loaded: bool,
}

/// What nothing needs, or needed.
#[derive(Debug)]
pub struct Found {
    /// Files and directories, named from the project's directory.
    pub pieces: Vec<Garbage>,
    /// Images in Docker and Podman, if they were asked.
    pub loaded: Option<Vec<Loaded>>,
}

/// Finds what nothing needs any more, and removes it.
pub async fn clean(
    site: &Site,
    frontend: &dyn Frontend,
    cleaning: Cleaning,
) -> Result<Found, Report> {
    let workspace = open::whole(site)?;
    // Nobody may make, of what is removed, something that is needed; who only looks, and may do no more,
    // keeps nobody from anything.
    let _lock = if cleaning.dry_run && workspace.store.unwritable().is_some() {
        open::tell_forgetful(&workspace, frontend);
        None
    } else {
        Some(open::lock(&workspace, site, frontend, "gc").await?)
    };
    let state = &workspace.settings.state;
    let here = open::state_of(&workspace);
    let elsewhere = local::environments(state)?.into_iter().filter(|found| *found != here);
    let ours = |environment: &PathBuf| environment.parent() == here.parent();
    let (ours, others): (Vec<_>, Vec<_>) = elsewhere.partition(ours);
    let _ours = lock_all(frontend, &ours, site.patience).await?;
    let mut needed = Needed::default();
    let environments = workspace.project.environments.iter().map(Some);
    let mut images = BTreeMap::new();
    for environment in std::iter::once(None).chain(environments) {
        for step in add(&mut needed, site, environment).await?.steps {
            if step.action == Action::Fresh && step.kind.makes_image() {
                // What the project itself asks for comes first.
                images.entry(step.id).or_insert(step.facts);
            }
        }
    }
    let recent = workspace
        .store
        .recent(cleaning.keep_runs, |environment, step| needed.has_step(environment, step))?;
    needed.add_past(&recent);
    needed.add_deployed(&local::deployed(state)?);
    let layout = workspace.cache.layout()?;
    needed.add_parts(&layout)?;

    let cache = workspace.store.root();
    let mut found = garbage::all_volumes(&workspace, &needed)?;
    found.extend(garbage::blobs(&layout, &needed)?);
    found.extend(garbage::downloads(cache, &needed)?);
    found.extend(garbage::build_roots(&workspace.cache.roots())?);
    found.extend(garbage::logs(cache, &recent.runs)?);
    // Other projects' servers run from unpacked images too, and one may be starting.
    let others = lock_all(frontend, &others, Duration::ZERO).await;
    if others.is_ok() {
        found.extend(garbage::roots(state, &needed)?);
    } else {
        frontend.note("unpacked images are left alone: another project is being worked on");
    }
    garbage::measure(&mut found)?;
    if !cleaning.dry_run {
        garbage::untag(&layout, &needed)?;
        workspace.cache.tag(&images)?;
        garbage::remove(&found)?;
        workspace.store.forget_all_but(&recent.runs, needed.keys())?;
    }
    let loaded = if cleaning.loaded {
        Some(unload(&workspace, frontend, &needed, cleaning.dry_run).await?)
    } else {
        None
    };
    for piece in &mut found {
        piece.path = shortened(&piece.path, &workspace.root);
    }
    Ok(Found { pieces: found, loaded })
}

/// Finds images of this project that Docker and Podman have and nothing needs, and has them removed.
/// One that a container was made of, by whomever, stays.
async fn unload(
    workspace: &Workspace,
    frontend: &dyn Frontend,
    needed: &Needed,
    dry_run: bool,
) -> Result<Vec<Loaded>, Report> {
    let mut gone = Vec::new();
    for kind in [ContainerEngine::Docker, ContainerEngine::Podman] {
        let images = match container::loaded(kind, workspace.project.id.as_str()).await {
            Ok(images) => images,
            Err(ContainerError::Missing { .. }) => continue,
            Err(error) if error.is_silence() => {
                frontend.note(&format!("images there are left alone: {error}"));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for image in images.into_iter().filter(|image| !needed.needs_loaded(image)) {
            if dry_run || container::unload(&image).await? {
                gone.push(image);
            } else {
                frontend.note(&format!("{kind} keeps {}: a container was made of it", image.name));
            }
        }
    }
    Ok(gone)
}

/// Adds what one environment asks for, the default one without a name, and gives its plan.
async fn add(
    needed: &mut Needed,
    site: &Site,
    environment: Option<&EnvironmentName>,
) -> Result<Plan, Report> {
    let site = site.in_environment(environment);
    let planned = async {
        let workspace = open::whole(&site)?;
        let planned = plan::quietly(&workspace).await?;
        Ok::<_, Report>((workspace, planned))
    };
    let name = match environment {
        Some(name) => format!("environment {name}"),
        None => "the project".to_owned(),
    };
    let unknown = || format!("nothing is removed: what {name} needs can't be told");
    let (workspace, planned) = planned.await.map_err(|report| report.wrap_err(unknown()))?;
    needed.add_environment(&workspace, &planned.plan);
    Ok(planned.plan)
}

/// Takes the locks of these environments.
async fn lock_all(
    frontend: &dyn Frontend,
    environments: &[PathBuf],
    timeout: Duration,
) -> Result<Vec<WriterLock>, Report> {
    let mut locks = Vec::new();
    for environment in environments {
        let (lock, waiting) = (environment.join("lock"), |holder: &str| frontend.waits_for(holder));
        locks.push(WriterLock::take(&lock, "gc", timeout, waiting).await?.0);
    }
    Ok(locks)
}

/// The path as people name it: from the project's directory where it is below that.
fn shortened(path: &Path, root: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}
