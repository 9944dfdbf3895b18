//! `goatbuild status`.

use clap::Args;
use miette::Report;

use super::arguments::dollars;
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
    #[arg(long, value_name = "USD", value_parser = dollars)]
    budget: Option<f64>,
}

pub(crate) async fn run(global: &Global, arguments: &StatusArgs) -> Result<Exit, Report> {
    let (site, budget) = (global.site()?, arguments.budget);
    let (rows, spending) = status::status(&site, &Terminal::default(), budget).await?;
    // How things stand is told even where nobody can say what they cost.
    let (spending, unknown) = match spending {
        Some(Ok(spending)) => (Some(spending), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    if unknown.is_none() || !arguments.json {
        ui::print_status(&rows, spending.as_ref(), arguments.json);
    }
    if let Some(error) = unknown {
        return Err(error);
    }
    let is_over = spending.is_some_and(|it| it.is_over());
    Ok(if is_over { Exit::Changes } else { Exit::Done })
}
