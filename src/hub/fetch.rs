//! Bringing a revision's files into a volume: what is here is reused, the rest is fetched.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::Semaphore;

use super::download::{CONNECTIONS, Download, full_or_other};
use super::part::Part;
use super::reuse::{find, is_known, remember, room_for_theirs};
use super::{HashCache, Hub, HubError, ModelCache};
use crate::blocking::blocking;
use crate::disk::available;
use crate::event::Reporter;
use crate::lock::hub::RemoteFile;

/// So many files are looked at, or fetched, at once.
const FILES: usize = 4;

/// What a fetch came to, in bytes. Files with the same bytes are one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Came from the hub.
    pub fetched: u64,
    /// Were here: in the volume, in an unfinished file, or in a cache of the user's own.
    pub reused: u64,
}

/// What all files of one fetch share.
struct Fetch<'a> {
    hub: &'a Hub,
    repository: &'a str,
    commit: &'a str,
    blobs: PathBuf,
    known: &'a dyn HashCache,
    reporter: &'a Reporter,
    connections: Arc<Semaphore>,
}

impl Hub {
    /// Brings files of a commit into a cache, every one verified, and gives them their names there.
    ///
    /// What a killed run left is taken up; `known` remembers which blobs are verified.
    pub async fn fetch(
        &self,
        repository: &str,
        commit: &str,
        files: &[RemoteFile],
        cache: &ModelCache,
        known: &dyn HashCache,
        reporter: &Reporter,
    ) -> Result<Fetched, HubError> {
        let hub = &self.telling(reporter);
        let blobs = cache.prepare(repository)?;
        let mut seen = HashSet::new();
        let blobs_of: Vec<&RemoteFile> =
            files.iter().filter(|file| seen.insert(&file.digest)).collect();
        let fetch = Fetch {
            hub,
            repository,
            commit,
            blobs,
            known,
            reporter,
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        };
        fetch.check_room(&blobs_of)?;
        reporter.expect(blobs_of.iter().map(|file| file.size).sum());
        let mut done = Fetched::default();
        // Made before any is awaited: a closure that is kept would have to serve every lifetime.
        let each: Vec<_> = blobs_of.into_iter().map(|file| fetch.one(file).boxed()).collect();
        let mut each = futures_util::stream::iter(each).buffer_unordered(FILES);
        while let Some(one) = each.next().await {
            let one = one?;
            done.fetched += one.fetched;
            done.reused += one.reused;
        }
        cache.link(repository, commit, files)?;
        Ok(done)
    }
}

impl Fetch<'_> {
    /// Fails when what has to be fetched has no room, before any of it is.
    fn check_room(&self, files: &[&RemoteFile]) -> Result<(), HubError> {
        let caches = &self.hub.settings.caches;
        let room = |file: &RemoteFile| {
            let blob = self.blobs.join(file.digest.hex());
            if std::fs::metadata(&blob).is_ok_and(|found| found.len() == file.size) {
                return 0;
            }
            room_for_theirs(&blob, self.repository, file, caches)
                .unwrap_or_else(|| file.size - Part::on_disk(&self.blobs, file))
        };
        let needed = files.iter().map(|file| room(file)).sum();
        match available(&self.blobs) {
            Some(available) if available < needed => {
                Err(HubError::DiskFull { path: self.blobs.clone(), needed, available })
            }
            _ => Ok(()),
        }
    }

    /// Brings one blob here.
    async fn one(&self, file: &RemoteFile) -> Result<Fetched, HubError> {
        let blob = self.blobs.join(file.digest.hex());
        if is_known(&blob, file, self.known) {
            self.reporter.advance(file.size)?;
            self.reporter.reused(file.size);
            return Ok(Fetched { fetched: 0, reused: file.size });
        }
        let is_here = {
            let (blob, repository) = (blob.clone(), self.repository.to_owned());
            let (file, reporter) = (file.clone(), self.reporter.clone());
            let settings = Arc::clone(&self.hub.settings);
            let size = file.size;
            let found =
                blocking(move || find(&blob, &repository, &file, &settings.caches, &reporter));
            found.await.map_err(|error| full_or_other(error, size))?
        };
        let fetched = if is_here { 0 } else { self.download(file, &blob).await? };
        remember(&blob, file, self.known);
        self.reporter.reused(file.size - fetched);
        Ok(Fetched { fetched, reused: file.size - fetched })
    }

    /// Fetches one blob, and returns how many bytes of it were not here.
    async fn download(&self, file: &RemoteFile, blob: &Path) -> Result<u64, HubError> {
        self.reporter.message(format!("fetching {}", file.path));
        loop {
            let download = Download::begin(
                self.hub,
                self.repository,
                self.commit,
                file,
                &self.blobs,
                &self.connections,
                self.reporter,
            )?;
            let before = download.here();
            self.reporter.advance(before)?;
            match download.complete(blob).await {
                // What was here may have been damaged; what has just been fetched is not fetched again.
                Err(HubError::Damaged { .. }) if before > 0 => {
                    self.reporter.log(format!("what there was of {} is damaged", file.path));
                    self.reporter.expect(file.size);
                }
                Ok(()) => return Ok(file.size - before),
                Err(error) => return Err(error),
            }
        }
    }
}
