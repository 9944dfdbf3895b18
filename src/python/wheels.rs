//! Fetching locked wheels, in parallel, from where they were locked or from a mirror.

use std::path::{Path, PathBuf};

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::PythonError;
use super::index::Index;
use crate::event::Reporter;
use crate::fetch::{Expected, FetchError, Fetcher};
use crate::lock::pylock::LockedWheel;

/// As many as fill a line; more only make an index answer 429.
const PARALLEL: usize = 6;

/// Fetches every wheel to `<sha256>.whl` under `into`; returns the paths in the given order.
///
/// A file that is there has been verified when it was written, and is not fetched again.
pub async fn fetch_wheels(
    fetcher: &Fetcher,
    wheels: &[LockedWheel],
    into: &Path,
    reporter: &Reporter,
) -> Result<Vec<PathBuf>, PythonError> {
    let index = Index::configured(|name| std::env::var(name).ok());
    fetch_through(fetcher, index.as_ref(), wheels, into, reporter).await
}

/// How many bytes of these wheels are under `into` already.
pub fn wheels_there(wheels: &[LockedWheel], into: &Path) -> u64 {
    wheels.iter().filter(|wheel| is_there(wheel, into)).filter_map(|wheel| wheel.size).sum()
}

/// Where a wheel is under `into`, or would be.
pub fn path_of(wheel: &LockedWheel, into: &Path) -> PathBuf {
    into.join(format!("{}.whl", wheel.sha256.hex()))
}

fn is_there(wheel: &LockedWheel, into: &Path) -> bool {
    let found = std::fs::metadata(path_of(wheel, into));
    found.is_ok_and(|found| wheel.size.is_none_or(|size| size == found.len()))
}

/// [`fetch_wheels`] with the index given.
pub(super) async fn fetch_through(
    fetcher: &Fetcher,
    index: Option<&Index>,
    wheels: &[LockedWheel],
    into: &Path,
    reporter: &Reporter,
) -> Result<Vec<PathBuf>, PythonError> {
    tokio::fs::create_dir_all(into).await.map_err(PythonError::io(into))?;
    let path_of = |wheel: &LockedWheel| path_of(wheel, into);
    let mut missing: Vec<&LockedWheel> = Vec::new();
    for wheel in wheels {
        let there = is_there(wheel, into);
        // One file twice would be two writers of one path.
        if !there && !missing.iter().any(|other| other.sha256 == wheel.sha256) {
            missing.push(wheel);
        }
    }
    // The large ones first: the last to end is then a small one.
    missing.sort_by_key(|wheel| std::cmp::Reverse(wheel.size));
    reporter.expect(missing.iter().filter_map(|wheel| wheel.size).sum());
    // Boxed: a closure over borrowed wheels would keep the caller's future from being `Send`.
    let mut downloads = Vec::with_capacity(missing.len());
    for wheel in missing {
        downloads.push(fetch_one(fetcher, index, wheel, path_of(wheel), reporter).boxed());
    }
    stream::iter(downloads).buffer_unordered(PARALLEL).try_collect::<()>().await?;
    Ok(wheels.iter().map(path_of).collect())
}

async fn fetch_one(
    fetcher: &Fetcher,
    index: Option<&Index>,
    wheel: &LockedWheel,
    to: PathBuf,
    reporter: &Reporter,
) -> Result<(), PythonError> {
    let expected = Expected { size: wheel.size, sha256: wheel.sha256 };
    let locked = match index {
        Some(index) => index.with_credentials(&wheel.url),
        None => wheel.url.clone(),
    };
    let first = match fetcher.file(&wheel.filename, &[locked], &expected, &to, reporter).await {
        Ok(_) => return Ok(()),
        Err(
            error @ (FetchError::Cancelled(_)
            | FetchError::Offline { .. }
            | FetchError::Write { .. }),
        ) => return Err(error.into()),
        Err(error) => error,
    };
    let mirror = match index {
        Some(index) => match index.find(fetcher, &wheel.name, &wheel.filename).await {
            Ok(found) => found,
            // Whether the wheel is gone is then unknown; any other failure says more.
            Err(error) if matches!(first, FetchError::Gone { .. }) => return Err(error.into()),
            Err(_) => None,
        },
        None => None,
    };
    let last = match mirror {
        Some(mirror) => {
            match fetcher.file(&wheel.filename, &[mirror], &expected, &to, reporter).await {
                Ok(_) => return Ok(()),
                // That the mirror lacks it says less than how the first source failed.
                Err(FetchError::Gone { .. }) => first,
                Err(error) => error,
            }
        }
        None => first,
    };
    Err(match last {
        FetchError::Gone { .. } => PythonError::Gone {
            package: wheel.name.clone(),
            version: wheel.version.clone(),
            filename: wheel.filename.clone(),
        },
        other => other.into(),
    })
}
