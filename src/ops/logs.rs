//! The log of a model's server, or of a step's last run.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::Frontend;
use super::open::{self, Site};
use crate::exec::Interrupt;
use crate::step::StepId;
use crate::targets::Target;

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

/// There is something that can't be read.
#[derive(Debug, Error, Diagnostic)]
#[error("the log is `{source}`, expected a readable file")]
#[diagnostic(code(goatbuild::usage::variable))]
struct Unreadable {
    source: std::io::Error,
}

/// Which log is wanted, and how much of it.
#[derive(Debug)]
pub struct Wanted {
    /// A model, or a step.
    pub name: String,
    /// Only so many last lines.
    pub lines: Option<usize>,
    /// Whatever is added, too.
    pub follow: bool,
}

/// Whoever reads a log.
pub trait Reader: Sync {
    /// Takes the next piece.
    fn take(&self, bytes: &[u8]);

    /// Whether nobody reads any more.
    fn is_gone(&self) -> bool;
}

/// Passes a log on to a reader.
pub async fn logs(
    site: &Site,
    frontend: &dyn Frontend,
    wanted: &Wanted,
    reader: &dyn Reader,
    interrupt: &Interrupt,
) -> Result<(), Report> {
    let _attended = interrupt.attend();
    let (workspace, _) = open::anyway(site, frontend)?;
    let name = &wanted.name;
    let log = if name.contains(':') {
        let attempt = workspace.store.last_attempt(&StepId::from(name.as_str()))?;
        let log = attempt.map(|attempt| workspace.store.root().join(attempt.log));
        if log.as_ref().is_some_and(|log| !log.exists()) {
            frontend.note(&format!("{name} ran and logged nothing"));
            return Ok(());
        }
        log
    } else {
        workspace.look().await?;
        let mut targets = workspace.targets_of(name).into_iter();
        if let Some(logs) = targets.find_map(Target::logs) {
            if logs.has_none(name) {
                return Err(NoLog { name: name.clone() }.into());
            }
            let stop = async {
                while !interrupt.asked() && !reader.is_gone() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            let (lines, follow) = (wanted.lines, wanted.follow);
            let take = |bytes: &[u8]| reader.take(bytes);
            logs.print(name, lines, follow, &take, Box::pin(stop)).await?;
            return Ok(());
        }
        let found = workspace.targets.all().find_map(|target| target.log(name));
        if found.is_none() && !workspace.project.left_out.models.contains(name) {
            workspace.project.known(name)?;
        }
        found
    };
    let log = log.ok_or_else(|| NoLog { name: name.clone() })?;
    pass_on(&log, wanted, reader, interrupt).await.map_err(|source| Unreadable { source }.into())
}

async fn pass_on(
    log: &Path,
    wanted: &Wanted,
    reader: &dyn Reader,
    interrupt: &Interrupt,
) -> std::io::Result<()> {
    let mut file = std::fs::File::open(log)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let mut at = text.len() as u64;
    let shown = match wanted.lines {
        Some(count) => {
            let body = text.strip_suffix(b"\n").unwrap_or(&text);
            let breaks = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
            let start =
                count.checked_sub(1).and_then(|skip| breaks.map(|(at, _)| at + 1).nth(skip));
            if count == 0 { &[][..] } else { &text[start.unwrap_or(0)..] }
        }
        None => &text[..],
    };
    reader.take(shown);
    while wanted.follow && !interrupt.asked() && !reader.is_gone() {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut file = std::fs::File::open(log)?;
        file.seek(SeekFrom::Start(at))?;
        let mut more = Vec::new();
        file.read_to_end(&mut more)?;
        at += more.len() as u64;
        reader.take(&more);
    }
    Ok(())
}
