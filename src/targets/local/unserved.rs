//! Why a server that was started does not serve.

use std::time::Duration;

use super::log::quoted;
use super::{Deployment, LocalError};
use crate::event::Cancelled;
use crate::step::StepError;

/// Tells why a server that was started does not serve, what became of the one before, and the last
/// lines of its `log`.
pub(super) fn explain(
    deployment: &Deployment,
    unserved: Unserved,
    outcome: String,
    log: &str,
) -> StepError {
    let model = deployment.model.clone();
    let log = quoted(log, &deployment.health);
    match unserved {
        Unserved::Ended => LocalError::Ended { model, outcome, log }.into(),
        Unserved::Late(status) => {
            let seconds = deployment.startup_timeout.as_secs();
            let health = &deployment.health;
            let (heard, help) = match status {
                Some(status) => (
                    format!("answered HTTP {status} to GET {health}, never 200,"),
                    "does that path answer 200 once it is up? `engine.health` names another",
                ),
                None => (
                    "did not answer".to_owned(),
                    "does it listen on the host and port it is given? `serve.startup-timeout` gives it more time",
                ),
            };
            let help = format!("{help}; `goatbuild logs {model}` shows the whole log");
            LocalError::Unhealthy { model, seconds, heard, outcome, log, help }.into()
        }
        Unserved::Mute { tries, each } => {
            let heard =
                format!("was up, but {tries} times did not answer a request without the key");
            let help = format!(
                "with `auth = \"api-key\"` it has to answer 401 or 403 then; `goatbuild logs {model}` shows the whole log"
            );
            let seconds = each.as_secs();
            LocalError::Unhealthy { model, seconds, heard, outcome, log, help }.into()
        }
        Unserved::Open(status) => LocalError::Open { model, status, outcome }.into(),
        Unserved::Interrupted => LocalError::Interrupted { outcome, source: Cancelled }.into(),
        Unserved::Other(error) => error,
    }
}

/// Why a server that was started does not serve.
#[derive(Debug)]
pub(super) enum Unserved {
    /// Its process ended.
    Ended,
    /// It took too long; the last HTTP status it answered, if any.
    Late(Option<u16>),
    /// It was up, and gave no answer to whoever has no key.
    Mute {
        /// How often it was asked.
        tries: u32,
        /// How long each answer had.
        each: Duration,
    },
    /// It was to ask for a key, and answered this status without one.
    Open(u16),
    /// The user interrupted the wait.
    Interrupted,
    /// Anything else.
    Other(StepError),
}
