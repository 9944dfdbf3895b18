//! One file: fetched in parts if need be, verified, and then given its name.

use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, RANGE};

use super::{Expected, Failure, FetchError, Fetcher, sha256_of, without_credentials};
use crate::event::Reporter;

/// So many new bytes show that a bad connection still leads somewhere.
const PROGRESS: u64 = 1 << 20;

impl Fetcher {
    /// Fetches one file into `to`, from the first source that has it, and verifies it.
    ///
    /// The bytes go to `to` with `.part` appended; an interrupted download goes on from there.
    /// `to` appears only when size and SHA-256 are right. Returns the source that served it.
    pub async fn file<'a>(
        &self,
        sources: &'a [String],
        expected: &Expected,
        to: &Path,
        reporter: &Reporter,
    ) -> Result<&'a str, FetchError> {
        let mut last = None;
        // The most bytes that were ever there: what is fetched twice is counted once.
        let mut counted = 0;
        for url in sources {
            match self.one(url, expected, to, &mut counted, reporter).await {
                Ok(()) => return Ok(url),
                Err(
                    error @ (FetchError::Cancelled(_)
                    | FetchError::Offline { .. }
                    | FetchError::Write { .. }),
                ) => return Err(error),
                Err(error) => {
                    reporter.log(format!("{error}"));
                    // A source that lacks the file says less than one that failed otherwise.
                    if !(matches!(error, FetchError::Gone { .. }) && last.is_some()) {
                        last = Some(error);
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| panic!("BUG: a file without a source")))
    }

    async fn attempt(
        &self,
        url: &str,
        expected: &Expected,
        to: &Path,
        counted: &mut u64,
        reporter: &Reporter,
    ) -> Result<(), Failure> {
        let written = |source| Failure::Final(FetchError::Write { path: to.to_owned(), source });
        let part = part_name(to);
        let mut file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&part)
            .map_err(written)?;
        let mut have = file.metadata().map_err(written)?.len();
        if expected.size.is_some_and(|size| have > size) {
            have = 0;
        }
        let mut resumed = have > 0;
        if expected.size != Some(have) || have == 0 {
            let mut request = self.get(url)?;
            if have > 0 {
                request = request.header(RANGE, format!("bytes={have}-"));
            }
            let sent = request.send().await;
            if let Ok(response) = &sent
                && response.status() == StatusCode::RANGE_NOT_SATISFIABLE
            {
                file.set_len(0).map_err(written)?;
            }
            let mut response = self.answered(url, sent)?;
            resumed = response.status() == StatusCode::PARTIAL_CONTENT
                && response
                    .headers()
                    .get(CONTENT_RANGE)
                    .and_then(|value| value.to_str().ok())
                    .is_some_and(|value| value.starts_with(&format!("bytes {have}-")));
            if !resumed {
                have = 0;
            }
            file.set_len(have).map_err(written)?;
            file.seek(std::io::SeekFrom::End(0)).map_err(written)?;
            advance_to(have, counted, reporter)?;
            let before = *counted;
            loop {
                let chunk = match response.chunk().await {
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => break,
                    Err(_) if *counted >= before + PROGRESS => return Err(Failure::Progressed),
                    Err(error) => return Err(self.broken(url, &error)),
                };
                have += chunk.len() as u64;
                if let Some(size) = expected.size
                    && have > size
                {
                    let found = format!("more than {size}");
                    let error = mismatch(url, "size", &size.to_string(), &found);
                    return Err(discarded(error, &part, resumed));
                }
                if let Err(error) = file.write_all(&chunk) {
                    make_room(&file, &error);
                    return Err(written(error));
                }
                reporter.fetched(chunk.len() as u64);
                advance_to(have, counted, reporter)?;
            }
            if let Some(size) = expected.size
                && have < size
            {
                if *counted >= before + PROGRESS {
                    return Err(Failure::Progressed);
                }
                let reason = format!("the body ended after {have} of {size} bytes");
                return Err(Failure::Transient(self.network(url, reason), None));
            }
        } else {
            advance_to(have, counted, reporter)?;
        }
        file.seek(std::io::SeekFrom::Start(0)).map_err(written)?;
        // Gigabytes take seconds to hash: not on a thread that others wait for.
        let (file, found) = tokio::task::spawn_blocking(move || {
            let found = sha256_of(&mut file);
            (file, found)
        })
        .await
        .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
        let found = found.map_err(written)?;
        if found != expected.sha256 {
            let error = mismatch(url, "SHA-256", &expected.sha256, &found);
            return Err(discarded(error, &part, resumed));
        }
        file.sync_data().map_err(written)?;
        std::fs::rename(&part, to).map_err(written)
    }

    /// Fetches from one source until it succeeds, fails for good, or patience ends.
    async fn one(
        &self,
        url: &str,
        expected: &Expected,
        to: &Path,
        counted: &mut u64,
        reporter: &Reporter,
    ) -> Result<(), FetchError> {
        let fetcher = self.telling(reporter);
        let mut retry = fetcher.retry(url)?;
        loop {
            match self.attempt(url, expected, to, counted, reporter).await {
                Ok(()) => return Ok(()),
                Err(failure) => retry.pause(failure).await.inspect_err(|error| {
                    if !matches!(error, FetchError::Cancelled(_)) {
                        forget_empty(to);
                    }
                })?,
            }
        }
    }
}

/// Reports what is new of `have` bytes.
fn advance_to(have: u64, counted: &mut u64, reporter: &Reporter) -> Result<(), Failure> {
    let new = have.saturating_sub(*counted);
    *counted += new;
    reporter.advance(new).map_err(|stop| Failure::Final(stop.into()))
}

/// Throws wrong bytes away. If part of them was from before, a fresh download may be right.
fn discarded(error: FetchError, part: &Path, resumed: bool) -> Failure {
    let _ = std::fs::remove_file(part);
    if resumed { Failure::Transient(error, None) } else { Failure::Final(error) }
}

/// Gives back some of a disk that is full, so that what went wrong can be written down.
fn make_room(part: &std::fs::File, error: &std::io::Error) {
    if error.kind() == std::io::ErrorKind::StorageFull
        && let Ok(found) = part.metadata()
    {
        let _ = part.set_len(found.len().saturating_sub(PROGRESS));
    }
}

/// Removes a part that nothing came of.
fn forget_empty(to: &Path) {
    let part = part_name(to);
    if std::fs::metadata(&part).is_ok_and(|found| found.len() == 0) {
        let _ = std::fs::remove_file(part);
    }
}

fn mismatch(url: &str, what: &'static str, expected: &str, found: &str) -> FetchError {
    FetchError::Mismatch {
        url: without_credentials(url),
        what,
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

pub(super) fn part_name(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}
