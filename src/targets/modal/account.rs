//! Whose the credentials are, and that they are the project's.

use std::sync::PoisonError;

use serde::Deserialize;
use serde_json::json;

use super::{Modal, ModalError};
use crate::event::Reporter;
use crate::step::StepError;

/// Whose the credentials are.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Account {
    pub(super) workspace: String,
    /// What addresses have behind the workspace.
    suffix: String,
}

impl Modal {
    /// Whose the credentials are; fails when the project is another workspace's.
    pub(super) async fn account(&self, reporter: &Reporter) -> Result<Account, StepError> {
        let found = self.client.call("the account", "account", json!({}), reporter).await?;
        let account: Account = serde_json::from_value(found).map_err(|error| {
            ModalError::Client { verb: "understood", message: error.to_string() }
        })?;
        match &self.settings.workspace {
            Some(wanted) if *wanted != account.workspace => {
                Err(ModalError::Workspace { found: account.workspace, wanted: wanted.clone() }
                    .into())
            }
            _ => Ok(account),
        }
    }

    /// Makes sure, once for a project, whose the credentials are, and keeps that.
    pub(super) async fn settle_account(&self, reporter: &Reporter) -> Result<(), StepError> {
        let known = self.kept(|kept| kept.workspace.clone());
        match (known, &self.settings.workspace) {
            (Some(known), Some(wanted)) if known == *wanted => return Ok(()),
            (Some(_), None) => return Ok(()),
            _ => {}
        }
        let Account { workspace, suffix } = self.account(reporter).await?;
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        (kept.workspace, kept.suffix) = (Some(workspace), Some(suffix));
        Ok(())
    }
}
