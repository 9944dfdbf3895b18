//! How a registry wants to be logged in to: its challenge, and the tokens that are given for it.

use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use super::RegistryError;
use super::client::Registry;
use super::credentials::{self, Credential};
use crate::fetch::Retry;
use crate::spec::ImageReference;

impl Registry {
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
