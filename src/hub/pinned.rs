//! A file with an address of its own, in the layout of a repository.

use super::cache::failed;
use super::{ModelCache, RemoteFile};
use crate::blocking::blocking;
use crate::event::Reporter;
use crate::fetch::{Expected, Fetcher, Found, discard_damaged};
use crate::fingerprint::Key;
use crate::lock::hub::FileDigest;
use crate::step::StepError;

impl ModelCache {
    /// Fetches a file into a repository's directory, verifies it, and writes the receipt. Gives how many
    /// bytes came.
    pub async fn fetch_file(
        &self,
        fetcher: &Fetcher,
        url: &str,
        file: &RemoteFile,
        (key, repository, commit): (Key, &str, &str),
        reporter: &Reporter,
    ) -> Result<u64, StepError> {
        let FileDigest::Sha256(sha256) = file.digest else {
            panic!("BUG: {} is pinned by another hash", file.path)
        };
        let blob = self.prepare(repository)?.join(file.digest.hex());
        let expected = Expected { size: Some(file.size), sha256 };
        reporter.expect(file.size);
        let (path, wanted) = (blob.clone(), expected.clone());
        let looked = move || discard_damaged(&path, &wanted).map_err(failed(&path));
        let found = blocking(looked).await?;
        fetcher.file(&file.path, &[url.to_owned()], &expected, &blob, reporter).await?;
        let files = [file.clone()];
        self.link(repository, commit, &files)?;
        self.refer(repository, "main", commit)?;
        self.certify(key, repository, commit, &files)?;
        Ok(if found == Found::Whole { 0 } else { file.size })
    }
}
