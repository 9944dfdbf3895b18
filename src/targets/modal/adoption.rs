//! What would change if an app of somebody else were taken over: as far as Modal tells how that app
//! is made, field by field of a spec.

use serde::Deserialize;

use super::Modal;
use super::spec::Replicas;
use crate::fingerprint::Change;
use crate::spec::{Auth, Model};

/// How the function of an app is made that serves, as the driver tells it. Zero is Modal's word for
/// what nobody has said.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct ServingFunction {
    gpu: Option<String>,
    gpu_count: u32,
    max_inputs: u32,
    /// Like all times, in seconds.
    scaledown_window: u64,
    timeout: u64,
    startup_timeout: u64,
    min_containers: u32,
    max_containers: u32,
    buffer_containers: u32,
    proxy_auth: bool,
}

impl Modal {
    /// What differs between how an app is made and how a model's would be.
    pub(super) fn would_change(&self, model: &str, stands: &ServingFunction) -> Vec<Change> {
        self.specs.get(model).map(|model| changes(stands, model)).unwrap_or_default()
    }
}

fn changes(stands: &ServingFunction, model: &Model) -> Vec<Change> {
    let serve = &model.serve;
    let hardware = model.hardware.as_ref();
    let number = |number: u32| (number > 0).then(|| number.to_string());
    let seconds = |seconds: u64| (seconds > 0).then(|| format!("{seconds}s"));
    let said = |number: Option<u32>| number.filter(|it| *it > 0).map(|it| it.to_string());
    let replicas: &Replicas = serve.own.get();
    let auth = if stands.proxy_auth { Auth::Proxy } else { Auth::Open };
    let fields = [
        ("hardware.gpu", stands.gpu.clone(), hardware.map(|it| it.gpu.clone())),
        ("hardware.count", number(stands.gpu_count), hardware.map(|it| it.count.to_string())),
        ("serve.max-inputs", number(stands.max_inputs), number(serve.max_inputs)),
        (
            "serve.scaledown-window",
            seconds(stands.scaledown_window),
            seconds(serve.scaledown_window.as_secs()),
        ),
        ("serve.timeout", seconds(stands.timeout), seconds(serve.timeout.as_secs())),
        (
            "serve.startup-timeout",
            seconds(stands.startup_timeout),
            seconds(serve.startup_timeout.as_secs()),
        ),
        ("serve.min-containers", number(stands.min_containers), said(replicas.min)),
        ("serve.max-containers", number(stands.max_containers), said(replicas.max)),
        ("serve.buffer-containers", number(stands.buffer_containers), said(replicas.buffer)),
        ("serve.auth", Some(auth.to_string()), Some(serve.auth.to_string())),
    ];
    let differing = fields.into_iter().filter(|(_, old, new)| old != new);
    differing.map(|(field, old, new)| Change { field: field.to_owned(), old, new }).collect()
}
