//! One repository of a registry, spoken to over HTTP (the distribution specification's API).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::RegistryError;
use super::credentials::{self, Credential};
use super::manifest::{ACCEPT as MANIFESTS, BlobRef};
use crate::event::Reporter;
use crate::fetch::{Expected, Failure, FetchError, Fetcher, Retry, hex, innermost, retry_after};
use crate::spec::{ImageReference, is_digest};

/// No manifest or token is larger.
const LIMIT: usize = 8 << 20;

/// How registries are spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Registries, as `host:port`, without TLS; loopback always is.
    pub plain_http: Vec<String>,
    /// Docker's configuration files, of which the first that has credentials counts.
    pub credentials: Vec<PathBuf>,
}

/// What is wanted of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Pull,
    Push,
}

impl Access {
    fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
        }
    }

    fn deed(self) -> &'static str {
        match self {
            Self::Pull => "pull from",
            Self::Push => "push to",
        }
    }
}

/// One repository, with what lets this user in.
pub(super) struct Registry {
    pub(super) fetcher: Fetcher,
    pub(super) reference: ImageReference,
    settings: RegistrySettings,
    access: Access,
    /// Another repository that is read as well: blobs are mounted from it.
    pub(super) mount: Option<String>,
    /// Where all paths begin: `https://host/v2/`.
    root: String,
    /// The header that the registry accepted last, or was just given for it.
    authorization: Mutex<Option<HeaderValue>>,
    /// Whether this user has credentials for it, as far as it asked for any.
    known: AtomicBool,
}

impl Registry {
    pub(super) fn open(
        fetcher: &Fetcher,
        settings: &RegistrySettings,
        reference: &ImageReference,
        access: Access,
    ) -> Self {
        let host = match reference.registry.as_str() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let plain = is_loopback(host) || settings.plain_http.iter().any(|it| it == host);
        let scheme = if plain { "http" } else { "https" };
        Self {
            fetcher: fetcher.clone(),
            reference: reference.clone(),
            settings: settings.clone(),
            access,
            mount: None,
            root: format!("{scheme}://{host}/v2/"),
            authorization: Mutex::new(None),
            known: AtomicBool::new(false),
        }
    }

