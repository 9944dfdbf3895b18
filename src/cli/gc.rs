//! `goatbuild gc`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use miette::Report;

use super::{Exit, Global, image_built, session};
use crate::container::{self, ContainerEngine, ContainerError, Loaded};
use crate::garbage::{self, Needed};
use crate::plan::{Action, Plan};
use crate::spec::EnvironmentName;
use crate::step::StepKind;
use crate::store::WriterLock;
use crate::targets::local;
use crate::ui;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct GcArgs {
    /// Only tell what would be removed
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Keep what the last N runs of each environment made
    #[arg(long, value_name = "N", default_value_t = 3)]
    keep_runs: u32,
    /// Also ask Docker and Podman for images of this project that nothing needs
    #[arg(long)]
    loaded: bool,
    /// List every file and directory
    #[arg(long, short)]
    verbose: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(global: &Global, arguments: &GcArgs) -> Result<Exit, Report> {
    let workspace = session::open(global)?;
    // Nobody may make, of what is removed, something that is needed.
    let _lock = session::lock(&workspace, global, "gc").await?;
    let state = &workspace.settings.state;
    let here = session::state_of(&workspace);
    let elsewhere = local::environments(state)?.into_iter().filter(|found| *found != here);
    let ours = |environment: &PathBuf| environment.parent() == here.parent();
    let (ours, others): (Vec<_>, Vec<_>) = elsewhere.partition(ours);
    let _ours = lock_all(&ours, Duration::from_secs(global.lock_timeout)).await?;
    let mut needed = Needed::default();
    let environments = workspace.project.environments.iter().map(Some);
    let mut images = BTreeMap::new();
    for environment in std::iter::once(None).chain(environments) {
        for step in add(&mut needed, global, environment).await?.steps {
            if step.action == Action::Fresh && step.id.is(StepKind::Image) {
                // What the project itself asks for comes first.
                images.entry(step.id).or_insert(step.facts);
            }
        }
    }
    let recent = workspace
        .store
        .recent(arguments.keep_runs, |environment, step| needed.has_step(environment, step))?;
    needed.add_past(&recent);
    needed.add_deployed(&local::deployed(state)?);
    let layout = workspace.layout()?;
    needed.add_parts(&layout)?;

    let cache = workspace.store.root();
    let mut found = garbage::all_volumes(&workspace, &needed)?;
    found.extend(garbage::blobs(&layout, &needed)?);
    found.extend(garbage::downloads(cache, &needed)?);
    found.extend(garbage::logs(cache, &recent.runs)?);
    // Other projects' servers run from unpacked images too, and one may be starting.
    let others = lock_all(&others, Duration::ZERO).await;
    if others.is_ok() {
        found.extend(garbage::roots(state, &needed)?);
    } else {
        ui::note("unpacked images are left alone: another project is being worked on");
    }
    garbage::measure(&mut found)?;
    if !arguments.dry_run {
        garbage::untag(&layout, &needed)?;
        let made = images.iter().map(|(id, facts)| (id, facts.get("digest")));
        image_built::tag(&layout, made)?;
        garbage::remove(&found)?;
        workspace.store.forget_all_but(&recent.runs, needed.keys())?;
    }
    let loaded = if arguments.loaded {
        Some(unload(&workspace, &needed, arguments.dry_run).await?)
    } else {
        None
    };
    for piece in &mut found {
        piece.path = shortened(&piece.path, &workspace.root);
    }
    let cleaned = ui::Cleaned { found: &found, loaded, removed: !arguments.dry_run };
    ui::print_garbage(&cleaned, arguments.verbose, arguments.json);
    Ok(Exit::Done)
}

/// Finds images of this project that Docker and Podman have and nothing needs, and has them removed.
/// One that a container was made of, by whomever, stays.
async fn unload(
    workspace: &Workspace,
    needed: &Needed,
    dry_run: bool,
) -> Result<Vec<Loaded>, Report> {
    let mut gone = Vec::new();
    for kind in [ContainerEngine::Docker, ContainerEngine::Podman] {
        let images = match container::loaded(kind, workspace.project.id.as_str()).await {
            Ok(images) => images,
            Err(ContainerError::Missing { .. }) => continue,
            Err(error) if error.is_silence() => {
                ui::note(&format!("images there are left alone: {error}"));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for image in images.into_iter().filter(|image| !needed.needs_loaded(image)) {
            if dry_run || container::unload(&image).await? {
                gone.push(image);
            } else {
                ui::note(&format!("{kind} keeps {}: a container was made of it", image.name));
            }
        }
    }
    Ok(gone)
}

/// Adds what one environment asks for, the default one without a name, and gives its plan.
async fn add(
    needed: &mut Needed,
    global: &Global,
    environment: Option<&EnvironmentName>,
) -> Result<Plan, Report> {
    let global = Global { environment: environment.map(ToString::to_string), ..global.clone() };
    let planned = async {
        let workspace = session::open(&global)?;
        let planned = session::plan_quietly(&workspace).await?;
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
async fn lock_all(environments: &[PathBuf], timeout: Duration) -> Result<Vec<WriterLock>, Report> {
    let mut locks = Vec::new();
    for environment in environments {
        let tell = |holder: &str| ui::note(&format!("waiting for another goatbuild: {holder}"));
        locks.push(WriterLock::take(&environment.join("lock"), "gc", timeout, tell).await?.0);
    }
    Ok(locks)
}

/// The path as people name it: from the project's directory where it is below that.
fn shortened(path: &Path, root: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}
