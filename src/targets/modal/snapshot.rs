//! Deployments that start from a snapshot of the GPU's memory.

use serde_json::Value;

use super::Modal;
use super::address::Address;
use super::app::question;
use super::serve::GUARDED_PORT;
use crate::spec::Auth;
use crate::targets::Deployment;

impl Modal {
    /// What the program needs that puts an engine to sleep and wakes it. It is never without a guard:
    /// an engine that can be put to sleep offers that to whoever reaches it.
    pub(super) fn add_snapshot(&self, deployment: &Deployment, data: &mut Value) {
        data["snapshot"] = true.into();
        question::add(deployment, data);
        data["health"] = deployment.health.clone().into();
        // A method of a class has another address by itself.
        data["label"] = Address::name_of(&self.app(&deployment.model)).into();
        if deployment.spec.serve.auth != Auth::ApiKey {
            let (name, mark) = (&deployment.served_name, deployment.mark.as_deref());
            data["command"] = (deployment.command)(name, "127.0.0.1", GUARDED_PORT, mark).into();
            data["engine_port"] = GUARDED_PORT.into();
            data["api_key"] = Value::Null;
        }
    }
}