    /// The URL of a path below the repository.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{}/{path}", self.root, self.reference.repository)
    }

    /// Whether it is this registry's own address, to which credentials may go.
    pub(super) fn owns(&self, url: &Url) -> bool {
        Url::parse(&self.root).is_ok_and(|root| root.origin() == url.origin())
    }

    /// Whether all that is said to it is encrypted.
    pub(super) fn has_tls(&self) -> bool {
        self.root.starts_with("https:")
    }

    /// A manifest or index, verified when it is named by digest; and its digest.
    pub(super) async fn document(&self, name: &str) -> Result<(Vec<u8>, String), RegistryError> {
        let mut retry = Retry::new(self.fetcher.patience());
        let path = format!("manifests/{name}");
        loop {
            let mut response = self.request(Method::GET, &path, Some(MANIFESTS)).await?;
            match self.body(&mut response).await {
                Ok(body) => {
                    let found = format!("sha256:{}", hex(&Sha256::digest(&body)));
                    if is_digest(name) && found != name {
                        return Err(RegistryError::Digest {
                            what: format!("the manifest of {}", self.reference),
                            expected: name.to_owned(),
                            found,
                        });
                    }
                    return Ok((body, found));
                }
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    async fn body(&self, response: &mut Response) -> Result<Vec<u8>, Failure<RegistryError>> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > LIMIT {
                let reason = format!("its manifest has more than {LIMIT} bytes");
                let reference = self.reference.to_string();
                return Err(Failure::Final(RegistryError::Kind { reference, reason }));
            }
        }
        Ok(body)
    }

    /// Fetches a blob into a file, which goes on from what an interrupted fetch left.
    pub(super) async fn blob(
        &self,
        blob: &BlobRef,
        to: &Path,
        reporter: &Reporter,
    ) -> Result<(), RegistryError> {
        let sources = [self.url(&format!("blobs/{}", blob.digest))];
        let digits = blob.digest.trim_start_matches("sha256:");
        let expected = Expected { size: Some(blob.size), sha256: digits.to_owned() };
        let mut renewed = false;
        loop {
            let authorization = self.authorization.lock().await.clone();
            let fetcher = self.fetcher.with_authorization(authorization.clone());
            match fetcher.file(&sources, &expected, to, reporter).await {
                Ok(_) => return Ok(()),
                // Tokens last for minutes, large blobs may take longer.
                Err(FetchError::Status { status: 401, .. }) if !renewed => {
                    renewed = true;
                    self.enter(authorization).await?;
                }
                Err(error) => return Err(self.explained(error, &blob.digest)),
            }
        }
    }

    /// Settles who is asking, so that what follows needs no second try.
    pub(super) async fn enter(&self, refused: Option<HeaderValue>) -> Result<(), RegistryError> {
        {
            let mut authorization = self.authorization.lock().await;
            if *authorization == refused {
                *authorization = None;
            }
        }
        let path = match self.access {
            Access::Pull => format!("manifests/{}", self.reference.name()),
            // The answer, found or not, comes after the question of who is asking.
            Access::Push => {
                "blobs/sha256:0000000000000000000000000000000000000000000000000000000000000000"
                    .to_owned()
            }
        };
        match self.request(Method::HEAD, &path, Some(MANIFESTS)).await {
            Err(RegistryError::NotFound { .. }) if self.access == Access::Push => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Sends a request without a body until it is answered well, or for good.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        accept: Option<&str>,
    ) -> Result<Response, RegistryError> {
        let url = self.url(path);
        let mut retry = Retry::new(self.fetcher.patience());
        let mut renewed = false;
        loop {
            let used = self.authorization.lock().await.clone();
            let mut request = self.client()?.request(method.clone(), &url);
            if let Some(accept) = accept {
                request = request.header(ACCEPT, accept);
            }
            let sent = Self::authorized(request, used.as_ref()).send().await;
            if let Ok(response) = &sent
                && response.status() == StatusCode::UNAUTHORIZED
                && !renewed
            {
                renewed = true;
                self.renew(used, response).await?;
                continue;
            }
            let judged = sent.map_err(|error| self.broken(&error));
            match judged.and_then(|response| self.judged(response, path)) {
                Ok(response) => return Ok(response),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    pub(super) fn client(&self) -> Result<&reqwest::Client, RegistryError> {
        if self.fetcher.is_offline() {
            return Err(RegistryError::Offline { reference: self.reference.to_string() });
        }
        self.fetcher.client().map_err(|failure| match failure {
            Failure::Final(error) | Failure::Transient(error, _) => error.into(),
            Failure::Progressed => panic!("BUG: making a client is no progress"),
        })
    }

    /// Adds the header, if there is one.
    pub(super) fn authorized(
        request: RequestBuilder,
        value: Option<&HeaderValue>,
    ) -> RequestBuilder {
        match value {
            // reqwest drops it when a redirect changes host or port.
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    /// The header to send now.
    pub(super) async fn header(&self) -> Option<HeaderValue> {
        self.authorization.lock().await.clone()
    }

    /// Sorts an answer into well, worth another try, and failed for good.
    pub(super) fn judged(
        &self,
        response: Response,
        path: &str,
    ) -> Result<Response, Failure<RegistryError>> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let wait = retry_after(&response);
        let failed = |attempts| RegistryError::Status {
            registry: self.reference.registry.clone(),
            status: status.as_u16(),
            attempts,
            what: format!("{}/{path}", self.reference.repository),
        };
        Err(match status {
            StatusCode::UNAUTHORIZED => Failure::Final(self.unauthorized()),
            StatusCode::FORBIDDEN => Failure::Final(self.denied()),
            StatusCode::NOT_FOUND | StatusCode::GONE => Failure::Final(self.not_found(path)),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Failure::Transient(failed(self.fetcher.patience().attempts), wait)
            }
            _ if status.is_server_error() => {
                Failure::Transient(failed(self.fetcher.patience().attempts), wait)
            }
            _ => Failure::Final(failed(1)),
        })
    }

    pub(super) fn broken(&self, error: &reqwest::Error) -> Failure<RegistryError> {
        let error = RegistryError::Network {
            registry: self.reference.registry.clone(),
            reason: innermost(error),
            attempts: self.fetcher.patience().attempts,
        };
        Failure::Transient(error, None)
    }

    fn unauthorized(&self) -> RegistryError {
        let known = self.known.load(Ordering::Relaxed);
        let ImageReference { registry, repository, .. } = self.reference.clone();
        RegistryError::Unauthorized { registry, repository, known }
    }

    fn denied(&self) -> RegistryError {
        let ImageReference { registry, repository, .. } = self.reference.clone();
        RegistryError::Denied { registry, repository, deed: self.access.deed() }
    }

    fn not_found(&self, path: &str) -> RegistryError {
        let ImageReference { registry, repository, .. } = self.reference.clone();
        let name = match path.rsplit('/').next().unwrap_or_default() {
            digest if digest.starts_with("sha256:") => format!("@{digest}"),
            tag => format!(":{tag}"),
        };
        RegistryError::NotFound { registry, repository, name }
    }

    /// A download's error, in a registry's words.
    fn explained(&self, error: FetchError, digest: &str) -> RegistryError {
        let registry = self.reference.registry.clone();
        match error {
            FetchError::Gone { .. } => self.not_found(digest),
            FetchError::Status { status: 401, .. } => self.unauthorized(),
            FetchError::Status { status: 403, .. } => self.denied(),
            FetchError::Status { status, attempts, .. } => {
                let what = format!("{}@{digest}", self.reference.repository);
                RegistryError::Status { registry, status, attempts, what }
            }
            FetchError::Mismatch { what: "SHA-256", found, .. } => RegistryError::Digest {
                what: format!("a blob of {}", self.reference),
                expected: digest.to_owned(),
                found: format!("sha256:{found}"),
            },
            FetchError::Network { reason, attempts, .. } => {
                RegistryError::Network { registry, reason, attempts }
            }
            FetchError::Offline { .. } => {
                RegistryError::Offline { reference: self.reference.to_string() }
            }
            other => other.into(),
        }
    }

    /// Gets another header after one was refused, unless somebody else already has.
    pub(super) async fn renew(
        &self,
        refused: Option<HeaderValue>,
        response: &Response,
    ) -> Result<(), RegistryError> {
        let mut authorization = self.authorization.lock().await;
        if *authorization != refused {
            return Ok(());
        }
        let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenge = challenges
            .filter_map(|value| Challenge::parse(value.to_str().ok()?))
            .max_by_key(|challenge| challenge.is_bearer);
        let unknown = |reason: &str| RegistryError::Challenge {
            registry: self.reference.registry.clone(),
            reason: reason.to_owned(),
        };
        let challenge = challenge.ok_or_else(|| unknown("neither Basic nor Bearer"))?;
        let ImageReference { registry, repository, .. } = &self.reference;
        let credential =
            credentials::find(&self.settings.credentials, registry, repository).await?;
        self.known.store(credential.is_some(), Ordering::Relaxed);
        let value = if challenge.is_bearer {
            let realm = challenge.realm.as_deref().and_then(|realm| Url::parse(realm).ok());
            let realm = realm.ok_or_else(|| unknown("it names no place that gives tokens"))?;
            // What is asked with TLS is not answered with a password without.
            if realm.scheme() != "https" && self.has_tls() {
                return Err(unknown("its tokens come from a place without TLS"));
            }
            let token = self.token(realm, &challenge, credential.as_ref()).await?;
            format!("Bearer {token}")
        } else {
            match &credential {
                Some(Credential::Password { user, password }) => basic(user, password),
                _ => return Err(self.unauthorized()),
            }
        };
        let mut value =
            HeaderValue::from_str(&value).map_err(|_| unknown("its token is no header"))?;
        value.set_sensitive(true);
        *authorization = Some(value);
        Ok(())
    }

    /// Exchanges a credential, or nothing, for a token for this repository.
    async fn token(
        &self,
        realm: Url,
        challenge: &Challenge,
        credential: Option<&Credential>,
    ) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let own = format!("repository:{}:{}", self.reference.repository, self.access.actions());
        let mount = self.mount.iter().map(|from| format!("repository:{from}:pull"));
        let scopes: Vec<String> = std::iter::once(own).chain(mount).collect();
        let joined = scopes.join(" ");
        let mut retry = Retry::new(self.fetcher.patience());
        loop {
            let client = self.client()?;
            let mut parameters: Vec<(&str, &str)> = Vec::new();
            if let Some(service) = &challenge.service {
                parameters.push(("service", service));
            }
            let request = match credential {
                Some(Credential::Identity(token)) => {
                    parameters.extend([
                        ("scope", joined.as_str()),
                        ("grant_type", "refresh_token"),
                        ("client_id", "goatbuild"),
                        ("refresh_token", token),
                    ]);
                    let mut form = realm.clone();
                    form.query_pairs_mut().clear().extend_pairs(parameters);
                    client
                        .post(realm.clone())
                        .header("content-type", "application/x-www-form-urlencoded")
                        .body(form.query().unwrap_or_default().to_owned())
                }
                other => {
                    parameters.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
                    let mut url = realm.clone();
                    url.query_pairs_mut().extend_pairs(parameters);
                    match other {
                        Some(Credential::Password { user, password }) => {
                            client.get(url).header(AUTHORIZATION, basic(user, password))
                        }
                        _ => client.get(url),
                    }
                }
            };
            let outcome = match request.send().await {
                Ok(response)
                    if [
                        StatusCode::UNAUTHORIZED,
                        StatusCode::FORBIDDEN,
                        StatusCode::BAD_REQUEST,
                    ]
                    .contains(&response.status()) =>
                {
                    return Err(self.unauthorized());
                }
                Ok(response) => self.judged(response, "token"),
                Err(error) => Err(self.broken(&error)),
            };
            let outcome = match outcome {
                Ok(mut response) => self.body(&mut response).await,
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok(body) => {
                    let answer = serde_json::from_slice::<Answer>(&body).ok();
                    let token = answer.and_then(|it| it.token.or(it.access_token));
                    return token.ok_or_else(|| RegistryError::Challenge {
                        registry: self.reference.registry.clone(),
                        reason: "what gives its tokens gave none".to_owned(),
                    });
                }
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Whether a registry is this machine, where nobody else can listen.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// A `WWW-Authenticate` header: how to log in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Challenge {
    is_bearer: bool,
    realm: Option<String>,
    service: Option<String>,
}

impl Challenge {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let mut challenge = match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Self { is_bearer: true, ..Self::default() },
            "basic" => Self::default(),
            _ => return None,
        };
        while let Some((name, after)) = rest.split_once('=') {
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            let value = Some(value.trim().to_owned());
            match name.trim().trim_start_matches(',').trim().to_ascii_lowercase().as_str() {
                "realm" => challenge.realm = value,
                "service" => challenge.service = value,
                _ => {}
            }
            rest = after;
        }
        Some(challenge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let docker = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let read = Challenge::parse(docker).expect("a challenge");
        assert!(read.is_bearer);
        assert_eq!(read.realm.as_deref(), Some("https://auth.docker.io/token"));
        assert_eq!(read.service.as_deref(), Some("registry.docker.io"));
        assert!(!Challenge::parse("Basic realm=x").expect("a challenge").is_bearer);
        assert_eq!(Challenge::parse("Negotiate"), None);
    }

    #[test]
    fn only_loopback_goes_without_tls_by_itself() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.9.1", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["docker.io", "10.0.0.1:5000", "localhost.evil.example", "[fe80::1]:5000"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
