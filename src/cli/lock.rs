//! `goatbuild lock`.

use clap::Args;
use miette::Report;

use super::{Exit, Global, session};
use crate::locking::{self, LockOptions, Renew};
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Resolve anew what is locked: everything, or only these images and packages
    #[arg(long, value_name = "NAME", num_args = 0..)]
    upgrade: Option<Vec<String>>,
}

pub(crate) async fn run(global: &Global, arguments: &LockArgs) -> Result<Exit, Report> {
    let workspace = session::open(global)?;
    let _lock = session::lock(&workspace, global, "lock").await?;
    let workspace = session::open(global)?;
    let upgrade = match &arguments.upgrade {
        None => Renew::Nothing,
        Some(names) if names.is_empty() => Renew::Everything,
        Some(names) => Renew::Named(names.clone()),
    };
    let options = LockOptions { locked: global.locked, upgrade, complete: true };
    let (reporter, finish) = ui::preparing();
    let settled = locking::settle(&workspace, &options, &reporter).await;
    finish();
    let changes = settled?;
    for warning in &changes.warnings {
        ui::note(warning);
    }
    if changes.lines.is_empty() && !changes.warnings.is_empty() {
        ui::note("what a plan needs is locked");
    } else if changes.lines.is_empty() {
        ui::note("everything is locked");
    } else {
        ui::print_lock_changes(&changes);
    }
    Ok(Exit::Done)
}
