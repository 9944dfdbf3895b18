//! `goatbuild lock`.

use clap::Args;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global};
use crate::locking::Renew;
use crate::ops::lock;

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Resolve anew what is locked: everything, or only these images and packages
    #[arg(long, value_name = "NAME", num_args = 0..)]
    upgrade: Option<Vec<String>>,
}

pub(crate) async fn run(global: &Global, arguments: LockArgs) -> Result<Exit, Report> {
    let upgrade = match arguments.upgrade {
        None => Renew::Nothing,
        Some(names) if names.is_empty() => Renew::Everything,
        Some(names) => Renew::Named(names),
    };
    lock::lock(&global.site()?, &Terminal::default(), upgrade, global.locked).await?;
    Ok(Exit::Done)
}
