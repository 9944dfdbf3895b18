//! What keeps those from a server who don't have its key: a middleware in the engine's own process, where the
//! engine takes one. No engine is told the key, since engines write down and hash what they are told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::state::Served;
use super::unserved::Unserved;
use super::{Deployment, Local, LocalError};
use crate::durable;
use crate::openai::Server;
use crate::runtime::Bind;
use crate::spec::{AUTHORIZATION, Auth, Header};
use crate::step::StepError;

/// The middleware. When it changes what it does, `GUARD` in `secrets/key.rs` is raised.
const TEXT: &str = include_str!("goatbuild_guard.py");

/// Where it is inside.
const PLACE: &str = "/srv/goatbuild-guard";

/// What Python calls it.
const CLASS: &str = "goatbuild_guard.Guard";

/// Where Python looks for modules first.
const PYTHONPATH: &str = "PYTHONPATH";

impl Local {
    /// What others send who ask.
    pub(super) fn headers_where(&self, has_key: bool) -> Vec<Header> {
        let variable = self.asked_in.clone();
        let key = Header { name: AUTHORIZATION, scheme: "Bearer ", variable };
        has_key.then_some(key).into_iter().collect()
    }

    /// The directory with the middleware, for a server that is to have it.
    pub(super) fn guard(&self, deployment: &Deployment) -> Result<Option<Bind>, StepError> {
        if flag(deployment).is_none() {
            return Ok(None);
        }
        let digest = blake3::hash(TEXT.as_bytes()).to_hex();
        // Named by what is in it: a server that is started again finds the one that it had.
        let directory = self.places.ours.join("guard").join(&digest[..32]);
        let file = directory.join("goatbuild_guard.py");
        if std::fs::read(&file).ok().as_deref() != Some(TEXT.as_bytes()) {
            let failed = |source| LocalError::File { path: file.clone(), source };
            std::fs::create_dir_all(&directory).map_err(failed)?;
            durable::write(&file, TEXT.as_bytes(), 0o644).map_err(failed)?;
        }
        let source = std::path::absolute(&directory).unwrap_or(directory);
        Ok(Some(Bind { source, target: PathBuf::from(PLACE), read_only: true }))
    }
}

/// Adds the middleware to what is started, where the server is to have it.
pub(super) fn stand(
    deployment: &Deployment,
    command: &mut Vec<String>,
    environment: &mut BTreeMap<String, String>,
    of_image: Option<&str>,
) {
    let Some(flag) = flag(deployment) else { return };
    command.extend([flag.to_owned(), CLASS.to_owned()]);
    let others = environment.get(PYTHONPATH).map(String::as_str).or(of_image);
    let path = match others {
        Some(others) if !others.is_empty() => format!("{PLACE}:{others}"),
        _ => PLACE.to_owned(),
    };
    environment.insert(PYTHONPATH.to_owned(), path);
}

fn flag(deployment: &Deployment) -> Option<&'static str> {
    let has_key = deployment.spec.serve.auth == Auth::ApiKey;
    deployment.spec.engine.kind.middleware().filter(|_| has_key)
}

/// Fails where a server that is to ask for a key answers somebody who has none: whatever it is, it must not
/// stay.
pub(super) async fn turns_away(deployment: &Deployment, served: &Served) -> Result<(), Unserved> {
    if !served.has_key() {
        return Ok(());
    }
    let api = Server::local(&served.url(), &deployment.model, Duration::from_secs(30))
        .map_err(|error| Unserved::Other(error.into()))?;
    match api.status_of_nothing(deployment.api.path()).await {
        Some(401 | 403) => Ok(()),
        Some(status) => Err(Unserved::Open(status)),
        // It was up a moment ago, and nobody knows what it would have said.
        None => Err(Unserved::Late(None)),
    }
}
