//! How a registry wants to be logged in to: its challenge, and the tokens that are given for it.

use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use super::RegistryError;
use super::client::Registry;
use super::credentials::{self, Credential};
use crate::fetch::{FetchError, answer, client_builder, innermost};
use crate::spec::ImageReference;

/// What is asked for, in messages.
const TOKEN: &str = " (a token)";

impl Registry {
    /// Whether this answer asks who is asking; what a redirect led to may not.
    pub(super) fn is_challenge(&self, response: &Response) -> bool {
        response.status() == StatusCode::UNAUTHORIZED && self.owns(response.url())
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
            let token = self.token(&realm, &challenge, credential.as_ref()).await?;
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
        realm: &Url,
        challenge: &Challenge,
        credential: Option<&Credential>,
    ) -> Result<String, RegistryError> {
        let own = format!("repository:{}:{}", self.reference.repository, self.access.actions());
        let mut scopes = vec![own];
        scopes.extend(self.mount().map(|from| format!("repository:{from}:pull")));
        match self.exchange(realm, challenge, credential, &scopes).await {
            // Blobs are sent, then: not to read another repository is no reason to fail.
            Err(RegistryError::Unauthorized { .. }) if scopes.len() > 1 => {
                self.forget_mount();
                self.exchange(realm, challenge, credential, &scopes[..1]).await
            }
            outcome => outcome,
        }
    }

    async fn exchange(
        &self,
        realm: &Url,
        challenge: &Challenge,
        credential: Option<&Credential>,
        scopes: &[String],
    ) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let place = realm.host_str().unwrap_or_default().to_owned();
        let unknown = |reason: String| RegistryError::Challenge {
            registry: self.reference.registry.clone(),
            reason,
        };
        let mut retry = self.retry();
        loop {
            let request = self.token_request(realm, challenge, credential, scopes)?;
            let outcome = match answer(request, self.fetcher.patience().stall).await {
                Ok(response) => match response.status() {
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                        return Err(self.unauthorized());
                    }
                    status if status.is_success() || is_passing(status) => {
                        self.judged(response, TOKEN)
                    }
                    status => {
                        let status = status.as_u16();
                        let reason =
                            format!("{place}, which gives its tokens, answers HTTP {status}");
                        return Err(unknown(reason));
                    }
                },
                Err(unanswered) => Err(self.unanswered(unanswered, TOKEN)),
            };
            let outcome = match outcome {
                Ok(mut response) => self.body(&mut response, TOKEN).await,
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok(body) => {
                    let answer = serde_json::from_slice::<Answer>(&body).ok();
                    let token = answer.and_then(|it| it.token.or(it.access_token));
                    return token.ok_or_else(|| unknown(format!("{place} gives no token")));
                }
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    fn token_request(
        &self,
        realm: &Url,
        challenge: &Challenge,
        credential: Option<&Credential>,
        scopes: &[String],
    ) -> Result<RequestBuilder, RegistryError> {
        let service = challenge.service.iter().map(|service| ("service", service.as_str()));
        let mut url = realm.clone();
        if let Some(Credential::Identity(token)) = credential {
            let scopes = scopes.join(" ");
            let mut form = realm.clone();
            form.query_pairs_mut().clear().extend_pairs(service).extend_pairs([
                ("scope", scopes.as_str()),
                ("grant_type", "refresh_token"),
                ("client_id", "goatbuild"),
                ("refresh_token", token),
            ]);
            let form = form.query().unwrap_or_default().to_owned();
            // A redirect would take the form along, to whatever host it leads.
            let client = client_builder()
                .redirect(Policy::none())
                .connect_timeout(self.fetcher.patience().stall)
                .read_timeout(self.fetcher.patience().stall)
                .build()
                .map_err(|error| FetchError::Client { reason: innermost(&error) })?;
            self.client()?;
            let kind = "application/x-www-form-urlencoded";
            return Ok(client.post(url).header(CONTENT_TYPE, kind).body(form));
        }
        let scopes = scopes.iter().map(|scope| ("scope", scope.as_str()));
        url.query_pairs_mut().extend_pairs(service).extend_pairs(scopes);
        let request = self.client()?.get(url);
        Ok(match credential {
            // reqwest drops it when a redirect changes host or port.
            Some(Credential::Password { user, password }) => {
                request.header(AUTHORIZATION, basic(user, password))
            }
            _ => request,
        })
    }
}

/// Whether asking again may help.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status)
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
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
}
