//! Asking a hub: redirects, the token and patience.

mod refusal;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, ETAG, HeaderMap, LOCATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use tokio::time::Instant;

use super::{HubError, HubSettings};
use crate::event::{Cancelled, Reporter};
use crate::fetch::{
    Failure, Pace, Patience, Retry, Unanswered, answer, client_builder, innermost,
    text_without_credentials, wait_as_asked,
};

/// More redirects than this lead nowhere. The hub's own are at most two.
const REDIRECTS: usize = 10;

/// A hub says how long its window of requests lasts: up to five minutes. Longer is not waited.
const LONGEST_ASKED_WAIT: Duration = Duration::from_secs(330);

/// What people know it by.
const THE_HUB: &str = "the hub";

/// Whoever is in haste waits no longer to be heard.
const HASTE: Duration = Duration::from_secs(5);

/// A Hugging Face hub, or one that speaks like it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    pub(super) settings: Arc<HubSettings>,
    endpoint: Url,
    /// Made when it is first needed: reading the certificates takes longer than most plans.
    client: Arc<OnceLock<Client>>,
    /// What forbids to ask it.
    offline: Option<&'static str>,
    /// Whoever can't be reached at once isn't tried again.
    hasty: bool,
    pub(super) patience: Patience,
    /// Told of waits; says when to stop.
    reporter: Reporter,
    /// Until then the hub wants no requests, whoever was told so.
    closed_until: Arc<Mutex<Option<Instant>>>,
}

/// What is asked for, as errors name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) repository: &'a str,
    pub(super) revision: Option<&'a str>,
    pub(super) path: Option<&'a str>,
}

/// What the hub itself said of a file, wherever its bytes come from.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) commit: Option<String>,
    pub(super) size: Option<u64>,
    /// The file's hash, when it is one.
    pub(super) etag: Option<String>,
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response,
    /// Where the hub sent us for the bytes, when that is another host.
    pub(super) elsewhere: Option<Url>,
    pub(super) said: Said,
}

impl Hub {
    /// A hub that trusts the operating system's certificates (and `SSL_CERT_FILE`) and honours the
    /// usual proxy variables.
    pub fn new(
        settings: HubSettings,
        offline: bool,
        mut patience: Patience,
    ) -> Result<Self, HubError> {
        let wrong =
            || HubError::Endpoint { endpoint: text_without_credentials(&settings.endpoint) };
        let endpoint = Url::parse(&settings.endpoint).map_err(|_| wrong())?;
        if !["http", "https"].contains(&endpoint.scheme()) || endpoint.cannot_be_a_base() {
            return Err(wrong());
        }
        patience.longest_wait = patience.longest_wait.max(LONGEST_ASKED_WAIT);
        Ok(Self {
            offline: if offline { Some("--offline") } else { settings.offline },
            settings: Arc::new(settings),
            endpoint,
            client: Arc::default(),
            hasty: false,
            patience,
            reporter: Reporter::silent(),
            closed_until: Arc::default(),
        })
    }

    /// Where it is, without credentials that may stand in the address.
    pub fn endpoint(&self) -> String {
        text_without_credentials(self.endpoint.as_str()).trim_end_matches('/').to_owned()
    }

    /// The same hub for work of this reporter, which is told of waits, and says when to stop.
    #[must_use]
    pub fn telling(&self, reporter: &Reporter) -> Self {
        Self { reporter: reporter.clone(), ..self.clone() }
    }

    /// The same hub for somebody who can do without it: if nobody is heard, that is said soon. To
    /// whoever answers, it is as patient as ever.
    #[must_use]
    pub fn hasty(&self) -> Self {
        let mut hasty = Self { client: Arc::default(), hasty: true, ..self.clone() };
        hasty.patience.stall = hasty.patience.stall.min(HASTE);
        hasty
    }

    /// The same hub for somebody who has more directories where its files may be already.
    #[must_use]
    pub fn with_caches(&self, more: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut settings = HubSettings::clone(&self.settings);
        settings.caches.extend(more);
        Self { settings: Arc::new(settings), ..self.clone() }
    }

