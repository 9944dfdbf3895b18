//! Compile caches and deployments at Modal.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::app::{Program, question, tags};
use super::error::in_deployment;
use super::kept::{Deployed, Kept};
use super::spec::Replicas;
use super::{Modal, ModalError};
use crate::clock::written;
use crate::event::Reporter;
use crate::fingerprint::Key;
use crate::spec::{Auth, Model};
use crate::step::{Fact, Facts, Outcome, StepError, StepId, Task};
use crate::targets::{Deployment, still_written};

/// Where engines listen in a container.
const PORT: u16 = 8000;

/// Where they listen when something else asks for a key at that port.
pub(super) const GUARDED_PORT: u16 = 8001;

/// Where a container sees the volumes that have warmed caches.
const WARMED: &str = "/root/.cache/goatbuild";

/// The volumes that a warm-up of a model fills.
fn caches_of(deployment: &Deployment) -> impl Iterator<Item = &'static str> {
    deployment.spec.engine.kind.caches().iter().map(|cache| cache.volume)
}

/// What a function at Modal answers.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer<T> {
    Ok(T),
    Refused { code: String, message: String },
}

#[derive(Deserialize)]
struct Warmed {
    first_seconds: f64,
    second_seconds: f64,
    files: u64,
    /// What the GPUs are called.
    device: Option<String>,
    /// What the second start wrote, quick as it was.
    written: Vec<String>,
}

/// What stands, as the driver tells it after a change.
#[derive(Deserialize)]
pub(super) struct Recorded {
    pub(super) id: String,
    pub(super) version: u32,
    pub(super) by: String,
    pub(super) at: f64,
    /// Where the app answers.
    url: String,
    /// The ids of the volumes that it is bound to, by name.
    #[serde(default)]
    volumes: BTreeMap<String, String>,
    /// Whether Modal asks for a token there; told of what somebody else deployed.
    #[serde(default)]
    proxy_auth: Option<bool>,
}

impl Recorded {
    /// Who may ask what somebody else deployed.
    pub(super) fn auth(&self) -> Option<Auth> {
        self.proxy_auth.map(|proxy| if proxy { Auth::Proxy } else { Auth::Open })
    }

    /// The base URL of the engine's API.
    pub(super) fn base_url(&self) -> String {
        format!("{}/v1", self.url.trim_end_matches('/'))
    }
}

/// The facts of a warm cache.
pub(super) fn warm_facts(model: &str, key: &Key) -> Facts {
    [Fact::MODEL.is(model), Fact::CACHE.is(key.to_string())].into()
}

impl Modal {
    /// What serving and warming up a model have in common.
    fn data(&self, deployment: &Deployment) -> Value {
        let model = &deployment.spec;
        let weights = self.volume("model-cache");
        let replicas: &Replicas = model.serve.own.get();
        json!({
            "model": deployment.model,
            "tags": tags(&self.owner),
            "image": self.image_of(deployment),
            "gpu": gpu(model),
            "cpu": model.reserved.cores(),
            "memory_mib": model.reserved.memory_mib,
            "region": replicas.region,
            "cloud": replicas.cloud,
            "port": PORT,
            "command": (deployment.command)(&deployment.served_name, "0.0.0.0", PORT, None),
            "served_name": deployment.served_name,
            "weights": self.path_of_weights(deployment),
            "environment": deployment.environment,
            "startup_timeout": deployment.startup_timeout.as_secs(),
            "volumes": [{"volume": weights.name, "at": weights.mount}],
        })
    }

    /// The image of a deployment, as the programs are told of it.
    fn image_of(&self, deployment: &Deployment) -> Value {
        match &deployment.image_from {
            Some(reference) => {
                json!({"registry": reference, "secret": self.settings.registry_secret})
            }
            None => json!({"id": deployment.image}),
        }
    }

    /// Where a container sees a model's weights.
    fn path_of_weights(&self, deployment: &Deployment) -> String {
        let mount = self.volume("model-cache").mount.trim_end_matches('/');
        let crate::targets::PinnedRepository { repository, commit } = &deployment.weights;
        format!("{mount}/{}", crate::hub::ModelCache::commit_directory(repository, commit))
    }

