//! Who has the lease, as its entry tells.

use serde::{Deserialize, Serialize};

use crate::step::StepError;
use crate::targets::LeaseBroken;

/// Who has the lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaseHolder {
    /// No other lease's.
    pub(super) id: String,
    /// The machine.
    pub(super) host: String,
    /// The process there.
    pub(super) pid: u32,
    /// Where that number means that process: in one namespace of one boot of one machine. Containers and
    /// cloned machines share names. Earlier versions don't say it, nor do systems that don't tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<String>,
    /// What it does: `apply`, ….
    pub(super) command: String,
    /// The address of the CI run, where it is one.
    pub(super) run: Option<String>,
    /// Since when, RFC 3339.
    pub(super) since: String,
    /// Counted up for as long as it is there.
    pub(super) beat: u64,
}

impl std::fmt::Display for LeaseHolder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, pid, command, since, .. } = self;
        write!(formatter, "`{command}` on {host}, process {pid}, since {since}")?;
        match &self.run {
            Some(run) => write!(formatter, ", {run}"),
            None => Ok(()),
        }
    }
}

/// What is said to whoever had a lease that is another's now, or nobody's.
pub(super) fn broken(now: Option<LeaseHolder>) -> StepError {
    let now = now.map_or_else(|| "nobody has it now".to_owned(), |now| format!("{now} has it now"));
    LeaseBroken { now }.into()
}
