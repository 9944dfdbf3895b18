//! A part of a remote file, in memory.

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode};

use super::{Failure, FetchError, Fetcher, Pace, answer, without_credentials};

/// Which bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From the first to before the second.
    Between(u64, u64),
    /// So many at the end.
    Last(u64),
}

/// Bytes of a file, and where they lie in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes {
    /// The offset of the first.
    pub start: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Bytes of the whole file.
    pub length: u64,
}

impl Fetcher {
    /// Fetches the beginning of a file: `first` bytes, and more as long as `needs` says so of what has come,
    /// though not more than `limit`. From a server that gives whole files only, no more than that is read.
    ///
    /// Nothing says that the bytes are right, or that they are all: the caller has to know.
    pub async fn beginning(
        &self,
        url: &str,
        first: u64,
        limit: u64,
        needs: fn(&[u8]) -> u64,
    ) -> Result<Vec<u8>, FetchError> {
        let mut retry = self.retry(url)?;
        loop {
            match self.begun(url, first, limit, needs).await {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    async fn begun(
        &self,
        url: &str,
        first: u64,
        limit: u64,
        needs: fn(&[u8]) -> u64,
    ) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let mut end = first;
        let mut pace = Pace::of_document(self.patience.stall);
        loop {
            let from = bytes.len() as u64;
            let request =
                self.client()?.get(url).header(RANGE, format!("bytes={from}-{}", end - 1));
            let mut response = self.answered(url, answer(request, self.patience.stall).await)?;
            let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
            if is_part && said_range(&response).is_none_or(|(start, _)| start != from) {
                let reason = "another part than was asked for".to_owned();
                return Err(Failure::Final(self.network(url, reason)));
            }
            if !is_part {
                bytes.clear();
            }
            while let Some(chunk) =
                response.chunk().await.map_err(|error| self.broken(url, &error))?
            {
                bytes.extend_from_slice(&chunk);
                let come = bytes.len() as u64;
                end = needs(&bytes);
                if end > limit {
                    let url = without_credentials(url);
                    return Err(Failure::Final(FetchError::TooLarge { url, limit }));
                }
                if come >= end {
                    bytes.truncate(usize::try_from(end).unwrap_or(usize::MAX));
                    return Ok(bytes);
                }
                pace.check(come)
                    .map_err(|reason| Failure::Transient(self.network(url, reason), None))?;
            }
            // There is no more of it.
            if !is_part || bytes.len() as u64 == from {
                return Ok(bytes);
            }
        }
    }

    /// Fetches a part of a file; `None` when the server gives whole files only.
    ///
    /// Nothing says that the bytes are right: the caller has to know.
    pub async fn part(&self, url: &str, part: Part) -> Result<Option<Bytes>, FetchError> {
        let mut retry = self.retry(url)?;
        loop {
            match self.ranged(url, part).await {
                Ok(found) => return Ok(found),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    async fn ranged(&self, url: &str, part: Part) -> Result<Option<Bytes>, Failure> {
        let (range, limit) = match part {
            Part::Between(start, end) => (format!("bytes={start}-{}", end - 1), end - start),
            Part::Last(length) => (format!("bytes=-{length}"), length),
        };
        let request = self.client()?.get(url).header(RANGE, range);
        let mut response = self.answered(url, answer(request, self.patience.stall).await)?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(None);
        }
        let said = said_range(&response);
        let Some((start, length)) = said else { return Ok(None) };
        let mut bytes = Vec::new();
        let mut pace = Pace::of_document(self.patience.stall);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(url, &error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > limit {
                let url = without_credentials(url);
                return Err(Failure::Final(FetchError::TooLarge { url, limit }));
            }
            pace.check(bytes.len() as u64)
                .map_err(|reason| Failure::Transient(self.network(url, reason), None))?;
        }
        Ok(Some(Bytes { start, bytes, length }))
    }
}

/// Where a part begins, and how long the whole is: `bytes 0-99/1234`.
fn said_range(response: &Response) -> Option<(u64, u64)> {
    let said = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, length) = said.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, length.parse().ok()?))
}
