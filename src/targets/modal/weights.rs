//! Weights in a volume of Modal's, fetched there: nothing large passes through this machine.

use serde::Deserialize;
use serde_json::{Value, json};

use super::app::{Program, tags};
use super::image::ImageDescription;
use super::price::time_to_fetch;
use super::serve::{Answer, understood};
use super::{Modal, ModalError};
use crate::lock::hub::{FileDigest, RemoteFile};
use crate::step::{Outcome, StepError, StepId, Task};
use crate::targets::{Weights, WeightsOrigin};

#[derive(Deserialize)]
struct Placed {
    fetched: u64,
    reused: u64,
}

impl Modal {
    /// Fetches the files of a repository there, on a machine without a GPU.
    pub(super) async fn fetch_weights(
        &self,
        weights: &Weights,
        task: &Task,
    ) -> Result<Outcome, StepError> {
        let pinned = &weights.pinned;
        let endpoint = self.hub_endpoint();
        let (branches, files, secret, url) = match &weights.origin {
            WeightsOrigin::Directory { from, .. } => {
                return Err(ModalError::Path { path: from.clone() }.into());
            }
            WeightsOrigin::Hub { hub, branches, access, files } => {
                if hub.endpoint() != endpoint {
                    task.reporter.log(format!(
                        "Modal fetches from {endpoint}: HF_ENDPOINT, {}, is for this machine",
                        hub.endpoint()
                    ));
                }
                let secret = self.secret_of_the_hub(*access);
                (branches.as_slice(), files.as_slice(), secret, None)
            }
            WeightsOrigin::File { pinned, file, .. } => {
                let mirror = self.settings.encodings_endpoint.as_deref();
                // What has an address of its own is nobody's secret.
                (&[][..], std::slice::from_ref(file), None, Some(pinned.url(mirror)))
            }
        };
        let volume = self.volume("model-cache");
        // Who reads offline and names no revision means `main`.
        let mut references: Vec<&str> = branches.iter().map(String::as_str).collect();
        if !references.contains(&"main") {
            references.push("main");
        }
        let data = json!({
            "app": self.helper("weights"),
            "tags": tags(&self.owner),
            "image": ImageDescription::of_the_hub(),
            "volume": volume.name,
            "at": volume.mount,
            "secrets": secret.into_iter().collect::<Vec<_>>(),
            "endpoint": endpoint,
            "url": url,
            "repository": pinned.repository,
            "commit": pinned.commit,
            "references": references,
            "key": task.key,
            "timeout": time_to_fetch(Some(files.iter().map(|file| file.size).sum())).as_secs(),
            "files": files.iter().map(file).collect::<Vec<_>>(),
        });
        let name = pinned.repository.replace('/', "--");
        let about = format!("Puts {} into a volume on Modal.", pinned.repository);
        let directory = self.programs.join("weights").join(name);
        let file = Program::Weights.write(&directory, &about, &data)?;
        // What is expected belongs to the message before it.
        task.reporter.message("Modal fetches them");
        task.reporter.expect(files.iter().map(|file| file.size).sum());
        let what = StepId::weights(&pinned.repository);
        let request = json!({"file": file, "function": "fetch"});
        let answer = self.client.call(what.as_str(), "run", request, &task.reporter).await?;
        match understood(answer)? {
            Answer::Ok(Placed { fetched, reused }) => {
                let evidence = [
                    ("bytes".to_owned(), (fetched + reused).to_string()),
                    ("bytes-fetched".to_owned(), fetched.to_string()),
                    ("bytes-reused".to_owned(), reused.to_string()),
                ];
                Ok(Outcome { facts: pinned.facts(), evidence: evidence.into() })
            }
            Answer::Refused { code, message } => Err(ModalError::Weights {
                repository: pinned.repository.clone(),
                message,
                help: self.way_out(&code, &pinned.repository),
            }
            .into()),
        }
    }

    /// The hub that is asked there: nothing of this shell's environment goes elsewhere.
    fn hub_endpoint(&self) -> &str {
        self.settings.hub_endpoint.as_deref().unwrap_or(crate::hub::ENDPOINT)
    }

    /// What to do when weights can't be fetched there.
    fn way_out(&self, code: &str, repository: &str) -> String {
        let secret = match &self.settings.hf_secret {
            Some(name) => format!("the Modal secret {name}"),
            None => "a Modal secret, named by `[target.modal] hf-secret`,".to_owned(),
        };
        match code {
            "gated" => format!(
                "ask for access at {}/{repository} with the account whose HF_TOKEN is in {secret}",
                self.hub_endpoint()
            ),
            "token" => format!("{secret} has to hold an HF_TOKEN that the hub knows"),
            "repository" => format!("is the name right? A private one needs {secret} with an HF_TOKEN that may read it"),
            "revision" => "the commit is gone from the hub: choose another `revision`, or `goatbuild lock --upgrade`".to_owned(),
            "limit" => "the hub wants fewer requests: run it again later; what has come is kept".to_owned(),
            "full" => format!(
                "the volume {} has no room: remove what is not needed there, and run it again; what has come is kept",
                self.volume("model-cache").name
            ),
            "address" => "can Modal reach that? `[target.modal] encodings-endpoint` names another place".to_owned(),
            "bytes" => "the hub sent other bytes than it lists: they were thrown away. Run it again".to_owned(),
            _ => "run it again: what has come is kept".to_owned(),
        }
    }
}

fn file(file: &RemoteFile) -> Value {
    let (git, sha256) = match file.digest {
        FileDigest::GitBlob(_) => (Some(file.digest.hex()), None),
        FileDigest::Sha256(_) => (None, Some(file.digest.hex())),
    };
    json!({"path": file.path, "size": file.size, "git": git, "sha256": sha256})
}
