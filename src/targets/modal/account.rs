//! Whose the credentials are, and that they are the project's.

use std::sync::PoisonError;

use serde::Deserialize;
use serde_json::json;

use super::{Modal, ModalError};
use crate::event::Reporter;
use crate::runtime::Check;
use crate::step::StepError;

/// Why nothing was looked at, and what to do about it.
pub(super) const NO_CREDENTIALS: &str = "no credentials for Modal; `modal token new` makes them";

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
        self.assert_workspace(Some(&account.workspace))?;
        Ok(account)
    }

    /// Fails when a workspace is another one than the project's.
    pub(super) fn assert_workspace(&self, found: Option<&str>) -> Result<(), ModalError> {
        match (found, &self.settings.workspace) {
            (Some(found), Some(wanted)) if found != wanted => {
                Err(ModalError::Workspace { found: found.to_owned(), wanted: wanted.clone() })
            }
            _ => Ok(()),
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

    /// What there is to say of the account before anything is done there.
    pub(super) async fn surveyed(&self) -> Check {
        let name = "modal";
        if !self.credentials.are_there() {
            let detail = format!("not looked at: {NO_CREDENTIALS}");
            return Check { name, ok: None, detail, help: None };
        }
        if self.client.is_offline() {
            let detail = format!("not looked at: {}", ModalError::Offline);
            return Check { name, ok: None, detail, help: None };
        }
        match self.account(&Reporter::silent()).await {
            Ok(account) => {
                let environment = &self.settings.environment;
                let detail = format!("workspace {}, environment {environment}", account.workspace);
                Check { name, ok: Some(true), detail, help: None }
            }
            Err(error) => {
                let help = error.help().map(|help| help.to_string());
                Check { name, ok: Some(false), detail: error.to_string(), help }
            }
        }
    }
}