    /// The program that serves a model, and what it says of itself.
    pub(super) fn serving(&self, deployment: &Deployment) -> (String, Value) {
        let serve = &deployment.spec.serve;
        let mut data = self.data(deployment);
        let caches = deployment.warm_cache.iter().flat_map(|key| {
            caches_of(deployment).map(move |name| {
                json!({"warmed": format!("{WARMED}/{name}/{key}"), "at": self.volume(name).mount})
            })
        });
        data["caches"] = caches.collect();
        if deployment.warm_cache.is_some() {
            for name in caches_of(deployment) {
                let mount =
                    json!({"volume": self.volume(name).name, "at": format!("{WARMED}/{name}")});
                data["volumes"]
                    .as_array_mut()
                    .unwrap_or_else(|| panic!("BUG: no list"))
                    .push(mount);
            }
        }
        data["app"] = self.app(&deployment.model).into();
        let command = |host, port| {
            let mark = deployment.mark.as_deref();
            json!((deployment.command)(&deployment.served_name, host, port, mark))
        };
        data["command"] = command("0.0.0.0", PORT);
        data["secrets"] = self.secrets_of(&deployment.spec);
        data["proxy_auth"] = (serve.auth == Auth::Proxy).into();
        if serve.auth == Auth::ApiKey {
            data["command"] = command("127.0.0.1", GUARDED_PORT);
            data["engine_port"] = GUARDED_PORT.into();
            data["api_key"] = data["secrets"][0].clone();
        }
        if serve.snapshot {
            self.add_snapshot(deployment, &mut data);
        }
        let replicas: &Replicas = serve.own.get();
        data["min_containers"] = json!(replicas.min);
        data["max_containers"] = json!(replicas.max);
        data["buffer_containers"] = json!(replicas.buffer);
        data["scaledown_window"] = serve.scaledown_window.as_secs().into();
        data["timeout"] = serve.timeout.as_secs().into();
        data["max_inputs"] = serve.max_inputs.into();
        (format!("Serves {} on Modal.", deployment.model), data)
    }

    /// The program that fills a model's caches, and what it says of itself.
    pub(super) fn warming(&self, deployment: &Deployment, key: &Key) -> (String, Value) {
        let mut data = self.data(deployment);
        let caches = caches_of(deployment).map(|name| {
            let volume = self.volume(name);
            json!({"volume": volume.name, "at": volume.mount, "filled": format!("{WARMED}/{name}")})
        });
        data["caches"] = caches.collect();
        data["app"] = self.helper(&format!("warmup-{}", deployment.model)).into();
        data["secrets"] = self.secrets_taken(&deployment.spec);
        data["key"] = key.to_string().into();
        data["health"] = deployment.health.clone().into();
        question::add(deployment, &mut data);
        data["graphs"] = json!(deployment.graphs);
        data["factors"] = deployment.cache_factors.map_or(Value::Null, Into::into);
        (format!("Fills the compile caches of {} on Modal.", deployment.model), data)
    }

    /// Fills the compile caches of a model, on the GPU that it is served on.
    pub(super) async fn warm(
        &self,
        deployment: &Deployment,
        task: &Task,
    ) -> Result<Outcome, StepError> {
        let (about, data) = self.warming(deployment, &task.key);
        let file = Program::Warmup.write(&self.programs.join(&deployment.model), &about, &data)?;
        task.reporter.message("starting the engine twice");
        let what = StepId::warmup(&deployment.model);
        let request = json!({"file": file, "function": "warm"});
        let answer = self.client.call(what.as_str(), "run", request, &task.reporter).await?;
        match understood(answer)? {
            Answer::Ok(Warmed { first_seconds, second_seconds, files, device, written }) => {
                if !written.is_empty() {
                    task.reporter.notice(still_written(&deployment.model, &written));
                }
                tell_other_device(deployment, device.as_deref(), &task.reporter);
                let evidence = [
                    ("first-start-seconds".to_owned(), format!("{first_seconds:.1}")),
                    ("second-start-seconds".to_owned(), format!("{second_seconds:.1}")),
                    ("files".to_owned(), files.to_string()),
                ];
                let device = device.map(|device| ("device".to_owned(), device));
                let evidence = evidence.into_iter().chain(device).collect();
                let facts = warm_facts(&deployment.model, &task.key);
                Ok(Outcome { facts, evidence })
            }
            Answer::Refused { code, message } => {
                let model = deployment.model.clone();
                Err(match &*code {
                    "cold" => ModalError::Cold { model, message }.into(),
                    _ => ModalError::Warmup { model, message }.into(),
                })
            }
        }
    }

