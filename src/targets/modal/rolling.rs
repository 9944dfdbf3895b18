//! What a new version replaces goes on answering for a while: Modal's deployments are rolling.
//!
//! The client says so of its own `deploy`: traffic shifts gradually to new containers while old ones
//! drain. People report containers that serve until they scale down.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::Modal;
use super::kept::{Deployed, Kept};
use super::serve::understood;
use crate::event::Reporter;
use crate::fingerprint::Key;
use crate::step::StepError;
use crate::targets::Rolling;

#[derive(Deserialize)]
struct Counted {
    older: u32,
}

#[async_trait]
impl Rolling for Modal {
    fn mark(&self, model: &str, instance: &str) -> Option<String> {
        let deployed = self.instance(model, instance).filter(|deployed| deployed.marked);
        deployed.map(|deployed| deployed.key.to_string())
    }

    async fn older(
        &self,
        model: &str,
        instance: &str,
        reporter: &Reporter,
    ) -> Result<u32, StepError> {
        let Some(Deployed { app, id, version, .. }) = self.instance(model, instance) else {
            return Ok(0);
        };
        if version == 1 {
            return Ok(0);
        }
        let request = json!({"id": id, "version": version});
        let Counted { older } =
            understood(self.client.call(&app, "older", request, reporter).await?)?;
        Ok(older)
    }

    async fn leave_open(&self, model: &str, instance: &str, key: Key) -> Result<(), StepError> {
        let leave = |kept: &mut Kept| {
            let deployed = kept.deployments.get_mut(model);
            if let Some(deployed) = deployed.filter(|it| it.instance() == instance) {
                deployed.left_open = Some(key);
            }
        };
        self.keep(leave, &Reporter::silent()).await
    }

    fn left_open(&self, model: &str) -> Option<Key> {
        self.deployed(model)?.left_open
    }
}

impl Modal {
    /// A deployment, if it is this one that stands.
    fn instance(&self, model: &str, instance: &str) -> Option<Deployed> {
        self.deployed(model).filter(|deployed| deployed.instance() == instance)
    }
}
