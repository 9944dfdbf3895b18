//! `goatbuild logs`.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::session::UsageError;
use super::{Exit, Global, completions, part, session};
use crate::exec::Interrupt;
use crate::step::StepId;
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

/// There is nothing to print.
#[derive(Debug, Error, Diagnostic)]
#[error("{name} has no log yet")]
#[diagnostic(
    code(goatbuild::logs::none),
    help("it never ran here, or `cache/` was deleted; run `goatbuild apply`")
)]
struct NoLog {
    name: String,
}

pub(crate) async fn run(
    global: &Global,
    arguments: &LogsArgs,
    interrupt: &Interrupt,
) -> Result<Exit, Report> {
    let _attended = interrupt.attend();
    let (workspace, _) = part::open_anyway(global)?;
    let name = &arguments.name;
    let log = if name.contains(':') {
        let attempt = workspace.store.last_attempt(&StepId::from(name.as_str()))?;
        let log = attempt.map(|attempt| workspace.store.root().join(attempt.log));
        if log.as_ref().is_some_and(|log| !log.exists()) {
            ui::note(&format!("{name} ran and logged nothing"));
            return Ok(Exit::Done);
        }
        log
    } else {
        workspace.look().await?;
        if let Some(modal) = workspace.modal_of(name) {
            if modal.has_no_app(name) {
                return Err(NoLog { name: name.clone() }.into());
            }
            let stop = async {
                while !interrupt.asked() && !ui::is_unread() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            let (lines, follow) = (arguments.lines, arguments.follow);
            modal.print_logs(name, lines, follow, &ui::print_bytes, stop).await?;
            return Ok(Exit::Done);
        }
        let found = workspace.targets.all().find_map(|target| target.log(name));
        if found.is_none() && !workspace.project.left_out.models.contains(name) {
            session::known(&workspace, name)?;
        }
        found
    };
    let log = log.ok_or_else(|| NoLog { name: name.clone() })?;
    let printed = print_log(&log, arguments, interrupt).await;
    printed.map(|()| Exit::Done).map_err(|source| {
        Report::from(UsageError::Variable {
            variable: "the log",
            value: source.to_string(),
            expected: "a readable file",
        })
    })
}

async fn print_log(log: &Path, arguments: &LogsArgs, interrupt: &Interrupt) -> std::io::Result<()> {
    let mut file = std::fs::File::open(log)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let mut at = text.len() as u64;
    let shown = match arguments.lines {
        Some(count) => {
            let body = text.strip_suffix(b"\n").unwrap_or(&text);
            let breaks = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
            let start =
                count.checked_sub(1).and_then(|skip| breaks.map(|(at, _)| at + 1).nth(skip));
            if count == 0 { &[][..] } else { &text[start.unwrap_or(0)..] }
        }
        None => &text[..],
    };
    ui::print_bytes(shown);
    while arguments.follow && !interrupt.asked() && !ui::is_unread() {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut file = std::fs::File::open(log)?;
        file.seek(SeekFrom::Start(at))?;
        let mut more = Vec::new();
        file.read_to_end(&mut more)?;
        at += more.len() as u64;
        ui::print_bytes(&more);
    }
    Ok(())
}