    /// Deploys a model's app, marked with its key.
    pub(super) async fn serve(
        &self,
        deployment: &Deployment,
        task: &Task,
    ) -> Result<Outcome, StepError> {
        let (about, data) = self.serving(deployment);
        let model = &deployment.model;
        self.refuse_held(model)?;
        let app = self.app(model);
        let file = Program::Serve.write(&self.programs.join(model), &about, &data)?;
        let program = Program::Serve.render(&about, &data);
        let bound: Vec<&Value> =
            data["volumes"].as_array().into_iter().flatten().map(|it| &it["volume"]).collect();
        let mut request = json!({"app": app, "volumes": bound});
        // It may stand already, and only have been cut off before that was written down.
        let stands = self.is_deployed(model, &task.key) && self.replaced_volumes(model).is_empty();
        // By whichever goatbuild: it may answer to no mark.
        let marked = deployment.mark.is_some() && !stands;
        let command = if stands {
            "recorded"
        } else {
            // Once it is deployed over, nothing tells any more who was there.
            if let Some(adopted) = self.taken_over(model) {
                let change = |kept: &mut Kept| drop(kept.adopted.insert(model.clone(), adopted));
                self.keep(change, &task.reporter).await?;
            }
            task.reporter.message(format!("deploying {app}"));
            request["file"] = json!(file);
            request["tag"] = task.key.to_string().into();
            request["replaces"] = json!(self.deployed_tag(model));
            request["strategy"] = "rolling".into();
            "deploy"
        };
        let answer = self.client.call(&app, command, request, &task.reporter).await;
        let answer = answer.map_err(|error| in_deployment(error, model))?;
        let recorded: Recorded = understood(answer)?;
        let url = recorded.base_url();
        self.tell_address(&app, &url, &task.reporter);
        let deployed = Deployed {
            app,
            id: recorded.id,
            version: recorded.version,
            key: task.key,
            applied: task.fingerprint.clone(),
            url,
            served_name: deployment.served_name.clone(),
            at: written(recorded.at),
            smoke: None,
            answered: None,
            volumes: recorded.volumes,
            marked,
            left_open: None,
        };
        let facts = deployed.facts();
        let files = self.kept_program(model, &task.key, program, &task.fingerprint);
        let change = |kept: &mut Kept| {
            // What failed was another deployment.
            if kept.failed.get(model).is_some_and(|failed| failed.key != task.key) {
                kept.failed.remove(model);
            }
            kept.put(model, deployed);
        };
        self.keep_with(change, files, &task.reporter).await?;
        Ok(Outcome { facts, ..Outcome::default() })
    }

    /// Says so when Modal gave an app another address than its name would.
    fn tell_address(&self, app: &str, url: &str, reporter: &Reporter) {
        if let Some(wanted) = self.address(app).url()
            && wanted != url
        {
            reporter.notice(format!("Modal gave {url} instead of {wanted}"));
        }
    }
}

/// Says so when a warm-up ran on another device than the spec asks for, which Modal may give: replicas on
/// that one compile again.
fn tell_other_device(deployment: &Deployment, device: Option<&str>, reporter: &Reporter) {
    let asked = deployment.spec.hardware.as_ref().map(|hardware| hardware.gpu.as_str());
    let (Some(asked), Some(device)) = (asked, device) else { return };
    if !is_called(device, asked) {
        let model = &deployment.model;
        reporter.notice(format!(
            "{model} asks for {asked} and was warmed up on {device}: a replica on {asked} has no warm cache, unless `hardware.exact = true` asks for no other"
        ));
    }
}

/// Whether a device may be what Modal calls so: `NVIDIA A100-SXM4-80GB` is an `A100-80GB`.
fn is_called(device: &str, gpu: &str) -> bool {
    let name = gpu.split(['-', '+', '!']).next().unwrap_or(gpu);
    device.split([' ', '-']).any(|word| word == name || (name == "A10" && word == "A10G"))
}

/// Modal's way to say which GPUs, and how many.
fn gpu(model: &Model) -> Value {
    let Some(hardware) = &model.hardware else { return Value::Null };
    let exactly = if hardware.exact { "!" } else { "" };
    match hardware.count {
        1 => format!("{}{exactly}", hardware.gpu).into(),
        count => format!("{}{exactly}:{count}", hardware.gpu).into(),
    }
}

/// What came back, as what it has to be.
pub(super) fn understood<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, StepError> {
    serde_json::from_value(answer).map_err(|error| {
        ModalError::Client { verb: "understood", message: error.to_string() }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::is_called;

    /// Names as `nvidia-smi` gives them, and Modal's (modal.com/docs/guide/gpu).
    #[test]
    fn a_device_is_known_by_what_modal_calls_it() {
        for (gpu, device) in [
            ("T4", "Tesla T4"),
            ("L4", "NVIDIA L4"),
            ("A10", "NVIDIA A10G"),
            ("A10G", "NVIDIA A10G"),
            ("L40S", "NVIDIA L40S"),
            ("A100", "NVIDIA A100-SXM4-40GB"),
            ("A100-80GB", "NVIDIA A100 80GB PCIe"),
            ("RTX-PRO-6000", "NVIDIA RTX PRO 6000 Blackwell Server Edition"),
            ("H100", "NVIDIA H100 80GB HBM3"),
            ("H200", "NVIDIA H200"),
            ("B200+", "NVIDIA B200"),
        ] {
            assert!(is_called(device, gpu), "{device} is {gpu}");
        }
        assert!(!is_called("NVIDIA H200", "H100") && !is_called("NVIDIA L40S", "L4"));
    }
}
