//! What a hub's refusals mean, and which of them pass.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode, Url};

use super::{About, Hub, HubError, shown};
use crate::fetch::{Failure, innermost, retry_after, text_without_credentials};

/// What a hub says of a repository that its owner, or the hub, has closed: with HTTP 403 and no code, so
/// that Hugging Face's client knows it by these words, too (`hf_raise_for_status` of `huggingface_hub` 2.4.0).
const DISABLED: &str = "Access to this resource is disabled.";

impl Hub {
    /// What the hub's refusal means.
    pub(super) fn refused(
        &self,
        about: &About<'_>,
        url: &Url,
        response: &Response,
    ) -> Failure<HubError> {
        let header = |name| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        let (code, message) = (header("x-error-code"), header("x-error-message"));
        let repository = about.repository.to_owned();
        let endpoint = text_without_credentials(&self.settings.endpoint);
        let page = format!("{endpoint}/{repository}");
        let token = self.settings.token.as_ref();
        if message == DISABLED || response.status() == StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS {
            let reason = match message.trim_end_matches('.') {
                "" => "HTTP 451, unavailable for legal reasons",
                said => said,
            };
            let reason = reason.to_owned();
            return Failure::Final(HubError::Disabled { repository, reason, url: page });
        }
        Failure::Final(match (response.status(), code, token) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, "GatedRepo", _) => {
                let then = match token {
                    Some(_) => ", with the account that the token belongs to",
                    None => ", then set HF_TOKEN to a token of that account",
                };
                HubError::Gated { repository, url: page, then }
            }
            (StatusCode::UNAUTHORIZED, _, None) => HubError::TokenMissing { repository, endpoint },
            (StatusCode::UNAUTHORIZED, code, Some(token)) if code != "RepoNotFound" => {
                HubError::TokenRefused { source_of_token: token.source().to_owned(), endpoint }
            }
            (StatusCode::FORBIDDEN, ..) => {
                let reason = if message.is_empty() { "HTTP 403" } else { message }.to_owned();
                HubError::Forbidden { repository, reason, url: page }
            }
            (StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND, "RepoNotFound", _) => {
                HubError::NoRepository { repository, endpoint }
            }
            (StatusCode::NOT_FOUND | StatusCode::GONE, code, _) => {
                match (about.path, about.revision) {
                    (Some(path), Some(commit)) if code != "RevisionNotFound" => HubError::NoFile {
                        repository,
                        commit: commit.to_owned(),
                        path: path.to_owned(),
                    },
                    (_, Some(revision)) => HubError::NoRevision {
                        repository,
                        revision: revision.to_owned(),
                        url: format!("{page}/commits/main"),
                    },
                    (_, None) => HubError::NoRepository { repository, endpoint },
                }
            }
            _ => return self.failed(url, response),
        })
    }

    /// A failure that may pass.
    pub(super) fn failed(&self, url: &Url, response: &Response) -> Failure<HubError> {
        let status = response.status();
        let asked = retry_after(response).or_else(|| window(response.headers()));
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            self.close_for(asked);
        }
        let too_long = asked.filter(|asked| *asked > self.patience.longest_wait);
        let failed = |attempts| match (status, shown(url), status.as_u16()) {
            (StatusCode::TOO_MANY_REQUESTS, ..) => HubError::RateLimited { after: asked },
            (_, url, status) => HubError::Status { url, status, attempts, after: too_long },
        };
        if too_long.is_some() {
            return Failure::Final(failed(1));
        }
        // The address of a file's bytes is signed and expires: the hub gives another.
        let expired = !self.is_hub(url) && status.is_client_error();
        let passes = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::RANGE_NOT_SATISFIABLE,
        ]
        .contains(&status);
        if expired || passes || status.is_server_error() {
            Failure::Transient(failed(self.patience.attempts), asked)
        } else {
            Failure::Final(failed(1))
        }
    }

    /// A connection that broke.
    pub(in crate::hub) fn broken(&self, url: &Url, error: &reqwest::Error) -> Failure<HubError> {
        if self.hasty && (error.is_connect() || error.is_timeout()) {
            let reason = innermost(error);
            return Failure::Final(HubError::Network { url: shown(url), reason, attempts: 1 });
        }
        self.interrupted(url, innermost(error))
    }

    /// A body that ended too early.
    pub(in crate::hub) fn interrupted(&self, url: &Url, reason: String) -> Failure<HubError> {
        let attempts = self.patience.attempts;
        Failure::Transient(HubError::Network { url: shown(url), reason, attempts }, None)
    }
}

/// The seconds until a limit is lifted, out of `RateLimit: "resolvers";r=0;t=55`.
fn window(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("ratelimit")?.to_str().ok()?;
    let field = |name| text.split(';').find_map(|part| part.trim().strip_prefix(name));
    let exhausted = field("r=")? == "0";
    let seconds = field("t=")?.parse().ok()?;
    exhausted.then(|| Duration::from_secs(seconds))
}
