//! One writer at a time: whoever makes a file that others want too holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::time::Instant;

use super::FetchError;
use crate::event::{Cancelled, Reporter};

/// A file that one writer has to itself, among all steps and all commands on this machine.
///
/// It may be a lock file, or an unfinished file that the next writer goes on with. Dropping it, or
/// dying, frees it. What is empty then is removed; so a lock file outlives nobody but the killed.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    file: Arc<File>,
}

impl FileLock {
    /// Takes hold of a file, which is made if need be; `None` while somebody else has it.
    pub(crate) fn attempt(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                // What a link leads to is somebody else's, and has another name.
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let lock = Self { path: path.to_owned(), file: Arc::new(file) };
            // Who had it may have renamed or removed it between the opening and the lock.
            if lock.has_name()? {
                return Ok(Some(lock));
            }
        }
    }

    /// Waits until nobody else holds a lock file; `name` is what who holds it makes.
    pub(crate) async fn wait(
        path: &Path,
        name: &str,
        reporter: &Reporter,
    ) -> Result<Self, FetchError> {
        let mut waiting = Waiting::new(path, name, reporter);
        loop {
            match Self::attempt(path) {
                Ok(Some(lock)) => return Ok(lock),
                Ok(None) => waiting.pause().await?,
                Err(source) => return Err(FetchError::Write { path: path.to_owned(), source }),
            }
        }
    }

    /// The open file. The lock lasts until the last of its handles is closed.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Whether the name still leads to this very file.
    pub(crate) fn has_name(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match std::fs::symlink_metadata(&self.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        let is_empty = self.file.metadata().is_ok_and(|found| found.len() == 0);
        if is_empty && self.has_name().unwrap_or(false) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The first pause between two looks; small files take no longer.
const SHORT: Duration = Duration::from_millis(4);
/// The longest pause between two looks.
const LONG: Duration = Duration::from_millis(128);
/// Nobody has to know of a shorter wait.
const TOLD: Duration = Duration::from_secs(5);

/// A wait for whoever holds a file.
///
/// Asked again and again, since no wait for a lock can be given up.
pub(crate) struct Waiting<'a> {
    path: &'a Path,
    /// What is being made.
    name: &'a str,
    reporter: &'a Reporter,
    since: Instant,
    pause: Duration,
    told: bool,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(path: &'a Path, name: &'a str, reporter: &'a Reporter) -> Self {
        Self { path, name, reporter, since: Instant::now(), pause: SHORT, told: false }
    }

    /// As if the wait had begun so much earlier.
    #[cfg(test)]
    pub(super) fn begin_earlier(&mut self, by: Duration) {
        self.since -= by;
    }

    /// Waits a moment, unless the work should stop. Says once who is waited for, if that takes long.
    pub(crate) async fn pause(&mut self) -> Result<(), Cancelled> {
        self.reporter.check()?;
        if !self.told && self.since.elapsed() >= TOLD {
            self.told = true;
            let who = who_holds(self.path);
            self.reporter.notice(format!("waiting for {who} to finish {}", self.name));
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONG);
        Ok(())
    }
}

/// Who has a file locked, in words.
pub(super) fn who_holds(path: &Path) -> String {
    match holder(path) {
        Some(pid) if pid == std::process::id() => "another step".to_owned(),
        Some(pid) => format!("process {pid}"),
        None => "another goatbuild".to_owned(),
    }
}

/// The process that has a file locked, where the kernel lists it.
///
/// A line reads `3: FLOCK  ADVISORY  WRITE 4711 fe:01:131141 0 EOF`, the device in hexadecimal
/// (proc(5)).
fn holder(path: &Path) -> Option<u32> {
    let found = std::fs::metadata(path).ok()?;
    let device = found.dev();
    let place = format!(
        "{:02x}:{:02x}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device),
        found.ino()
    );
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let mut held = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    held.find_map(|fields| match fields[..] {
        [_, "FLOCK", _, _, pid, at, ..] if at == place => pid.parse().ok(),
        _ => None,
    })
}
