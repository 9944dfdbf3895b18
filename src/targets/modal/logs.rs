//! What apps print, as Modal's own command line shows it.

use async_trait::async_trait;
use serde_json::json;

use super::{Modal, ModalError};
use crate::step::StepError;
use crate::targets::{Logs, Print, Stop};

/// As many entries Modal gives at once.
const MOST: usize = 20_000;

/// As many entries as Modal's own command shows.
const DEFAULT: usize = 100;

impl Modal {
    /// Whether a model has an app here, as far as the last look showed.
    pub(super) fn has_app(&self, model: &str) -> bool {
        self.seen_app(model).is_some() || self.deployed(model).is_some()
    }
}

#[async_trait(?Send)]
impl Logs for Modal {
    fn has_none(&self, model: &str) -> bool {
        self.world().is_ok() && !self.has_app(model)
    }

    async fn print(
        &self,
        model: &str,
        lines: Option<usize>,
        follow: bool,
        print: &Print<'_>,
        stop: Stop<'_>,
    ) -> Result<(), StepError> {
        if !self.credentials.are_there() {
            return Err(ModalError::NoCredentials { what: vec![format!("logs of {model}")] }.into());
        }
        let lines = match lines {
            // All that it is for is to follow.
            Some(0) | None if follow => None,
            Some(0) => return Ok(()),
            lines => Some(lines.map_or(DEFAULT, |lines| lines.min(MOST))),
        };
        let app = self.deployed(model).map_or_else(|| self.app(model), |deployed| deployed.app);
        let request = json!({"app": app, "lines": lines, "follow": follow});
        self.client.print(&app, "logs", request, print, stop).await
    }
}
