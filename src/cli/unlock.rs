//! `goatbuild unlock`.

use std::io::{BufRead as _, IsTerminal as _};

use clap::Args;
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::{Exit, Global, session};
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct UnlockArgs {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Error, Diagnostic)]
#[error("the lease of {holder} would be broken, and nobody is there to ask")]
#[diagnostic(code(goatbuild::usage::unconfirmed), help("say it with `--yes`"))]
struct Unconfirmed {
    holder: String,
}

pub(crate) async fn run(global: &Global, arguments: &UnlockArgs) -> Result<Exit, Report> {
    let workspace = session::open(global)?;
    let Some(modal) = workspace.modal_if_there() else {
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
    if !arguments.yes {
        let input = std::io::stdin();
        if !input.is_terminal() {
            return Err(Unconfirmed { holder: holder.to_string() }.into());
        }
        ui::ask("break it, though what it does may still go on? [y/N]");
        let mut answer = String::new();
        let read = input.lock().read_line(&mut answer);
        if read.is_err() || !matches!(answer.trim(), "y" | "Y" | "yes") {
            ui::note("nothing was changed");
            return Ok(Exit::Done);
        }
    }
    modal.break_lease(&holder).await?;
    ui::note("broken");
    Ok(Exit::Done)
}
