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
use crate::spec::{AUTHORIZATION, Auth, Header, Model};
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
        if flag(&deployment.spec).is_none() {
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
    model: &Model,
    command: &mut Vec<String>,
    environment: &mut BTreeMap<String, String>,
    of_image: Option<&str>,
) {
    let Some(flag) = flag(model) else { return };
    command.extend([flag.to_owned(), CLASS.to_owned()]);
    let others = environment.get(PYTHONPATH).map(String::as_str).or(of_image);
    let path = match others {
        Some(others) if !others.is_empty() => format!("{PLACE}:{others}"),
        _ => PLACE.to_owned(),
    };
    environment.insert(PYTHONPATH.to_owned(), path);
}

fn flag(model: &Model) -> Option<&'static str> {
    model.engine.kind.middleware().filter(|_| model.serve.auth == Auth::ApiKey)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Project, SourceFile, Sources, SpecErrors, read};

    fn project(engine: &str, more: &str) -> Result<Project, SpecErrors> {
        let file = |path: &str, text: String| SourceFile { path: path.into(), text: text.into() };
        let project = "project.id = \"a\"\ntarget.local.api-key-secret = \"k\"\n\
                       secrets.k.from.env = \"K\"\n";
        let spec = format!(
            "image = \"one\"\nmodel.source = \"hf:a/b\"\nengine.name = \"{engine}\"\n{more}"
        );
        let sources = Sources {
            project: file("goatbuild.toml", project.to_owned()),
            specs: vec![file("specs/m.toml", spec)],
            images: vec![file("images/one.toml", "base.debian = \"bookworm\"\n".to_owned())],
            mistakes: Vec::new(),
            kinds: crate::project::kinds(),
        };
        read(&sources, None)
    }

    const KEYED: &str = "serve.auth = \"api-key\"\n";

    /// What is started in place of `vllm serve`, and `PYTHONPATH` there.
    fn started(engine: &str, more: &str, of_image: Option<&str>) -> (String, Option<String>) {
        let project = project(engine, more).unwrap();
        let model = &project.models["m"];
        let mut command = vec!["vllm".to_owned(), "serve".to_owned()];
        let mut environment = model.env.clone();
        stand(model, &mut command, &mut environment, of_image);
        assert!(!environment.contains_key("VLLM_API_KEY"));
        (command.join(" "), environment.remove(PYTHONPATH))
    }

    #[test]
    fn vllm_loads_the_middleware_and_other_modules_stay_where_they_were() {
        let guarded = "vllm serve --middleware goatbuild_guard.Guard";
        let path = |path: &str| Some(path.to_owned());
        assert_eq!(started("vllm", KEYED, None), (guarded.to_owned(), path(PLACE)));
        let (_, found) = started("vllm", KEYED, Some("/opt/lib"));
        assert_eq!(found, path("/srv/goatbuild-guard:/opt/lib"));
        let own = format!("{KEYED}env.PYTHONPATH = \"/srv/own\"\n");
        let (_, found) = started("vllm", &own, Some("/opt/lib"));
        assert_eq!(found, path("/srv/goatbuild-guard:/srv/own"));
        // Who is asked for nothing is told nothing.
        assert_eq!(started("vllm", "", Some("/opt/lib")), ("vllm serve".to_owned(), None));
        let server = format!("{KEYED}engine.command = [\"serve\", \"{{port}}\"]\n");
        assert_eq!(started("command", &server, None), ("vllm serve".to_owned(), None));
    }

    #[test]
    fn an_engine_that_asks_nobody_for_a_key_is_told() {
        let told = format!("{:?}", project("mlx-lm", KEYED).unwrap_err());
        assert!(told.contains("mlx-lm asks nobody for a key"), "{told}");
    }
}
