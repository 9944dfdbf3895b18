//! What fails its smoke test goes back to what it replaced, which is kept until it passes.

use async_trait::async_trait;

use super::Local;
use crate::event::Reporter;
use crate::step::StepError;
use crate::targets::{SmokeKey, TakenBack, TakesBack};

#[async_trait]
impl TakesBack for Local {
    /// Starts the server again that this one replaced, or stops it where there was none. One that has
    /// passed before, or stood in for itself, is left as it is: nothing that is known would be better.
    async fn take_back(
        &self,
        model: &str,
        instance: &str,
        _: &SmokeKey<'_>,
        reporter: &Reporter,
    ) -> Result<TakenBack, StepError> {
        let served = self.served(model).filter(|served| served.instance_id() == instance);
        let Some(served) = served else { return Ok(TakenBack::Left) };
        // Kept before anything is changed: whoever is cut short leaves one that has not passed.
        self.change(|state| state.fails(model)).await?;
        if !served.trial {
            return Ok(TakenBack::Left);
        }
        reporter.message("stopping the server that failed");
        self.stop(&served).await?;
        let Some(old) = served.previous else {
            self.change(|state| drop(state.served.remove(model))).await?;
            self.forget_own(model, None);
            return Ok(TakenBack::Stopped);
        };
        let timeout = served.startup_timeout.unwrap_or_default();
        let outcome = self.restore(model, *old, timeout, reporter).await?;
        self.forget_own(model, self.served(model).as_ref());
        Ok(TakenBack::Restored { outcome })
    }
}
