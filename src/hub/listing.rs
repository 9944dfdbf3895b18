//! A revision as the lock keeps it: its files, and what its `config.json` says.

use super::{Hub, HubError};
use crate::lock::{ConfigFacts, LockedRepository};

/// The file that says how large a model is.
pub const CONFIG_FILE: &str = "config.json";

/// No `config.json` is larger by right.
const LIMIT: u64 = 4 << 20;

impl Hub {
    /// Asks for the files of a revision and for what its `config.json` says; that alone may fail,
    /// since a gated repository lists its files to everybody.
    pub async fn listing(
        &self,
        repository: &str,
        revision: &str,
    ) -> Result<(LockedRepository, Option<HubError>), HubError> {
        let revision = self.revision(repository, revision).await?;
        let config = revision.files.iter().find(|file| file.path == CONFIG_FILE);
        let text = match config.filter(|file| file.size <= LIMIT) {
            Some(file) => self.read(repository, &revision.commit, file).await.map(Some),
            None => Ok(None),
        };
        let (text, lacking) = match text {
            Ok(text) => (text, None),
            Err(error) => (None, Some(error)),
        };
        // What is no JSON says nothing, and needs not be asked for again.
        let facts = text.map(|text| ConfigFacts::parse(&text).unwrap_or_default());
        Ok((LockedRepository::new(revision, facts), lacking))
    }
}
