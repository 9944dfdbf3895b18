//! `goatbuild status`.

use clap::Args;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global};
use crate::ops::status;
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Exit with 2 when more than this, in US dollars, was spent today (UTC) where models are served, by
    /// the bill and by what is up; and tell who is up since when
    #[arg(long, value_name = "USD")]
    budget: Option<f64>,
}

pub(crate) async fn run(global: &Global, arguments: &StatusArgs) -> Result<Exit, Report> {
    let (site, budget) = (global.site()?, arguments.budget);
    let (rows, spending) = status::status(&site, &Terminal::default(), budget).await?;
    ui::print_status(&rows, spending.as_ref(), arguments.json);
    let is_over = spending.is_some_and(|it| it.is_over());
    Ok(if is_over { Exit::Changes } else { Exit::Done })
}