    fn client(&self) -> Result<&Client, HubError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let made = client_builder()
            // Ranges of one file are to travel in connections of their own.
            .http1_only()
            .redirect(Policy::none())
            .https_only(self.endpoint.scheme() == "https")
            .connect_timeout(self.patience.stall)
            .read_timeout(self.patience.stall)
            .build()
            .map_err(|error| HubError::Client { reason: innermost(&error) })?;
        Ok(self.client.get_or_init(|| made))
    }

    /// An address at the hub, of path segments as they are.
    pub(super) fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.endpoint.clone();
        url.path_segments_mut()
            .unwrap_or_else(|()| panic!("BUG: the endpoint is no base"))
            .pop_if_empty()
            .extend(segments);
        url
    }

    /// What forbids to ask it: an option or a variable.
    pub fn offline(&self) -> Option<&'static str> {
        self.offline
    }

    fn is_hub(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.origin()
    }

    /// Where the hub itself has what an answer leads to. The original leads to `/api/resolve-cache/…` of
    /// its own host, and many a mirror hands that on as it is, though all it has is below a path.
    fn led_below(&self, mut next: Url) -> Url {
        let below = self.endpoint.path().trim_end_matches('/');
        let path = next.path();
        if self.is_hub(&next)
            && path.starts_with("/api/")
            && !path.strip_prefix(below).is_some_and(|rest| rest.starts_with('/'))
        {
            let path = format!("{below}{path}");
            next.set_path(&path);
        }
        next
    }

    /// Begins to ask for something, with all patience.
    pub(super) fn retry(&self, url: &Url) -> Result<Retry<'_>, HubError> {
        if let Some(by) = self.offline {
            return Err(HubError::Offline { url: shown(url), by });
        }
        let who = match url.host_str().filter(|_| !self.is_hub(url)) {
            Some(host) => host,
            None => THE_HUB,
        };
        Ok(Retry::new(&self.patience, who.to_owned(), &self.reporter))
    }

    /// Fetches a whole body of at most `limit` bytes.
    pub(super) async fn body(
        &self,
        about: &About<'_>,
        url: &Url,
        limit: u64,
    ) -> Result<(Vec<u8>, HeaderMap, Said), HubError> {
        let mut retry = self.retry(url)?;
        loop {
            match self.whole(about, url, limit).await {
                Ok(whole) => return Ok(whole),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    async fn whole(
        &self,
        about: &About<'_>,
        url: &Url,
        limit: u64,
    ) -> Result<(Vec<u8>, HeaderMap, Said), Failure<HubError>> {
        let Answer { mut response, said, .. } = self.ask(about, url, None).await?;
        let mut body = Vec::new();
        let mut pace = Pace::of_document(self.patience.stall);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(url, &error))? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > limit {
                let reason = format!("it is larger than {limit} bytes");
                return Err(Failure::Final(HubError::Answer { url: shown(url), reason }));
            }
            pace.check(body.len() as u64).map_err(|reason| self.interrupted(url, reason))?;
        }
        Ok((body, std::mem::take(response.headers_mut()), said))
    }

    /// Asks once, and follows where the hub leads. The token stays with the hub's own host.
    pub(super) async fn ask(
        &self,
        about: &About<'_>,
        url: &Url,
        range: Option<&str>,
    ) -> Result<Answer, Failure<HubError>> {
        let client = self.client().map_err(Failure::Final)?;
        let mut at = url.clone();
        // Once led away, no address is the hub's again: who leads there may not borrow the token.
        let mut at_hub = self.is_hub(&at);
        let mut said = Said::default();
        for _ in 0..=REDIRECTS {
            self.wait_until_open().await.map_err(|stop| Failure::Final(stop.into()))?;
            // Sizes and ranges are the file's own, so nothing may be compressed on its way.
            let mut request = client.get(at.clone()).header(ACCEPT_ENCODING, "identity");
            let token = self.settings.token.as_ref().filter(|_| at_hub);
            if let Some(token) = token {
                request = request.bearer_auth(token.value());
            }
            if let Some(range) = range {
                request = request.header(RANGE, range);
            }
            let sent = answer(request, self.patience.stall).await;
            let response = sent.map_err(|unanswered| match unanswered {
                Unanswered::Broken(error) => self.broken(&at, &error),
                Unanswered::Dripping(reason) => self.interrupted(&at, reason),
            })?;
            if at_hub {
                said.read(response.headers());
            }
            let status = response.status();
            if let Some(next) = led_to(&at, &response) {
                at_hub = at_hub && self.is_hub(&next);
                at = if at_hub { self.led_below(next) } else { next };
            } else if status.is_success() {
                let elsewhere = (!self.is_hub(&at)).then_some(at);
                return Ok(Answer { response, elsewhere, said });
            } else if at_hub {
                return Err(self.refused(about, &at, &response));
            } else {
                return Err(self.failed(&at, &response));
            }
        }
        Err(Failure::Final(HubError::Redirects { url: shown(url), limit: REDIRECTS }))
    }

    fn close_for(&self, asked: Option<Duration>) {
        let Some(asked) = asked.filter(|asked| *asked <= self.patience.longest_wait) else {
            return;
        };
        let until = Instant::now() + asked;
        let mut closed = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        *closed = Some(closed.map_or(until, |known| known.max(until)));
    }

    /// Waits for the end of a pause that the hub asked anybody of us for.
    async fn wait_until_open(&self) -> Result<(), Cancelled> {
        loop {
            let until = *self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match left {
                Some(left) if !left.is_zero() => {
                    wait_as_asked(THE_HUB, left, &self.reporter).await?;
                }
                _ => return Ok(()),
            }
        }
    }
}

impl Said {
    /// The last word counts: the hub may lead from one of its addresses to another.
    fn read(&mut self, headers: &HeaderMap) {
        let text = |name| headers.get(name).and_then(|value: &_| value.to_str().ok());
        if let Some(commit) = text("x-repo-commit") {
            self.commit = Some(commit.to_owned());
        }
        if let Some(size) = text("x-linked-size").and_then(|size| size.parse().ok()) {
            self.size = Some(size);
        }
        let linked = text("x-linked-etag");
        if let Some(etag) = linked.or_else(|| headers.get(ETAG)?.to_str().ok()) {
            let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
            self.etag = Some(etag.to_owned());
        }
    }
}

/// Where an answer leads.
fn led_to(at: &Url, response: &Response) -> Option<Url> {
    let leads = [301, 302, 303, 307, 308].contains(&response.status().as_u16());
    let to = response.headers().get(LOCATION).filter(|_| leads)?;
    at.join(to.to_str().ok()?).ok()
}

/// An address as messages show it: without credentials, and without a query that may be signed.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.into()
}
