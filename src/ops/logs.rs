//! The log of a model's server, or of a step's last run.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
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
#[error("the log can't be read: {source}")]
#[diagnostic(code(goatbuild::logs::unreadable))]
struct Unreadable {
    source: io::Error,
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
) -> io::Result<()> {
    let file = std::fs::File::open(log)?;
    let mut at = wanted.lines.map_or(Ok(0), |count| last_lines(&file, count))?;
    at = copy(&file, at, reader, interrupt)?;
    while wanted.follow && !interrupt.asked() && !reader.is_gone() {
        tokio::time::sleep(Duration::from_millis(200)).await;
        at = copy(&std::fs::File::open(log)?, at, reader, interrupt)?;
    }
    Ok(())
}

/// Bytes of a log that are in memory at a time: it may have any number.
const BLOCK: usize = 1 << 20;

/// Passes on what a log has from byte `at` on now; gives where it ends.
fn copy(file: &File, mut at: u64, reader: &dyn Reader, interrupt: &Interrupt) -> io::Result<u64> {
    let end = file.metadata()?.len();
    let mut block = vec![0; BLOCK];
    while at < end && !interrupt.asked() && !reader.is_gone() {
        let read = file.read_at(&mut block, at)?;
        if read == 0 {
            break;
        }
        reader.take(&block[..read]);
        at += read as u64;
    }
    Ok(at)
}

/// Where the last `count` lines of a log begin.
fn last_lines(file: &File, count: usize) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let (mut at, mut left) = (length, count);
    let mut block = vec![0; BLOCK];
    while at > 0 && left > 0 {
        let start = at.saturating_sub(BLOCK as u64);
        let part = &mut block[..usize::try_from(at - start).unwrap_or(BLOCK)];
        file.read_exact_at(part, start)?;
        for (index, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let begins = start + index as u64 + 1;
            // What ends the last line begins none.
            left -= usize::from(begins < length);
            if left == 0 {
                return Ok(begins);
            }
        }
        at = start;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[test]
    fn the_last_lines_are_found_from_the_end_of_a_log_of_any_size() {
        let mut log = tempfile::tempfile().unwrap();
        let lines_of = |text: &str, count: usize| {
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            lines[lines.len().saturating_sub(count)..].concat()
        };
        let endless = format!("{}\n", "x".repeat(3 * BLOCK));
        for text in
            ["", "\n", "a", "a\n", "a\nb", "a\nb\n", "\n\n\n", &format!("a\n{endless}b\n{endless}")]
        {
            log.set_len(0).unwrap();
            log.rewind().unwrap();
            log.write_all(text.as_bytes()).unwrap();
            for count in 0..5 {
                let from = usize::try_from(last_lines(&log, count).unwrap()).unwrap();
                assert_eq!(text.len() - from, lines_of(text, count).len(), "{count} of {text:.20}");
            }
        }
        // Sparse: nobody reads through so much.
        log.set_len(1 << 40).unwrap();
        log.seek(std::io::SeekFrom::End(0)).unwrap();
        log.write_all(b"\nlast\n").unwrap();
        assert_eq!(last_lines(&log, 1).unwrap(), (1 << 40) + 1);
    }
}
