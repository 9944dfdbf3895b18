//! The beginnings of package files: their control files, and none of their data.
//!
//! A package's SHA-256 is that of its whole file, so that nothing verifies a beginning. What is read here is
//! good for telling people early what a build would say, and for nothing else.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::deb::{self, Control, Deb};
use super::packages::sources;
use super::scripts::SCRIPTS;
use super::{DebianError, LockedDebian, LockedPackage, Mirrors, database};
use crate::blocking::blocking;
use crate::event::Reporter;
use crate::fetch::{FetchError, Fetcher};
use crate::{bounded, durable};

/// What is asked for first: 19 of 20 packages have their control files in it.
const FIRST: u64 = 16 << 10;
/// What is longer isn't read early.
const LIMIT: u64 = 8 << 20;
/// How many are read at a time.
const PARALLEL: usize = 8;
/// So many that can't be had, and no more are asked for.
const PATIENCE: usize = 8;

/// Where the beginnings of packages come from, and are kept.
pub(super) struct Shelf<'a> {
    pub(super) fetcher: &'a Fetcher,
    pub(super) mirrors: &'a Mirrors,
    /// Whole packages, each under its SHA-256.
    pub(super) packages: &'a Path,
    /// Beginnings of packages, each under its package's SHA-256.
    pub(super) beginnings: &'a Path,
}

/// The control files of all locked packages, in the lock's order; none of those that can't be had.
pub(super) async fn controls(
    shelf: &Shelf<'_>,
    locked: &LockedDebian,
    reporter: &Reporter,
) -> Result<Vec<Option<Control>>, DebianError> {
    let (packages, beginnings) = (shelf.packages.to_owned(), shelf.beginnings.to_owned());
    let all = locked.packages.clone();
    let here = blocking(move || {
        let control = |package: &LockedPackage| here(package, &packages, &beginnings);
        Ok::<_, DebianError>(all.iter().map(control).collect::<Vec<_>>())
    });
    let mut controls = here.await?;
    let missing = controls.iter().filter(|control| control.is_none()).count();
    if missing == 0 || shelf.fetcher.is_offline() {
        return Ok(controls);
    }
    reporter.message(match missing {
        1 => "reading the scripts of a package".to_owned(),
        many => format!("reading the scripts of {many} packages"),
    });
    let failed = Arc::new(AtomicUsize::new(0));
    // Boxed: a closure over borrowed packages would keep the caller's future from being `Send`.
    let mut reads = Vec::with_capacity(missing);
    for (at, package) in locked.packages.iter().enumerate() {
        if controls[at].is_none() {
            let sources = sources(shelf.mirrors, locked, package);
            let (fetcher, to) = (shelf.fetcher, shelf.beginnings.join(package.sha256.hex()));
            reads.push(asked(at, fetcher, sources, package, to, &failed, reporter).boxed());
        }
    }
    let mut reads = stream::iter(reads).buffer_unordered(PARALLEL);
    while let Some((at, control)) = reads.try_next().await? {
        controls[at] = control;
    }
    Ok(controls)
}

/// What is on this machine already.
fn here(package: &LockedPackage, packages: &Path, beginnings: &Path) -> Option<Control> {
    let whole = packages.join(package.sha256.hex());
    let beginning = beginnings.join(package.sha256.hex());
    if whole.exists()
        && let Ok(deb) = Deb::open(&whole, package)
    {
        return Some(wanted(deb.control));
    }
    let bytes = bounded::read(&beginning, LIMIT).ok()?;
    read(package, &bytes)
}

/// Asks one source after the other.
async fn asked(
    at: usize,
    fetcher: &Fetcher,
    sources: Vec<String>,
    package: &LockedPackage,
    to: PathBuf,
    failed: &AtomicUsize,
    reporter: &Reporter,
) -> Result<(usize, Option<Control>), DebianError> {
    for source in sources {
        reporter.check()?;
        if failed.load(Ordering::Relaxed) >= PATIENCE {
            break;
        }
        match fetcher.beginning(&source, FIRST.min(package.size.max(1)), LIMIT, deb::needs).await {
            Ok(bytes) => {
                reporter.fetched(bytes.len() as u64);
                if let Some(control) = read(package, &bytes) {
                    // Kept for the next time. Without that it is asked for again.
                    let kept = blocking(move || {
                        durable::write(&to, &bytes, 0o644)
                            .map_err(DebianError::io("keeping a script"))
                    });
                    let _ = kept.await;
                    return Ok((at, Some(control)));
                }
                reporter.log(format!("{}: what came isn't its beginning", package.name));
            }
            Err(FetchError::Cancelled(cancelled)) => return Err(cancelled.into()),
            Err(error) => reporter.log(format!("{}: {error}", package.name)),
        }
    }
    failed.fetch_add(1, Ordering::Relaxed);
    Ok((at, None))
}

/// The control files in the beginning of a package file; none where it is another package's, or damaged.
fn read(package: &LockedPackage, bytes: &[u8]) -> Option<Control> {
    let control = Deb::read(Path::new(&package.path), package, bytes).ok()?.control;
    let fields = database::fields(&control);
    let is = |field: &str, value: &str| fields.get(field).is_some_and(|it| it == value);
    let right = is("Package", &package.name) && is("Version", &package.version);
    right.then(|| wanted(control))
}

/// What scripts are followed with.
fn wanted(mut control: Control) -> Control {
    control.retain(|name, _| {
        SCRIPTS.contains(&name.as_str()) || matches!(name.as_str(), "control" | "templates")
    });
    control
}
