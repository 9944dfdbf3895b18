//! One file: fetched in parts if need be, verified, and then given its name.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode};

use super::file_lock::{FileLock, Waiting};
use super::{Expected, Failure, FetchError, Fetcher, Pace, answer, sha256_of, without_credentials};
use crate::blocking::blocking;
use crate::durable;
use crate::event::{Cancelled, Reporter};
use crate::exhausted::Exhausted;

/// So many new bytes show that a bad connection still leads somewhere.
const PROGRESS: u64 = 1 << 20;

impl Fetcher {
    /// Fetches one file into `to`, from the first source that has it, and verifies it.
    ///
    /// The bytes go to `to` with `.part` appended; an interrupted download goes on from there.
    /// `to` appears only when size and SHA-256 are right. Returns the source that served it, or none
    /// where a file of this size is there: it got its name once it was verified.
    ///
    /// Whoever fetches holds the unfinished file. All others wait for that, whatever step or command
    /// they are of, and fetch only what didn't come of it; `name` is what they say they wait for.
    pub async fn file<'a>(
        &self,
        name: &str,
        sources: &'a [String],
        expected: &Expected,
        to: &Path,
        reporter: &Reporter,
    ) -> Result<Option<&'a str>, FetchError> {
        // The most bytes that were ever there: what is fetched twice is counted once.
        let mut counted = 0;
        loop {
            let held = self.hold(name, sources, expected, to, &mut counted, reporter).await?;
            let Some(part) = held else {
                return Ok(None);
            };
            let mut download =
                Download { expected, to, part: &part, counted: &mut counted, reporter };
            match self.any(sources, &mut download).await? {
                Fetched::Named(url) => return Ok(Some(url)),
                Fetched::Lost => {
                    reporter.log(format!("{} was removed while it was written", to.display()));
                }
            }
        }
    }

    /// Waits until nobody else fetches the file; none once it is there.
    async fn hold(
        &self,
        name: &str,
        sources: &[String],
        expected: &Expected,
        to: &Path,
        counted: &mut u64,
        reporter: &Reporter,
    ) -> Result<Option<FileLock>, FetchError> {
        let part = part_name(to);
        let mut waiting = Waiting::new(&part, name, reporter);
        loop {
            // Nobody else can write it while it is held.
            let mine = if self.offline {
                None
            } else {
                let failed = |source| FetchError::Write { path: to.to_owned(), source };
                FileLock::attempt(&part).map_err(failed)?
            };
            if let Some(size) = size_there(to, expected) {
                advance_to(size, counted, reporter)?;
                reporter.reused(size);
                return Ok(None);
            }
            if mine.is_some() {
                return Ok(mine);
            }
            if self.offline {
                let url = sources.first().map_or("", String::as_str);
                return Err(FetchError::Offline { url: without_credentials(url) });
            }
            // What another one fetches is on its way here as well.
            advance_to(length(&part).unwrap_or(0), counted, reporter)?;
            waiting.pause().await?;
        }
    }

    async fn any<'a>(
        &self,
        sources: &'a [String],
        download: &mut Download<'_>,
    ) -> Result<Fetched<'a>, FetchError> {
        let mut last = None;
        for url in sources {
            match self.one(url, download).await {
                Ok(true) => return Ok(Fetched::Named(url)),
                Ok(false) => return Ok(Fetched::Lost),
                Err(
                    error @ (FetchError::Cancelled(_)
                    | FetchError::Offline { .. }
                    | FetchError::Write { .. }),
                ) => return Err(error),
                Err(error) => {
                    download.reporter.log(format!("{error}"));
                    // A source that lacks the file says less than one that failed otherwise.
                    if !(matches!(error, FetchError::Gone { .. }) && last.is_some()) {
                        last = Some(error);
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| panic!("BUG: a file without a source")))
    }

    /// Fetches from one source until it succeeds, fails for good, or patience ends. Says what
    /// [`Download::verify`] says.
    async fn one(&self, url: &str, download: &mut Download<'_>) -> Result<bool, FetchError> {
        let fetcher = self.telling(download.reporter);
        let mut retry = fetcher.retry(url)?;
        loop {
            match self.attempt(url, download).await {
                Ok(named) => return Ok(named),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    /// Fetches from one source once.
    async fn attempt(&self, url: &str, download: &mut Download<'_>) -> Result<bool, Failure> {
        let resumed = self.receive(url, download).await?;
        download.verify(url, resumed).await
    }

    /// Receives what the unfinished file lacks. Says whether it goes on from bytes that were there.
    async fn receive(&self, url: &str, download: &mut Download<'_>) -> Result<bool, Failure> {
        let size = download.expected.size;
        let mut file: &File = download.part.file();
        let written = download.written();
        let mut have = file.metadata().map_err(written)?.len();
        if size.is_some_and(|size| have > size) {
            have = 0;
        }
        if size == Some(have) && have > 0 {
            download.advance_to(have)?;
            return Ok(true);
        }
        let (mut response, resumed) = self.ask(url, have, download).await?;
        if !resumed {
            have = 0;
        }
        file.set_len(have).map_err(written)?;
        file.seek(std::io::SeekFrom::End(0)).map_err(written)?;
        download.advance_to(have)?;
        let enough = *download.counted + PROGRESS;
        let (begin, mut pace) = (have, Pace::of_file(self.patience.stall));
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(_) if *download.counted >= enough => return Err(Failure::Progressed),
                Err(error) => return Err(self.broken(url, &error)),
            };
            have += chunk.len() as u64;
            if let Some(size) = size
                && have > size
            {
                let found = format!("more than {size}");
                let error = mismatch(url, "size", &size.to_string(), &found);
                return Err(discarded(error, file, resumed));
            }
            if let Err(error) = file.write_all(&chunk) {
                make_room(file, &error);
                return Err(written(error));
            }
            download.reporter.fetched(chunk.len() as u64);
            download.advance_to(have)?;
            match pace.check(have - begin) {
                Ok(()) => {}
                Err(_) if *download.counted >= enough => return Err(Failure::Progressed),
                Err(reason) => return Err(Failure::Transient(self.network(url, reason), None)),
            }
        }
        match size {
            Some(size) if have < size => {
                if *download.counted >= enough {
                    return Err(Failure::Progressed);
                }
                let reason = format!("the body ended after {have} of {size} bytes");
                Err(Failure::Transient(self.network(url, reason), None))
            }
            _ => Ok(resumed),
        }
    }

    /// Asks for what comes after `have` bytes. Says whether the answer begins there, and not anew.
    async fn ask(
        &self,
        url: &str,
        have: u64,
        download: &Download<'_>,
    ) -> Result<(Response, bool), Failure> {
        let mut request = self.get(url)?;
        if have > 0 {
            request = request.header(RANGE, format!("bytes={have}-"));
        }
        let sent = answer(request, self.patience.stall).await;
        if let Ok(response) = &sent
            && response.status() == StatusCode::RANGE_NOT_SATISFIABLE
        {
            download.part.file().set_len(0).map_err(download.written())?;
        }
        let response = self.answered(url, sent)?;
        let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let resumed = response.status() == StatusCode::PARTIAL_CONTENT
            && range.is_some_and(|value| value.starts_with(&format!("bytes {have}-")));
        Ok((response, resumed))
    }
}

/// A file that is being fetched.
struct Download<'a> {
    expected: &'a Expected,
    to: &'a Path,
    /// The unfinished file, which nobody else writes.
    part: &'a FileLock,
    /// The most bytes that were ever there: what is fetched twice is counted once.
    counted: &'a mut u64,
    reporter: &'a Reporter,
}

