//! What the lock keeps of a target's prices.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is paid at a target, in US dollars by the hour, as it said itself. What the project's file says
/// wins; what is in neither is as goatbuild's own list has it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPrices {
    /// When it was asked: RFC 3339.
    pub asked: String,
    /// A physical core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// A GiB of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// GPUs, by the names that specs call them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gpu: BTreeMap<String, f64>,
}
