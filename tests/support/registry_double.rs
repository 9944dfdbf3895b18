//! A double of a registry, of the host that its blobs come from, and of the place that gives tokens.
//!
//! It is strict: it knows the paths of the distribution specification, wants credentials where they
//! belong and refuses them anywhere else, and takes no bytes that aren't those of their digest. It
//! fails as it is told to. A real registry is beside it in the same tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use goatbuild::digest::Digest;
use serde_json::{Value, json};

use super::double::{Answer, Asked, Content, Server};
use super::registry::{PASSWORD, USER};

/// The repository with what is in the layout.
pub(crate) const REPOSITORY: &str = "acme/base";

/// What is exchanged for tokens, where a credential is no password.
pub(crate) const IDENTITY: &str = "an-identity-that-nobody-may-see";

/// How every token begins.
pub(crate) const TOKEN: &str = "a-token-that-nobody-may-see";

/// How it wants to know who is asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Not at all: a credential is an error.
    Open,
    /// By user and password.
    Basic,
    /// By a token, which another host gives for a user and password or for an identity.
    Bearer,
}

struct State {
    layout: PathBuf,
    door: Door,
    /// Whether blobs come from another host.
    redirects: bool,
    /// Whether nobody may read another repository to mount from it.
    guards_others: bool,
    /// Tokens are good until there is another one.
    token: usize,
    /// What the token is good for.
    scopes: BTreeSet<String>,
    /// What was pushed, by repository and name.
    pushed: BTreeMap<(String, String), Vec<u8>>,
}

/// The running double; its threads end with the process.
#[derive(Clone)]
pub(crate) struct RegistryDouble {
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    /// The host that blobs may come from.
    pub(crate) storage: String,
    tokens: String,
    state: Arc<Mutex<State>>,
    server: Server,
}

