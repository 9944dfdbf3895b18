//! `goatbuild lock`.

use clap::Args;
use miette::Report;

use super::{Exit, Global, session};
use crate::locking::{self, Changes, LockOptions, Renew, Scope};
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
    let scope = Scope::of_renewal(&workspace, &upgrade)?;
    let is_part = scope != Scope::Project;
    let options =
        LockOptions { locked: global.locked, upgrade, complete: true, lenient: false, scope };
    let (reporter, finish) = ui::preparing();
    let mut changes = Changes::default();
    let settled = locking::settle_into(&mut changes, &workspace, &options, &reporter).await;
    finish();
    for warning in &changes.warnings {
        ui::note(warning);
    }
    ui::print_lock_changes(&changes);
    settled?;
    match (changes.lines.is_empty(), changes.warnings.is_empty()) {
        (true, _) if is_part => ui::note("nothing that was named has moved"),
        (true, true) => ui::note("everything is locked"),
        (true, false) => ui::note("what a plan needs is locked"),
        (false, _) => {}
    }
    Ok(Exit::Done)
}
