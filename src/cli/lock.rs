//! `goatbuild lock`.

use clap::Args;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global};
use crate::locking::Renew;
use crate::ops::lock;
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Resolve anew what is locked: everything, or only these images and packages
    #[arg(long, value_name = "NAME", num_args = 0..)]
    upgrade: Option<Vec<String>>,
    /// Ask targets what they bill, too, and keep that in the lock; what goatbuild.toml says of prices wins
    #[arg(long)]
    prices: bool,
}

pub(crate) async fn run(global: &Global, arguments: LockArgs) -> Result<Exit, Report> {
    let upgrade = match arguments.upgrade {
        None => Renew::Nothing,
        Some(names) if names.is_empty() => Renew::Everything,
        Some(names) => Renew::Named(names),
    };
    let (site, terminal) = (global.site()?, Terminal::default());
    lock::lock(&site, &terminal, upgrade, global.locked).await?;
    if arguments.prices {
        for asked in lock::prices(&site, &terminal, global.locked).await? {
            ui::print_prices(asked.title, &asked.prices);
        }
    }
    Ok(Exit::Done)
}