impl<'a> Download<'a> {
    /// Gives the unfinished file its name if it is what it must be. Says whether it has it: somebody
    /// who keeps to no lock may have taken the unfinished one away.
    async fn verify(&self, url: &str, resumed: bool) -> Result<bool, Failure> {
        let written = self.written();
        let mut file: &File = self.part.file();
        file.seek(std::io::SeekFrom::Start(0)).map_err(written)?;
        // Gigabytes take seconds to hash: not on a thread that others wait for.
        let hashed = Arc::clone(self.part.file());
        let found = blocking(move || Ok::<_, FetchError>(sha256_of(&mut &*hashed)));
        let found = found.await.map_err(Failure::Final)?.map_err(written)?;
        if found != self.expected.sha256 {
            let error = mismatch(url, "SHA-256", &self.expected.sha256.hex(), &found.hex());
            return Err(discarded(error, file, resumed));
        }
        file.sync_data().map_err(written)?;
        // The very file that was hashed gets the name, or none does.
        if !self.part.has_name().map_err(written)? {
            return Ok(false);
        }
        durable::rename(&part_name(self.to), self.to).map_err(written)?;
        Ok(true)
    }

    fn advance_to(&mut self, have: u64) -> Result<(), Failure> {
        let stopped = |stop: Cancelled| Failure::Final(stop.into());
        advance_to(have, self.counted, self.reporter).map_err(stopped)
    }

    /// What a failure to write becomes.
    fn written(&self) -> impl Fn(std::io::Error) -> Failure + Copy + use<'a> {
        let to = self.to;
        move |source| Failure::Final(FetchError::Write { path: to.to_owned(), source })
    }
}

/// What holding an unfinished file came to.
enum Fetched<'a> {
    /// The file is there, from this source.
    Named(&'a str),
    /// The unfinished file lost its name.
    Lost,
}

/// What a file was found to be that may be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// What it is called.
    Whole,
    /// Not there, or there no longer: somebody else took it away.
    Missing,
    /// Something else, and removed.
    Discarded,
}

/// Removes a file that is not what it is called, so that it is fetched anew.
///
/// Versions before this one could name a file that two had written into.
pub fn discard_damaged(path: &Path, expected: &Expected) -> std::io::Result<Found> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Missing),
        Err(error) => return Err(error),
    };
    if sha256_of(&mut file)? == expected.sha256 {
        return Ok(Found::Whole);
    }
    let (ours, named) = (file.metadata()?, std::fs::metadata(path));
    let is_named = named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino()));
    if !is_named {
        return Ok(Found::Missing);
    }
    std::fs::remove_file(path)?;
    Ok(Found::Discarded)
}

/// The bytes of a finished file, if it is there.
fn size_there(to: &Path, expected: &Expected) -> Option<u64> {
    length(to).filter(|found| expected.size.is_none_or(|size| size == *found))
}

fn length(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().filter(Metadata::is_file).map(|found| found.len())
}

/// Reports what is new of `have` bytes.
fn advance_to(have: u64, counted: &mut u64, reporter: &Reporter) -> Result<(), Cancelled> {
    let new = have.saturating_sub(*counted);
    *counted += new;
    reporter.advance(new)
}

/// Throws wrong bytes away. If part of them was from before, a fresh download may be right.
fn discarded(error: FetchError, part: &File, resumed: bool) -> Failure {
    let _ = part.set_len(0);
    if resumed { Failure::Transient(error, None) } else { Failure::Final(error) }
}

/// Gives back some of a disk that is full, so that what went wrong can be written down.
fn make_room(part: &File, error: &std::io::Error) {
    if Exhausted::of_system(error) == Some(Exhausted::Disk)
        && let Ok(found) = part.metadata()
    {
        let _ = part.set_len(found.len().saturating_sub(PROGRESS));
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
