//! What keeps those from a server who don't have its key: a middleware in the engine's own process, where the
//! engine takes one. No engine is told the key, since engines write down and hash what they are told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::state::Served;
use super::unserved::Unserved;
use super::{Deployment, Local, LocalError};
use crate::durable;
use crate::event::{Cancelled, Reporter};
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

/// How often a server is asked without its key that gives no answer then: one answer may be lost.
const TRIES: u32 = 3;

/// How long each of these answers may take.
const ANSWER: Duration = Duration::from_secs(30);

/// How long to wait before it is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long an answer may take to whether a server is up.
const SHORT: Duration = Duration::from_secs(5);

/// Asks a server whether it is up, without its key at first: somebody else may hold its port.
pub(super) struct Probe {
    health: String,
    open: Server,
    /// With the key, where it has one.
    keyed: Option<Server>,
}

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

    /// What asks a server whether it is up. Fails where its key can't be had.
    pub(super) async fn probe(&self, model: &str, served: &Served) -> Result<Probe, StepError> {
        let keyed = self.asking(model, served, SHORT).await?;
        let open = Server::local(&served.url(), model, SHORT)?;
        let keyed = served.has_key().then_some(keyed);
        Ok(Probe { health: served.health.clone(), open, keyed })
    }

    /// Fails where a server that is to ask for a key answers somebody who has none: whatever it is, it must not
    /// stay.
    pub(super) async fn turns_away(
        &self,
        deployment: &Deployment,
        served: &Served,
        reporter: &Reporter,
    ) -> Result<(), Unserved> {
        if !served.has_key() {
            return Ok(());
        }
        let api = Server::local(&served.url(), &deployment.model, ANSWER)
            .map_err(|error| Unserved::Other(error.into()))?;
        let heard = heard_without_key(&api, deployment.api.path(), reporter).await;
        match heard.map_err(|_| Unserved::Interrupted)? {
            Some(401 | 403) => Ok(()),
            Some(status) => Err(Unserved::Open(status)),
            // Nobody knows what it would have said.
            None if self.is_alive(served).await.map_err(Unserved::Other)? => {
                Err(Unserved::Mute { tries: TRIES, each: ANSWER })
            }
            None => Err(Unserved::Ended),
        }
    }
}

impl Probe {
    /// The HTTP status that its health path answers anybody, if any.
    pub(super) async fn without_key(&self) -> Option<u16> {
        self.open.status(&self.health).await
    }

    /// What it answers with its key, where what it answered without is that it wants one; for a server that is
    /// known to run.
    pub(super) async fn with_key(&self, heard: Option<u16>) -> Option<u16> {
        match (&self.keyed, heard) {
            (Some(keyed), Some(401 | 403)) => keyed.status(&self.health).await.or(heard),
            _ => heard,
        }
    }
}

/// Whether a status says that a server is up.
pub(super) fn is_up(status: Option<u16>) -> bool {
    status.is_some_and(|status| (200..300).contains(&status))
}

/// What a server answers to a request without a key, at this path of its API; none where it gives no answer,
/// however often it is asked.
async fn heard_without_key(
    api: &Server,
    path: &str,
    reporter: &Reporter,
) -> Result<Option<u16>, Cancelled> {
    for tried in 1..=TRIES {
        if let Some(status) = api.status_of_nothing(path).await {
            return Ok(Some(status));
        }
        reporter.check()?;
        if tried < TRIES {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(None)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::Credentials;
    use crate::spec::{Project, SourceFile, Sources, SpecErrors, read};

    fn project(engine: &str, more: &str) -> Result<Project, SpecErrors> {
        with_defaults("", engine, more)
    }

    fn with_defaults(defaults: &str, engine: &str, more: &str) -> Result<Project, SpecErrors> {
        let file = |path: &str, text: String| SourceFile { path: path.into(), text: text.into() };
        let project = format!(
            "project.id = \"a\"\ntarget.local.api-key-secret = \"k\"\n\
             secrets.k.from.env = \"K\"\n{defaults}"
        );
        let spec = format!(
            "image = \"one\"\nmodel.source = \"hf:a/b\"\nengine.name = \"{engine}\"\n{more}"
        );
        let sources = Sources {
            project: file("goatbuild.toml", project),
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
        // What the defaults say can't be removed from a spec; what is told holds there, too.
        let defaults = format!("defaults.{KEYED}");
        let told = format!("{:?}", with_defaults(&defaults, "mlx-lm", "").unwrap_err());
        assert!(
            told.contains("asks nobody for a key") && told.contains("set `serve.auth"),
            "{told}"
        );
        let followed = with_defaults(&defaults, "mlx-lm", "serve.auth = \"none\"\n");
        assert!(!format!("{followed:?}").contains("asks nobody for a key"));
    }

    #[test]
    fn nobody_else_sets_the_variable_of_the_key() {
        for auth in ["", KEYED] {
            for set in ["env.GOATBUILD_API_KEY = \"x\"\n", "secret-env.GOATBUILD_API_KEY = \"k\"\n"]
            {
                let told = project("vllm", &format!("{auth}{set}")).unwrap_err();
                let told = format!("{told:?}");
                assert!(told.contains("OwnVariable"), "{told}");
                assert!(told.contains("servers get the key in it"), "{told}");
            }
        }
    }

    /// A server that says what each of these is, one to each connection, and nothing where there is none; and
    /// all that it heard.
    async fn server(
        answers: &'static [Option<u16>],
    ) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = vec![0; 4096];
                let count = stream.read(&mut bytes).await.unwrap();
                heard.push(String::from_utf8_lossy(&bytes[..count]).to_lowercase());
                if let Some(status) = answer {
                    let answer = format!(
                        "HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
            heard
        });
        (url, heard)
    }

    #[tokio::test]
    async fn one_lost_answer_is_asked_for_again() {
        let (url, heard) = server(&[None, Some(401)]).await;
        let api = Server::local(&url, "m", SHORT).unwrap();
        let said = heard_without_key(&api, "chat/completions", &Reporter::silent()).await;
        assert_eq!(said, Ok(Some(401)));
        assert_eq!(heard.await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn nobody_gets_the_key_at_the_health_path_who_does_not_ask_for_it() {
        let all: [(&'static [Option<u16>], &[bool]); 3] = [
            (&[Some(200)], &[false]),
            (&[Some(503)], &[false]),
            (&[Some(401), Some(200)], &[false, true]),
        ];
        for (answers, sent) in all {
            let (url, heard) = server(answers).await;
            let header =
                Header { name: AUTHORIZATION, scheme: "Bearer ", variable: "K".to_owned() };
            let key = Credentials::known(header, "hush-5d".to_owned()).unwrap();
            let open = Server::local(&url, "m", SHORT).unwrap();
            let keyed = Some(Server::local_with(&url, "m", SHORT, key).unwrap());
            let probe = Probe { health: "/health".to_owned(), open, keyed };
            let said = probe.with_key(probe.without_key().await).await;
            assert_eq!(said, *answers.last().unwrap());
            let heard = heard.await.unwrap();
            let got: Vec<bool> = heard.iter().map(|it| it.contains("bearer hush-5d")).collect();
            assert_eq!(got, sent);
        }
    }
}
