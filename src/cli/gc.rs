//! `goatbuild gc`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use miette::Report;

use super::{Exit, Global, session};
use crate::garbage::{self, Needed};
use crate::spec::EnvironmentName;
use crate::store::WriterLock;
use crate::targets::local;
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Only tell what would be removed
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Keep what the last N runs of each environment made
    #[arg(long, value_name = "N", default_value_t = 3)]
    keep_runs: u32,
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
    for environment in std::iter::once(None).chain(environments) {
        add(&mut needed, global, environment).await?;
    }
    let recent = workspace
        .store
        .recent(arguments.keep_runs, |environment, step| needed.has_step(environment, step))?;
    needed.add_past(&recent);
    needed.add_deployed(&local::deployed(state)?);
    let layout = workspace.layout()?;
    needed.add_parts(&layout)?;

    let cache = workspace.store.root();
    let mut found = garbage::volumes(cache, &needed)?;
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
        garbage::remove(&found)?;
        workspace.store.forget_all_but(&recent.runs, needed.keys())?;
    }
    for piece in &mut found {
        piece.path = shortened(&piece.path, &workspace.root);
    }
    ui::print_garbage(&found, !arguments.dry_run, arguments.verbose, arguments.json);
    Ok(Exit::Done)
}

/// Adds what one environment asks for, the default one without a name.
async fn add(
    needed: &mut Needed,
    global: &Global,
    environment: Option<&EnvironmentName>,
) -> Result<(), Report> {
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
    Ok(())
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
