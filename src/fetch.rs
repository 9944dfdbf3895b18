//! HTTP downloads that retry, resume, verify, and never leave an unverified file under its name.

mod error;
mod file;
mod file_lock;
mod pace;
mod range;
mod retry;

use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::event::Reporter;

pub use error::FetchError;
pub(crate) use error::until;
pub use file::{Found, discard_damaged};
pub(crate) use file_lock::FileLock;
pub(crate) use pace::{Pace, Unanswered, answer};
pub use range::{Bytes, Part};
pub use retry::Patience;
pub(crate) use retry::{Failure, Retry, wait_as_asked};

/// What a file must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Bytes, when the lock knows.
    pub size: Option<u64>,
    /// What its bytes hash to.
    pub sha256: Digest,
}

/// Downloads over HTTP. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    /// Made when it is first needed: reading the certificates takes longer than most plans.
    client: Arc<OnceLock<Client>>,
    offline: bool,
    patience: Patience,
    authorization: Option<HeaderValue>,
    reporter: Reporter,
}

impl Fetcher {
    /// A fetcher that trusts the operating system's certificates (and `SSL_CERT_FILE`) and honours
    /// the usual proxy variables.
    pub fn new(offline: bool, patience: Patience) -> Self {
        let reporter = Reporter::silent();
        Self { client: Arc::default(), offline, patience, authorization: None, reporter }
    }

    /// The same fetcher for work of this reporter, which is told of waits, and says when to stop.
    #[must_use]
    pub fn telling(&self, reporter: &Reporter) -> Self {
        Self { reporter: reporter.clone(), ..self.clone() }
    }

    /// The same fetcher for what nothing fails without: it asks once more, and not again.
    #[must_use]
    pub fn hurried(&self) -> Self {
        let attempts = self.patience.attempts.min(2);
        Self { patience: Patience { attempts, ..self.patience.clone() }, ..self.clone() }
    }

    /// The same fetcher, sending this `Authorization` to the host that it asks, and to no other one
    /// that a redirect leads to.
    #[must_use]
    pub fn with_authorization(&self, mut value: Option<HeaderValue>) -> Self {
        if let Some(value) = &mut value {
            value.set_sensitive(true);
        }
        Self { authorization: value, ..self.clone() }
    }

    fn get(&self, url: &str) -> Result<RequestBuilder, Failure> {
        let request = self.client()?.get(url);
        Ok(match &self.authorization {
            // reqwest drops it when a redirect changes host or port.
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        })
    }

    /// The client, for requests that are no downloads.
    pub(crate) fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let made = client_builder()
            .connect_timeout(self.patience.stall)
            .read_timeout(self.patience.stall)
            .build()
            .map_err(|error| Failure::Final(FetchError::Client { reason: innermost(&error) }))?;
        Ok(self.client.get_or_init(|| made))
    }

    /// How patient it is.
    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Begins to ask somebody for something, with all patience.
    pub(crate) fn retry_of(&self, who: &str) -> Retry<'_> {
        Retry::new(&self.patience, who.to_owned(), &self.reporter)
    }

    /// Whether the network is forbidden.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// Fetches a whole body of at most `limit` bytes into memory.
    ///
    /// `accept` is sent as the `Accept` header.
    pub async fn bytes(
        &self,
        url: &str,
        accept: Option<&str>,
        limit: u64,
    ) -> Result<Vec<u8>, FetchError> {
        let mut retry = self.retry(url)?;
        loop {
            match self.whole(url, accept, limit).await {
                Ok(body) => return Ok(body),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    async fn whole(&self, url: &str, accept: Option<&str>, limit: u64) -> Result<Vec<u8>, Failure> {
        let mut request = self.get(url)?;
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        let mut response = self.answered(url, answer(request, self.patience.stall).await)?;
        let mut body = Vec::new();
        let mut pace = Pace::of_document(self.patience.stall);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(url, &error))? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > limit {
                let url = without_credentials(url);
                return Err(Failure::Final(FetchError::TooLarge { url, limit }));
            }
            pace.check(body.len() as u64)
                .map_err(|reason| Failure::Transient(self.network(url, reason), None))?;
        }
        Ok(body)
    }

    fn retry(&self, url: &str) -> Result<Retry<'_>, FetchError> {
        if self.offline {
            return Err(FetchError::Offline { url: without_credentials(url) });
        }
        let url = reqwest::Url::parse(url).ok();
        let host = url.as_ref().and_then(reqwest::Url::host_str).unwrap_or("the server");
        let port = url.as_ref().and_then(reqwest::Url::port);
        Ok(self.retry_of(&port.map_or(host.to_owned(), |port| format!("{host}:{port}"))))
    }

    fn answered(&self, url: &str, sent: Result<Response, Unanswered>) -> Result<Response, Failure> {
        let response = sent.map_err(|unanswered| match unanswered {
            Unanswered::Broken(error) => self.broken(url, &error),
            Unanswered::Dripping(reason) => Failure::Transient(self.network(url, reason), None),
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let asked = retry_after(&response);
        let too_long = asked.filter(|asked| *asked > self.patience.longest_wait);
        let failed = |attempts| FetchError::Status {
            url: without_credentials(url),
            status: status.as_u16(),
            attempts,
            after: too_long,
        };
        if too_long.is_some() {
            return Err(Failure::Final(failed(1)));
        }
        Err(match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Failure::Final(FetchError::Gone {
                url: without_credentials(url),
                status: status.as_u16(),
            }),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::RANGE_NOT_SATISFIABLE => {
                Failure::Transient(failed(self.patience.attempts), asked)
            }
            _ if status.is_server_error() => {
                Failure::Transient(failed(self.patience.attempts), asked)
            }
            _ => Failure::Final(failed(1)),
        })
    }

    fn broken(&self, url: &str, error: &reqwest::Error) -> Failure {
        if error.is_redirect() {
            return Failure::Final(FetchError::Redirects { url: without_credentials(url) });
        }
        Failure::Transient(self.network(url, innermost(error)), None)
    }

    fn network(&self, url: &str, reason: String) -> FetchError {
        FetchError::Network {
            url: without_credentials(url),
            reason,
            attempts: self.patience.attempts,
        }
    }
}

/// The URL as messages and locks may show it: without user name and password.
pub(crate) fn without_credentials(url: &str) -> String {
    let Ok(mut parsed) = reqwest::Url::parse(url) else { return url.to_owned() };
    if parsed.username().is_empty() && parsed.password().is_none() {
        return url.to_owned();
    }
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.into()
}

/// A text as messages and logs may show it: no URL in it has a user name or password.
pub(crate) fn text_without_credentials(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after
            .find(|letter: char| letter.is_whitespace() || "/?#`'\"<>".contains(letter))
            .unwrap_or(after.len());
        rest = &after[after[..end].rfind('@').map_or(0, |at| at + 1)..];
    }
    shown + rest
}

/// A client that trusts the operating system's certificates, to be configured further.
pub fn client_builder() -> ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder().user_agent(concat!("goatbuild/", env!("CARGO_PKG_VERSION")))
}

/// What all that `reader` yields hashes to.
pub fn sha256_of(reader: &mut impl std::io::Read) -> std::io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok(Digest::finish(hasher));
        }
        hasher.update(&buffer[..read]);
    }
}

/// How long the server wants to be left alone: it says so in seconds, or names a time.
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    let said = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = said.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(said).ok()?.timestamp();
    at.duration_since(jiff::Timestamp::now()).try_into().ok()
}

/// The cause that says what happened, rather than the wrapper that says something did.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
pub(crate) mod double;
#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod tests;
