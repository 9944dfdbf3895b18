//! One repository of a registry, spoken to over HTTP (the distribution specification's API).

mod refusal;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use tokio::sync::Mutex;

use super::RegistryError;
use super::manifest::{ACCEPT as MANIFESTS, BlobRef};
use crate::digest::Digest;
use crate::event::Reporter;
use crate::fetch::{Expected, Failure, FetchError, Fetcher, Pace, Retry, answer};
use crate::spec::ImageReference;

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
    pub(super) fn actions(self) -> &'static str {
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
    pub(super) settings: RegistrySettings,
    pub(super) access: Access,
    /// Another repository that is read as well: blobs are mounted from it.
    pub(super) mount: Option<String>,
    /// Whether this user may, as far as anybody said.
    may_mount: AtomicBool,
    /// Where all paths begin: `https://host/v2/`.
    root: String,
    /// The header that the registry accepted last, or was just given for it.
    pub(super) authorization: Mutex<Option<HeaderValue>>,
    /// Whether this user has credentials for it, as far as it asked for any.
    pub(super) known: AtomicBool,
    /// Whether it let us in, with the header that is kept.
    is_open: AtomicBool,
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
            may_mount: AtomicBool::new(true),
            root: format!("{scheme}://{host}/v2/"),
            authorization: Mutex::new(None),
            known: AtomicBool::new(false),
            is_open: AtomicBool::new(false),
        }
    }

    /// The URL of a path below the repository.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{}/{path}", self.root, self.reference.repository)
    }

    /// The repository to mount from, unless that was refused.
    pub(super) fn mount(&self) -> Option<&str> {
        self.mount.as_deref().filter(|_| self.may_mount.load(Ordering::Relaxed))
    }

    /// What may not be read can't be mounted from.
    pub(super) fn forget_mount(&self) {
        self.may_mount.store(false, Ordering::Relaxed);
    }

    /// Whether it is this registry's own address, to which credentials may go.
    pub(super) fn owns(&self, url: &Url) -> bool {
        Url::parse(&self.root).is_ok_and(|root| root.origin() == url.origin())
    }

    /// Whether all that is said to it is encrypted.
    pub(super) fn has_tls(&self) -> bool {
        self.root.starts_with("https:")
    }

    /// A manifest or index, verified when it is named by digest and not by the tag; and its digest.
    pub(super) async fn document(
        &self,
        digest: Option<Digest>,
    ) -> Result<(Vec<u8>, Digest), RegistryError> {
        let mut retry = self.retry();
        let name = digest.map_or_else(|| self.reference.name(), String::from);
        let path = format!("manifests/{name}");
        loop {
            let mut response = self.request(Method::GET, &path, Some(MANIFESTS)).await?;
            match self.body(&mut response, &path).await {
                Ok(body) => {
                    let found = Digest::of(&body);
                    if let Some(expected) = digest.filter(|digest| *digest != found) {
                        return Err(RegistryError::Digest {
                            what: format!("the manifest of {}", self.reference),
                            expected,
                            found: found.to_string(),
                        });
                    }
                    return Ok((body, found));
                }
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    pub(super) async fn body(
        &self,
        response: &mut Response,
        path: &str,
    ) -> Result<Vec<u8>, Failure<RegistryError>> {
        let mut body = Vec::new();
        let mut pace = Pace::of_document(self.fetcher.patience().stall);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error, path))? {
            body.extend_from_slice(&chunk);
            if body.len() > LIMIT {
                let reason = format!("its manifest has more than {LIMIT} bytes");
                let reference = self.reference.to_string();
                return Err(Failure::Final(RegistryError::Kind { reference, reason }));
            }
            pace.check(body.len() as u64).map_err(|reason| self.interrupted(reason))?;
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
        let name = blob_name(&self.reference);
        let sources = [self.url(&format!("blobs/{}", blob.digest))];
        let expected = Expected { size: Some(blob.size), sha256: blob.digest };
        let mut renewed = false;
        loop {
            let authorization = self.authorization.lock().await.clone();
            let fetcher = self.fetcher.with_authorization(authorization.clone());
            match fetcher.file(&name, &sources, &expected, to, reporter).await {
                Ok(_) => return Ok(()),
                // Tokens last for minutes, large blobs may take longer.
                Err(FetchError::Status { status: 401, .. }) if !renewed => {
                    renewed = true;
                    self.enter(authorization).await?;
                }
                Err(error) => return Err(self.explained(error, blob.digest)),
            }
        }
    }

    /// Settles who is asking, unless an answer has.
    pub(super) async fn knock(&self) -> Result<(), RegistryError> {
        self.client()?;
        if self.is_open.load(Ordering::Relaxed) { Ok(()) } else { self.enter(None).await }
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
        let mut retry = self.retry();
        let mut renewed = false;
        loop {
            let used = self.authorization.lock().await.clone();
            let mut request = self.client()?.request(method.clone(), &url);
            if let Some(accept) = accept {
                request = request.header(ACCEPT, accept);
            }
            let request = Self::authorized(request, used.as_ref());
            let sent = answer(request, self.fetcher.patience().stall).await;
            if let Ok(response) = &sent
                && self.is_challenge(response)
                && !renewed
            {
                renewed = true;
                self.renew(used, response).await?;
                continue;
            }
            let judged = sent.map_err(|unanswered| self.unanswered(unanswered, path));
            match judged.and_then(|response| self.judged(response, path)) {
                Ok(response) => {
                    self.is_open.store(true, Ordering::Relaxed);
                    return Ok(response);
                }
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

    /// Begins to ask for something, with all patience.
    pub(super) fn retry(&self) -> Retry<'_> {
        self.fetcher.retry_of(&self.reference.registry)
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
}

/// Whether a registry is this machine, where nobody else can listen.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// What a blob is called for who waits for it.
pub(super) fn blob_name(image: &ImageReference) -> String {
    format!("a blob of {image}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_goes_without_tls_only_where_the_project_says_so() {
        let settings = RegistrySettings {
            plain_http: vec!["registry.example:5000".to_owned()],
            ..RegistrySettings::default()
        };
        let fetcher = Fetcher::new(true, crate::fetch::Patience::default());
        let url = |reference: &str| {
            let reference = reference.parse().expect("a reference");
            Registry::open(&fetcher, &settings, &reference, Access::Pull).url("blobs/x")
        };
        assert_eq!(url("registry.example:5000/a:1"), "http://registry.example:5000/v2/a/blobs/x");
        assert_eq!(url("registry.example/a:1"), "https://registry.example/v2/a/blobs/x");
        assert_eq!(url("127.0.0.1:5000/a:1"), "http://127.0.0.1:5000/v2/a/blobs/x");
        assert_eq!(url("debian:1"), "https://registry-1.docker.io/v2/library/debian/blobs/x");
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
