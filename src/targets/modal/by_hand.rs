//! How an app is made that goatbuild didn't deploy, as far as Modal tells.

use serde::Deserialize;

use crate::spec::Auth;

/// How the function of an app is made that serves, as the driver tells it. Zero is Modal's word for
/// what nobody has said.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct ServingFunction {
    pub(super) function: String,
    /// What it is called in its address instead, where somebody asked for that.
    pub(super) label: Option<String>,
    pub(super) url: String,
    /// Where other functions of the app answer.
    pub(super) others: Vec<String>,
    /// Domains of somebody's own that lead to it.
    pub(super) domains: Vec<String>,
    pub(super) gpu: Option<String>,
    pub(super) gpu_count: u32,
    pub(super) max_inputs: u32,
    /// Like all times, in seconds.
    pub(super) scaledown_window: u64,
    pub(super) timeout: u64,
    pub(super) startup_timeout: u64,
    pub(super) min_containers: u32,
    pub(super) max_containers: u32,
    pub(super) buffer_containers: u32,
    pub(super) proxy_auth: bool,
}

impl ServingFunction {
    /// Who may ask it, as far as Modal knows: a key that its engine asks for is the engine's own.
    pub(super) fn auth(&self) -> Auth {
        if self.proxy_auth { Auth::Proxy } else { Auth::Open }
    }
}
