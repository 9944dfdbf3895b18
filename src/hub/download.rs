//! One file's download: several ranges at once, or one stream where a server knows no ranges.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode, Url};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::cache::failed;
use super::client::{About, Answer};
use super::digest::name;
use super::part::{Part, Run};
use super::{Hub, HubError, WeightsError};
use crate::blocking::blocking;
use crate::disk::available;
use crate::event::Reporter;
use crate::exhausted::Exhausted;
use crate::fetch::{Failure, Pace};
use crate::lock::hub::{FileDigest, RemoteFile};

/// So many answers arrive at once, of all files together.
pub(super) const CONNECTIONS: usize = 8;

/// Blocks that one request asks for. More of them make fewer requests, which hubs count; fewer keep
/// what arrives close to what is hashed.
const BLOCKS: usize = 16;

/// One file on its way.
pub(super) struct Download {
    hub: Hub,
    repository: String,
    commit: String,
    file: RemoteFile,
    url: Url,
    /// Where the hub said that the bytes are. It says so for a while only.
    elsewhere: Mutex<Option<Url>>,
    part: Arc<Part>,
    connections: Arc<Semaphore>,
    reporter: Reporter,
}

/// Ends the hashing of a file that will not be completed.
struct Hashing<'a>(&'a Part);

impl Drop for Hashing<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Download {
    /// Takes up what there is of a file.
    pub(super) fn begin(
        hub: &Hub,
        repository: &str,
        commit: &str,
        file: &RemoteFile,
        blobs: &Path,
        connections: &Arc<Semaphore>,
        reporter: &Reporter,
    ) -> Result<Arc<Self>, HubError> {
        let part = Part::open(blobs, file).map_err(|error| full_or(error, blobs, file.size))?;
        Ok(Arc::new(Self {
            hub: hub.clone(),
            repository: repository.to_owned(),
            commit: commit.to_owned(),
            file: file.clone(),
            url: hub.file_url(repository, commit, &file.path),
            elsewhere: Mutex::default(),
            part: Arc::new(part),
            connections: Arc::clone(connections),
            reporter: reporter.clone(),
        }))
    }

    /// Bytes that are on disk.
    pub(super) fn here(&self) -> u64 {
        self.part.here()
    }

    /// Fetches what is missing, and gives the file its name if it is what was listed.
    pub(super) async fn complete(self: &Arc<Self>, blob: &Path) -> Result<(), HubError> {
        let hashing = Hashing(&self.part);
        let (part, kind) = (Arc::clone(&self.part), self.file.digest.kind());
        let hashed = tokio::spawn(blocking(move || {
            let unreadable = |source| WeightsError::Read { path: part.path().to_owned(), source };
            part.hash(kind).map_err(unreadable)
        }));
        self.arrive().await?;
        let hashed = hashed.await;
        let hashed = hashed.unwrap_or_else(|lost| std::panic::resume_unwind(lost.into_panic()));
        let found = hashed?;
        drop(hashing);
        let part = Arc::clone(&self.part);
        if found == Some(self.file.digest) {
            let to = blob.to_owned();
            let named = move || part.finish(&to).map_err(|error| full_or(error, &to, 0));
            return blocking(named).await;
        }
        blocking(move || part.discard().map_err(failed(part.path()))).await?;
        Err(HubError::Damaged {
            repository: self.repository.clone(),
            path: self.file.path.clone(),
            what: name(self.file.digest),
            listed: self.file.digest.hex(),
            found: found.map(FileDigest::hex).unwrap_or_default(),
        })
    }

    /// Fetches until no block is missing.
    async fn arrive(self: &Arc<Self>) -> Result<(), HubError> {
        let mut others = JoinSet::new();
        let led = self.work(|| {
            // Only now it is known that ranges are served.
            if others.is_empty() && self.part.has_missing() {
                for _ in 1..CONNECTIONS {
                    let helper = Arc::clone(self);
                    others.spawn(async move { helper.work(|| ()).await });
                }
            }
        });
        led.await?;
        // Whoever waits to try again has nothing left to try.
        while !self.part.is_complete() {
            let Some(ended) = others.join_next().await else {
                panic!("BUG: blocks are missing that nobody fetches")
            };
            ended.unwrap_or_else(|lost| std::panic::resume_unwind(lost.into_panic()))?;
        }
        Ok(())
    }

    /// Fetches one run after the other while there are any; tells of each that is answered.
    async fn work(&self, mut answered: impl FnMut()) -> Result<(), HubError> {
        let mut retry = self.hub.retry(&self.url)?;
        while let Some(mut run) = self.part.claim(BLOCKS) {
            let outcome = {
                let _slot = self.connections.acquire().await;
                match self.ask(&mut run).await {
                    Ok(response) => {
                        answered();
                        self.receive(response, &mut run).await
                    }
                    Err(failure) => Err(failure),
                }
            };
            drop(run);
            match outcome {
                Ok(()) => retry = self.hub.retry(&self.url)?,
                Err(failure) => retry.pause(self.told(failure)).await?,
            }
        }
        Ok(())
    }

