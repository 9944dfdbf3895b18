//! Whether this machine can run images, and with what.

use super::runner::Runner;
use super::{Local, LocalError};
use crate::runtime::{self, Check};
use crate::step::StepError;

impl Local {
    /// Fails where nothing here can run an image.
    pub(super) async fn can_serve(&self) -> Result<(), StepError> {
        match self.chosen().await?.runner {
            Runner::Engine(_) => return Ok(()),
            Runner::Embedded => {}
        }
        let report = self.try_embedded()?;
        match report.checks.into_iter().find(Check::is_wrong) {
            None => Ok(()),
            Some(check) => Err(LocalError::Runtime {
                reason: format!("{}: {}", check.name, check.detail),
                help: check.help.unwrap_or_else(|| "`goatbuild check` tells more".to_owned()),
            }
            .into()),
        }
    }

    /// What there is here to run images, and what of it works.
    pub(super) async fn offers(&self) -> Result<Vec<Check>, StepError> {
        let chosen = match self.chosen().await {
            Ok(chosen) => chosen,
            Err(error) => {
                let help = error.help().map(|help| help.to_string());
                let detail = error.to_string();
                return Ok(vec![Check { name: "local runtime", ok: Some(false), detail, help }]);
            }
        };
        let detail = chosen.at_length();
        let mut checks = vec![Check { name: "local runtime", ok: Some(true), detail, help: None }];
        if chosen.runner == Runner::Embedded {
            checks.extend(self.try_embedded()?.checks);
        }
        Ok(checks)
    }

    /// Tries out the embedded runtime.
    fn try_embedded(&self) -> Result<runtime::Report, StepError> {
        let scratch = &self.places.ours;
        std::fs::create_dir_all(scratch)
            .map_err(|source| LocalError::File { path: scratch.clone(), source })?;
        Ok(runtime::check(scratch, &self.places.supervisor))
    }
}
