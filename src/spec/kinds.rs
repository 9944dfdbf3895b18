//! What there is to be named in files: engines, targets and gateways come as values.

use super::gateway::GatewayTypes;
use super::target::TargetTypes;
use crate::engine::Engines;

/// The engines, targets and gateways that there are.
#[derive(Debug, Clone, PartialEq)]
pub struct Kinds {
    /// What can serve.
    pub engines: Engines,
    /// Where models can be served.
    pub targets: TargetTypes,
    /// Where clients can find them.
    pub gateways: GatewayTypes,
}
