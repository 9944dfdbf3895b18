//! A part of a remote file, in memory.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, RANGE};

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
        // `bytes 0-99/1234`
        let said = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let said = said.and_then(|said| {
            let (range, length) = said.strip_prefix("bytes ")?.split_once('/')?;
            Some((range.split_once('-')?.0.parse().ok()?, length.parse().ok()?))
        });
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
