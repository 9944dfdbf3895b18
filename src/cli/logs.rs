//! `goatbuild logs`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global, completions};
use crate::exec::Interrupt;
use crate::ops::logs::{self, Reader, Wanted};
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// A model, or a step such as `wheels:tiny/numpy`
    #[arg(add = ArgValueCandidates::new(completions::logged))]
    name: String,
    /// Go on printing what is added
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "LINES")]
    lines: Option<usize>,
}

/// Standard output.
struct Output;

impl Reader for Output {
    fn take(&self, bytes: &[u8]) {
        ui::print_bytes(bytes);
    }

    fn is_gone(&self) -> bool {
        ui::is_unread()
    }
}

pub(crate) async fn run(
    global: &Global,
    arguments: LogsArgs,
    interrupt: &Interrupt,
) -> Result<Exit, Report> {
    let LogsArgs { name, lines, follow } = arguments;
    let wanted = Wanted { name, lines, follow };
    let (site, terminal) = (global.site()?, Terminal::default());
    logs::logs(&site, &terminal, &wanted, &Output, interrupt).await?;
    Ok(Exit::Done)
}