    /// Lets the log know of a failure that is tried again.
    fn told(&self, failure: Failure<HubError>) -> Failure<HubError> {
        if let Failure::Transient(error, _) = &failure {
            self.reporter.log(format!("{}: {error}", self.file.path));
        }
        failure
    }

    fn elsewhere(&self) -> MutexGuard<'_, Option<Url>> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a run of blocks. If the server has no ranges, the run becomes the whole file.
    async fn ask(&self, run: &mut Run) -> Result<Response, Failure<HubError>> {
        let about = About {
            repository: &self.repository,
            revision: Some(&self.commit),
            path: Some(&self.file.path),
        };
        let place = run.place();
        let range = (!run.is_whole()).then(|| format!("bytes={}-{}", place.start, place.end - 1));
        let elsewhere = self.elsewhere().clone();
        let url = elsewhere.as_ref().unwrap_or(&self.url);
        let Answer { response, elsewhere, said } =
            match self.hub.ask(&about, url, range.as_deref()).await {
                Ok(answer) => answer,
                Err(failure) => {
                    *self.elsewhere() = None;
                    return Err(failure);
                }
            };
        said.check(&self.repository, &self.commit, &self.file).map_err(Failure::Final)?;
        if elsewhere.is_some() {
            *self.elsewhere() = elsewhere;
        }
        let size = self.file.size;
        if range.is_some() && response.status() == StatusCode::PARTIAL_CONTENT {
            let of = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
            let (served, total) = of.and_then(|of| of.split_once('/')).unwrap_or_default();
            if total.parse().is_ok_and(|total: u64| total != size) {
                return Err(Failure::Final(self.changed_size(total)));
            }
            if served.starts_with(&format!("bytes {}-", place.start)) {
                return Ok(response);
            }
            let reason = format!("a wrong range came: `{served}`");
            return Err(self.hub.interrupted(url, reason));
        }
        match response.content_length() {
            Some(length) if length != size => {
                return Err(Failure::Final(self.changed_size(&length.to_string())));
            }
            _ => {}
        }
        if range.is_some() && !run.widen() {
            let reason = "ranges are served now and then only".to_owned();
            return Err(self.hub.interrupted(url, reason));
        }
        Ok(response)
    }

    /// Takes a run's blocks out of an answer.
    async fn receive(
        &self,
        mut response: Response,
        run: &mut Run,
    ) -> Result<(), Failure<HubError>> {
        let (mut kept, mut come) = (0, 0);
        let mut pace = Pace::of_file(self.hub.patience.stall);
        let mut pieces: Vec<Bytes> = Vec::new();
        let mut have = 0;
        let ended = loop {
            let mut chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) if run.is_done() => return Ok(()),
                Ok(None) => {
                    let at = run.place().start + have;
                    let reason = format!("the body ended before byte {at} of {}", self.file.size);
                    break self.hub.interrupted(&self.url, reason);
                }
                Err(error) => break self.hub.broken(&self.url, &error),
            };
            self.reporter.fetched(chunk.len() as u64);
            come += chunk.len() as u64;
            if let Err(reason) = pace.check(come) {
                break self.hub.interrupted(&self.url, reason);
            }
            while !chunk.is_empty() {
                let Some(length) = run.awaited() else {
                    let found = format!("more than {}", self.file.size);
                    return Err(Failure::Final(self.changed_size(&found)));
                };
                let missing = usize::try_from(length - have).unwrap_or(usize::MAX);
                let piece = chunk.split_to(missing.min(chunk.len()));
                have += piece.len() as u64;
                pieces.push(piece);
                if have == length {
                    have = 0;
                    let new = run.keep(std::mem::take(&mut pieces), &self.reporter).await;
                    kept += new.map_err(|error| {
                        let missing = self.file.size - self.part.here();
                        Failure::Final(full_or(error, self.part.path(), missing))
                    })?;
                    self.reporter.check().map_err(|stop| Failure::Final(stop.into()))?;
                }
            }
        };
        // A connection that breaks, but leads somewhere, is as good as another.
        Err(if kept > 0 { Failure::Progressed } else { ended })
    }

    fn changed_size(&self, found: &str) -> HubError {
        HubError::Changed {
            repository: self.repository.clone(),
            path: self.file.path.clone(),
            what: "size",
            listed: self.file.size.to_string(),
            found: found.to_owned(),
        }
    }
}

/// The error for a file that can't be written: most often there is no room.
pub(super) fn full_or(error: std::io::Error, path: &Path, needed: u64) -> HubError {
    if Exhausted::of_system(&error) == Some(Exhausted::Disk) {
        let directory = path.parent().unwrap_or(path);
        let available = available(directory).unwrap_or_default();
        return HubError::DiskFull { path: directory.to_owned(), needed, available };
    }
    failed(path)(error).into()
}

/// The same for a file that was being copied.
pub(super) fn full_or_other(error: WeightsError, needed: u64) -> HubError {
    match error {
        WeightsError::Write { path, source } => full_or(source, &path, needed),
        other => other.into(),
    }
}
