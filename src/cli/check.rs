//! `goatbuild check`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::arguments::dollars;
use super::frontend::Terminal;
use super::{Exit, Global, completions};
use crate::exec::Interrupt;
use crate::ops::check::{self, Finding};
use crate::ops::trial;
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Try out what goatbuild takes for granted of the target of this model, which is deployed: on
    /// a real account, with small programs and one question to the model
    #[arg(long, value_name = "MODEL", requires = "max_cost",
        add = ArgValueCandidates::new(completions::models))]
    live: Option<String>,
    /// Begin only if the question can't cost more than this for GPU time, in US dollars
    #[arg(long, value_name = "USD", value_parser = dollars, requires = "live")]
    max_cost: Option<f64>,
    /// Try out only this row of docs/modal.md
    #[arg(long = "row", value_name = "ROW", requires = "live")]
    rows: Vec<String>,
    /// Read every byte of the weights that are on this machine for this environment, and nothing else;
    /// damaged files are taken away, and the next apply brings them again
    #[arg(long, conflicts_with = "live")]
    weights: bool,
}

pub(crate) async fn run(
    global: &Global,
    arguments: &CheckArgs,
    interrupt: &Interrupt,
) -> Result<Exit, Report> {
    let site = global.site()?;
    let CheckArgs { live, max_cost, rows, weights } = arguments;
    let tell = |finding| match finding {
        Finding::Checked(check) => ui::print_check(&check),
        Finding::Warned(warnings) => ui::print_warnings(&warnings),
    };
    let fine = if *weights {
        check::weights(&site, &Terminal::default(), &tell).await?
    } else if let Some((model, max_cost)) = live.as_deref().zip(*max_cost) {
        let wanted = trial::Wanted { model, rows, max_cost };
        trial::try_out(&site, &Terminal::default(), &wanted, &ui::print_shown, interrupt).await?
    } else {
        check::check(&site, &Terminal::default(), &tell).await?
    };
    Ok(if fine { Exit::Done } else { Exit::Failed })
}
