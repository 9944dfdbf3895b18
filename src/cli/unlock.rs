//! `goatbuild unlock`.

use clap::Args;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global};
use crate::ops::unlock;

#[derive(Debug, Args)]
pub(crate) struct UnlockArgs {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(global: &Global, arguments: &UnlockArgs) -> Result<Exit, Report> {
    unlock::unlock(&global.site()?, &Terminal::default(), arguments.yes).await?;
    Ok(Exit::Done)
}
