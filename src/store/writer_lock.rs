//! One writer at a time: a lock file that names its holder.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bounded;

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// What it does: `apply`, `destroy`, ….
    pub command: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// Why the lock was not taken.
#[derive(Debug, Error, Diagnostic)]
pub enum WriterLockError {
    /// Another goatbuild holds it.
    #[error("another goatbuild is at work here: {holder}")]
    #[diagnostic(
        code(goatbuild::store::locked),
        help(
            "wait for it, or give this one more time with --lock-timeout SECONDS; a lock whose process died is free at once"
        )
    )]
    Timeout {
        /// Who, in words.
        holder: String,
    },
    /// The lock file can't be used.
    #[error("{} can't be locked: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::store::lock_file),
        help("check the free space and the permissions")
    )]
    Unusable {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Held while a command writes. Dropping it, or dying, frees it.
#[derive(Debug)]
pub struct WriterLock {
    file: File,
    path: PathBuf,
}

impl WriterLock {
    /// Takes the lock, waiting at most `timeout`. `waiting` is told once for whom it waits.
    ///
    /// Returns whether it had to wait, in which case the world may have moved.
    pub async fn take(
        path: &Path,
        command: &str,
        timeout: Duration,
        waiting: impl FnOnce(&str),
    ) -> Result<(Self, bool), WriterLockError> {
        let unusable = |source| WriterLockError::Unusable { path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(unusable)?;
        let mut waiting = Some(waiting);
        let step = Duration::from_millis(100);
        let mut left = timeout;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(unusable(source)),
                Err(TryLockError::WouldBlock) if left.is_zero() => {
                    return Err(WriterLockError::Timeout { holder: holder(&mut file) });
                }
                Err(TryLockError::WouldBlock) => {
                    if let Some(tell) = waiting.take() {
                        tell(&holder(&mut file));
                    }
                    let pause = step.min(left);
                    tokio::time::sleep(pause).await;
                    left -= pause;
                }
            }
        }
        let me = Holder {
            pid: std::process::id(),
            command: command.to_owned(),
            since: crate::clock::now(),
        };
        let text = serde_json::to_string(&me).unwrap_or_default();
        file.set_len(0).map_err(unusable)?;
        file.rewind().map_err(unusable)?;
        file.write_all(text.as_bytes()).map_err(unusable)?;
        Ok((Self { file, path: path.to_owned() }, waiting.is_none()))
    }

    /// Whether it is where it was taken: what it keeps others from may have been removed meanwhile, or moved.
    pub fn is_there(&self) -> bool {
        let identity = |found: Metadata| (found.dev(), found.ino());
        let held = self.file.metadata().map(identity).ok();
        held == std::fs::metadata(&self.path).map(identity).ok()
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(bounded::TEXT).read_to_string(&mut text));
    match (read, serde_json::from_str::<Holder>(&text)) {
        (Ok(_), Ok(holder)) => {
            format!("`{}`, process {}, since {}", holder.command, holder.pid, holder.since)
        }
        _ => "a process that has not said its name yet".to_owned(),
    }
}