impl Deref for RegistryDouble {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl RegistryDouble {
    /// Serves the images of this layout.
    pub(crate) fn start(layout: &Path, door: Door) -> Self {
        let (registry, url) = Server::listen("127.0.0.1");
        // Other hosts, not other ports of the same one.
        let (storing, storage) = Server::listen("127.0.0.2");
        let (giving, tokens) = Server::listen("127.0.0.3");
        let state = State {
            layout: layout.to_owned(),
            door,
            redirects: false,
            guards_others: false,
            token: 0,
            scopes: BTreeSet::new(),
            pushed: BTreeMap::new(),
        };
        let double = Self {
            host: url.trim_start_matches("http://").to_owned(),
            storage,
            tokens,
            state: Arc::new(Mutex::new(state)),
            server: Server::default(),
        };
        let here = double.clone();
        double.server.serve("registry", registry, move |asked| here.registry(asked));
        let there = double.clone();
        double.server.serve("storage", storing, move |asked| there.stored(asked));
        let there = double.clone();
        double.server.serve("tokens", giving, move |asked| there.token(asked));
        double
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Has blobs come from another host from now on.
    pub(crate) fn redirects_blobs(&self) {
        self.state().redirects = true;
    }

    /// Lets nobody read another repository together with the one that is pushed to.
    pub(crate) fn guards_others(&self) {
        self.state().guards_others = true;
    }

    /// The given token is good no more.
    pub(crate) fn expire(&self) {
        self.state().token += 1;
    }

    /// How many requests there were with this method, for paths that contain `at`.
    pub(crate) fn asked(&self, method: &str, at: &str) -> usize {
        let requests = self.requests();
        requests.iter().filter(|one| one.method == method && one.path.contains(at)).count()
    }

    /// What was pushed under a name.
    pub(crate) fn pushed(&self, repository: &str, name: &str) -> Option<Vec<u8>> {
        self.state().pushed.get(&(repository.to_owned(), name.to_owned())).cloned()
    }

    fn registry(&self, asked: &Asked) -> Answer {
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let ["v2", org, name, rest @ ..] = &parts[..] else { return Answer::status(404, "") };
        let repository = format!("{org}/{name}");
        let writes = !["GET", "HEAD"].contains(&&*asked.method);
        if let Some(refused) = self.refused(asked.header("authorization"), &repository, writes) {
            return refused;
        }
        match (&*asked.method, rest) {
            ("GET" | "HEAD", ["manifests", name]) => self.manifest(asked, &repository, name),
            ("GET" | "HEAD", ["blobs", digest]) => self.blob(&repository, digest),
            ("POST", ["blobs", "uploads", ""]) => self.begin(&repository, query),
            ("PUT", ["blobs", "uploads", "1"]) => self.take(&repository, query, &asked.body),
            ("PUT", ["manifests", name]) => self.take_manifest(&repository, name, &asked.body),
            _ => Answer::status(405, ""),
        }
    }

    fn refused(&self, found: Option<&str>, repository: &str, writes: bool) -> Option<Answer> {
        let state = self.state();
        let actions = if writes { "pull,push" } else { "pull" };
        let challenge = match state.door {
            Door::Open if found.is_none() => return None,
            Door::Open => return Some(Answer::status(400, "x-double: who asked for that?")),
            Door::Basic if found == Some(&*basic(PASSWORD)) => return None,
            Door::Basic => "Basic realm=\"double\"".to_owned(),
            Door::Bearer => {
                let token = format!("Bearer {TOKEN}-{}", state.token);
                let good = |actions| state.scopes.contains(&scope(repository, actions));
                if found == Some(&*token) && (good("pull,push") || good(actions)) {
                    return None;
                }
                format!(
                    "Bearer realm=\"{}/token\",service=\"double\",scope=\"{}\"",
                    self.tokens,
                    scope(repository, actions)
                )
            }
        };
        Some(Answer::status(401, &format!("www-authenticate: {challenge}")))
    }

    /// A token for whoever is known, good for what was asked.
    fn token(&self, asked: &Asked) -> Answer {
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        let body = String::from_utf8(asked.body.clone()).unwrap();
        let pairs = reqwest::Url::parse(&format!("http://t/?{query}&{body}")).unwrap();
        let all = |name: &str| -> Vec<String> {
            let pairs = pairs.query_pairs().filter(|(known, _)| known == name);
            pairs.map(|(_, value)| value.into_owned()).collect()
        };
        let is_known = match &*asked.method {
            "GET" => asked.header("authorization") == Some(&*basic(PASSWORD)),
            "POST" => {
                query.is_empty()
                    && all("grant_type") == ["refresh_token"]
                    && all("refresh_token") == [IDENTITY]
            }
            _ => return Answer::status(405, ""),
        };
        if path != "/token" || all("service") != ["double"] {
            return Answer::status(404, "");
        }
        if !is_known {
            return Answer::status(401, "");
        }
        let scopes = all("scope");
        let scopes: BTreeSet<String> =
            scopes.iter().flat_map(|scope| scope.split(' ')).map(str::to_owned).collect();
        let mut state = self.state();
        if state.guards_others && scopes.len() > 1 {
            return Answer::status(403, "");
        }
        state.scopes = scopes;
        Answer::json(&json!({ "token": format!("{TOKEN}-{}", state.token), "expires_in": 300 }))
    }

    fn manifest(&self, asked: &Asked, repository: &str, name: &str) -> Answer {
        let found = match self.pushed(repository, name) {
            Some(bytes) => Some(bytes),
            None if repository == REPOSITORY => self.tagged(name).and_then(|it| self.stock(&it)),
            None => None,
        };
        let Some(bytes) = found else { return Answer::status(404, "") };
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let kind = document["mediaType"].as_str().unwrap();
        if !asked.header("accept").is_some_and(|accept| accept.contains(kind)) {
            return Answer::status(404, "x-double: nobody accepts it");
        }
        let mut answer = Answer::of(whole(bytes));
        answer.headers.push(format!("content-type: {kind}"));
        answer
    }

    fn blob(&self, repository: &str, digest: &str) -> Answer {
        let bytes = self.pushed(repository, digest);
        let bytes = bytes.or_else(|| self.stock(digest).filter(|_| repository == REPOSITORY));
        let Some(bytes) = bytes else { return Answer::status(404, "") };
        if self.state().redirects {
            let to = format!("{}/{digest}?signature=secret", self.storage);
            return Answer::status(307, &format!("location: {to}"));
        }
        Answer::of(whole(bytes))
    }

    fn stored(&self, asked: &Asked) -> Answer {
        let path = asked.target.trim_start_matches('/');
        // Signed addresses and a token together are an error of whoever asks.
        match path.split_once('?') {
            Some(_) if asked.header("authorization").is_some() => Answer::status(400, ""),
            Some((digest, "signature=secret")) => {
                self.stock(digest).map_or(Answer::status(404, ""), |it| Answer::of(whole(it)))
            }
            _ => Answer::status(403, ""),
        }
    }

    /// The digest that a name stands for in the layout.
    fn tagged(&self, name: &str) -> Option<String> {
        if name.starts_with("sha256:") {
            return Some(name.to_owned());
        }
        let index = fs::read(self.state().layout.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let mut entries = index["manifests"].as_array().unwrap().iter();
        let tag = "org.opencontainers.image.ref.name";
        let entry = entries.find(|entry| entry["annotations"][tag] == name)?;
        entry["digest"].as_str().map(str::to_owned)
    }

    fn stock(&self, digest: &str) -> Option<Vec<u8>> {
        let digits = digest.strip_prefix("sha256:")?;
        fs::read(self.state().layout.join("blobs/sha256").join(digits)).ok()
    }

    fn begin(&self, repository: &str, query: &str) -> Answer {
        if let Some((digest, from)) =
            query.strip_prefix("mount=").and_then(|query| query.split_once("&from="))
        {
            if self.state().guards_others {
                return Answer::status(403, "");
            }
            if from == REPOSITORY
                && let Some(bytes) = self.stock(digest)
            {
                self.put(repository, digest, &bytes);
                return Answer::status(201, "");
            }
        }
        Answer::status(202, &format!("location: /v2/{repository}/blobs/uploads/1?state=x"))
    }

    fn take(&self, repository: &str, query: &str, bytes: &[u8]) -> Answer {
        let digest = query.strip_prefix("state=x&digest=").unwrap_or_default().replace("%3A", ":");
        if digest != digest_of(bytes) {
            return Answer::status(400, "x-double: other bytes");
        }
        self.put(repository, &digest, bytes);
        Answer::status(201, "")
    }

    fn take_manifest(&self, repository: &str, name: &str, bytes: &[u8]) -> Answer {
        let manifest: Value = serde_json::from_slice(bytes).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        let mut blobs = layers.iter().chain([&manifest["config"]]);
        let is_there =
            |blob: &Value| self.pushed(repository, blob["digest"].as_str().unwrap()).is_some();
        if !blobs.all(is_there) {
            return Answer::status(400, "x-double: it names what is not there");
        }
        let digest = digest_of(bytes);
        self.put(repository, name, bytes);
        self.put(repository, &digest, bytes);
        Answer::status(201, &format!("docker-content-digest: {digest}"))
    }

    fn put(&self, repository: &str, name: &str, bytes: &[u8]) {
        let key = (repository.to_owned(), name.to_owned());
        self.state().pushed.insert(key, bytes.to_vec());
    }
}

/// The header of a user with this password.
pub(crate) fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{USER}:{password}")))
}

fn scope(repository: &str, actions: &str) -> String {
    format!("repository:{repository}:{actions}")
}

fn digest_of(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

fn whole(bytes: Vec<u8>) -> Content {
    let size = bytes.len() as u64;
    Content::repeated(bytes, size)
}
