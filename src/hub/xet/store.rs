//! Asking the store: the hub's token for it, what files consist of, parts of xorbs.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, RANGE};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::super::client::{About, shown};
use super::super::settings::Token;
use super::super::{Hub, HubError};
use super::Fault;
use super::plan::Reconstruction;
use crate::fetch::{Failure, Retry};

/// A larger answer is of a file in so many pieces that fetching them would not pay.
const ANSWER: u64 = 16 << 20;

/// Seconds that a token has to last at least.
const LAST: i64 = 60;

/// There is another way, so nobody is waited for long.
const PATIENCE: Duration = Duration::from_secs(5);

/// The store of a commit's files. All files of one fetch share it.
pub(in super::super) struct Xet {
    hub: Hub,
    repository: String,
    commit: String,
    access: Mutex<Access>,
}

/// Whether the store may be asked.
#[derive(Clone)]
enum Access {
    /// Nobody asked the hub yet, or what it gave has expired.
    Unknown,
    /// The hub gave a token.
    Granted(Arc<Granted>),
    /// The hub gives none, or nobody reaches the store; there is no use in asking for each file.
    Useless,
}

struct Granted {
    store: Url,
    token: Token,
    /// Seconds since 1970.
    expires: i64,
}

/// The hub's answer, in <https://huggingface.co/docs/xet/auth>.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    access_token: String,
    cas_url: String,
    exp: i64,
}

impl Xet {
    pub(in super::super) fn new(hub: &Hub, repository: &str, commit: &str) -> Self {
        Self {
            hub: hub.brief(PATIENCE),
            repository: repository.to_owned(),
            commit: commit.to_owned(),
            access: Mutex::new(Access::Unknown),
        }
    }

    /// What these bytes of a file of `size` bytes consist of.
    pub(super) async fn reconstruction(
        &self,
        hash: &str,
        bytes: &Range<u64>,
        size: u64,
    ) -> Result<Reconstruction, Fault> {
        let granted = self.access().await?;
        let mut url = granted.store.clone();
        url.path_segments_mut()
            .unwrap_or_else(|()| panic!("BUG: the store is no base"))
            .pop_if_empty()
            .extend(["v1", "reconstructions", hash]);
        let range = (*bytes != (0..size)).then_some(bytes);
        let mut retry = self.retry(&url)?;
        loop {
            let failure = match self.ask(&url, Some(&granted.token), range).await {
                Ok(response) => match self.body(&url, response).await {
                    Ok(body) => return parsed(&url, &body),
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            if let Err(fault) = retry.pause(failure).await {
                if let Fault::Asked(HubError::Network { .. }) = fault {
                    *self.access.lock().await = Access::Useless;
                }
                return Err(fault);
            }
        }
    }

    /// Asks for a part of a xorb. Its address is signed for these very bytes.
    pub(super) async fn part_of_xorb(
        &self,
        url: &Url,
        bytes: &Range<u64>,
    ) -> Result<Response, Failure<Fault>> {
        let response = self.ask(url, None, Some(bytes)).await?;
        let length = bytes.end - bytes.start;
        // Some answer with these bytes as if they were all.
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        match response.content_length() {
            Some(found) if found == length => Ok(response),
            None if is_part => Ok(response),
            found => {
                let found = found.map_or("all".to_owned(), |found| found.to_string());
                let reason = format!("{} sent {found} bytes, not {length}", shown(url));
                Err(Failure::Final(Fault::Senseless(reason)))
            }
        }
    }

    pub(super) fn retry(&self, url: &Url) -> Result<Retry<'_>, Fault> {
        self.hub.retry(url).map_err(Fault::Asked)
    }

    /// A connection that broke.
    pub(super) fn broken(&self, url: &Url, error: &reqwest::Error) -> Failure<Fault> {
        fault(self.hub.broken(url, error))
    }

    /// A body that ended too early.
    pub(super) fn interrupted(&self, url: &Url, reason: String) -> Failure<Fault> {
        fault(self.hub.interrupted(url, reason))
    }

    /// The store and the token for it.
    async fn access(&self) -> Result<Arc<Granted>, Fault> {
        let mut access = self.access.lock().await;
        let now = jiff::Timestamp::now().as_second();
        match &*access {
            Access::Granted(granted) if granted.expires > now + LAST => {
                return Ok(Arc::clone(granted));
            }
            Access::Useless => {
                let reason = "there was no token or no store for another file";
                return Err(Fault::Senseless(reason.to_owned()));
            }
            _ => {}
        }
        *access = Access::Useless;
        let about =
            About { repository: &self.repository, revision: Some(&self.commit), path: None };
        let segments = ["api", "models"].into_iter().chain(self.repository.split('/'));
        let url = self.hub.url(segments.chain(["xet-read-token", &self.commit]));
        let (body, ..) = self.hub.body(&about, &url, ANSWER).await.map_err(Fault::Asked)?;
        let given: Given = parsed(&url, &body)?;
        let store = Url::parse(&given.cas_url).ok().filter(|url| !url.cannot_be_a_base());
        let token = Token::new(&given.access_token, "the hub");
        let (Some(store), Some(token)) = (store, token) else {
            return Err(Fault::Senseless(format!("{} names no store", shown(&url))));
        };
        let granted = Arc::new(Granted { store, token, expires: given.exp });
        *access = Access::Granted(Arc::clone(&granted));
        Ok(granted)
    }

    /// Asks once, and follows nobody: what leads elsewhere is no answer of a store.
    async fn ask(
        &self,
        url: &Url,
        token: Option<&Token>,
        bytes: Option<&Range<u64>>,
    ) -> Result<Response, Failure<Fault>> {
        let client = self.hub.client().map_err(|error| Failure::Final(Fault::Asked(error)))?;
        let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(token) = token {
            request = request.bearer_auth(token.value());
        }
        if let Some(bytes) = bytes {
            request = request.header(RANGE, format!("bytes={}-{}", bytes.start, bytes.end - 1));
        }
        let response = request.send().await.map_err(|error| self.broken(url, &error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(fault(self.hub.failed(url, &response)))
    }

    async fn body(&self, url: &Url, mut response: Response) -> Result<Vec<u8>, Failure<Fault>> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(url, &error))? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > ANSWER {
                let reason = format!("{} says more than {ANSWER} bytes", shown(url));
                return Err(Failure::Final(Fault::Senseless(reason)));
            }
        }
        Ok(body)
    }
}

fn fault(failure: Failure<HubError>) -> Failure<Fault> {
    match failure {
        Failure::Transient(error, wait) => Failure::Transient(Fault::Asked(error), wait),
        Failure::Progressed => Failure::Progressed,
        Failure::Final(error) => Failure::Final(Fault::Asked(error)),
    }
}

fn parsed<T: DeserializeOwned>(url: &Url, body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|_| {
        // What it says may be a secret.
        Fault::Senseless(format!("the answer of {} makes no sense", shown(url)))
    })
}
