//! What is fetched from: servers of files, Debian's mirrors, the hub of weights.

use std::sync::OnceLock;

use super::Settings;
use crate::debian::Mirrors;
use crate::fetch::{Fetcher, Patience};
use crate::hub::{Hub, HubError, HubSettings};

/// The network, as a command was told to use it.
#[derive(Debug)]
pub struct Network {
    /// Fetches files.
    pub fetcher: Fetcher,
    /// Where Debian packages come from.
    pub mirrors: Mirrors,
    /// Where files are taken from that engines load from addresses of their own, if not from there.
    pub files_mirror: Option<String>,
    offline: bool,
    patience: Patience,
    hub_settings: fn() -> Result<HubSettings, HubError>,
    hub: OnceLock<Hub>,
}

impl Network {
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings { offline, patience, mirrors, files_mirror, hub, .. } = settings.clone();
        Self {
            fetcher: Fetcher::new(offline, patience.clone()),
            mirrors,
            files_mirror,
            offline,
            patience,
            hub_settings: hub,
            hub: OnceLock::new(),
        }
    }

    /// The hub that weights come from.
    pub fn hub(&self) -> Result<Hub, HubError> {
        if let Some(hub) = self.hub.get() {
            return Ok(hub.clone());
        }
        let made = Hub::new((self.hub_settings)()?, self.offline, self.patience.clone())?;
        Ok(self.hub.get_or_init(|| made).clone())
    }

    /// A fetcher for a plan, which is no place for long patience: it says that nobody could look.
    pub(super) fn hasty(&self) -> Fetcher {
        let attempts = self.patience.attempts.min(2);
        Fetcher::new(self.offline, Patience { attempts, ..self.patience.clone() })
    }
}
