//! `goatbuild unlock`.

use clap::Args;
use miette::Report;

use super::{Exit, Global, consent, part};
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct UnlockArgs {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(global: &Global, arguments: &UnlockArgs) -> Result<Exit, Report> {
    let (workspace, _) = part::open_anyway(global)?;
    let Some(modal) = workspace.targets.modal_if_there() else {
        ui::note(
            "nothing is served on Modal; a lock on this machine is free once its process ends",
        );
        return Ok(Exit::Done);
    };
    let Some(holder) = modal.lease_holder().await? else {
        ui::note("nobody has the lease");
        return Ok(Exit::Done);
    };
    ui::note(&format!("the lease is {holder}'s"));
    let what = format!("the lease of {holder} would be broken");
    let question = "break it, though what it does may still go on?";
    if !arguments.yes && !consent::confirm(&what, question)? {
        ui::note("nothing was changed");
        return Ok(Exit::Done);
    }
    modal.break_lease(&holder).await?;
    ui::note("broken");
    Ok(Exit::Done)
}
