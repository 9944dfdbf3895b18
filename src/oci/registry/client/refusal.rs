//! What a registry's refusals mean, and which of them pass.

use std::sync::atomic::Ordering;

use reqwest::{Response, StatusCode};

use super::{Access, Registry, RegistryError};
use crate::digest::Digest;
use crate::fetch::{Failure, FetchError, Unanswered, innermost, retry_after};
use crate::spec::ImageReference;

impl Registry {
    /// Sorts an answer into well, worth another try, and failed for good.
    pub(in crate::oci::registry) fn judged(
        &self,
        response: Response,
        path: &str,
    ) -> Result<Response, Failure<RegistryError>> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let wait = retry_after(&response);
        let too_long = wait.filter(|wait| *wait > self.fetcher.patience().longest_wait);
        let failed = |attempts| RegistryError::Status {
            registry: self.reference.registry.clone(),
            status: status.as_u16(),
            attempts,
            what: self.what(path),
            after: too_long,
        };
        Err(match status {
            _ if too_long.is_some() => Failure::Final(failed(1)),
            StatusCode::UNAUTHORIZED if self.owns(response.url()) => {
                Failure::Final(self.unauthorized())
            }
            StatusCode::FORBIDDEN => Failure::Final(self.denied()),
            StatusCode::METHOD_NOT_ALLOWED if self.access == Access::Push => {
                Failure::Final(RegistryError::ReadOnly {
                    registry: self.reference.registry.clone(),
                    repository: self.reference.repository.clone(),
                })
            }
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

    /// A connection that broke, or never ended, when asked for a path.
    pub(in crate::oci::registry) fn broken(
        &self,
        error: &reqwest::Error,
        path: &str,
    ) -> Failure<RegistryError> {
        if error.is_redirect() {
            let (registry, what) = (self.reference.registry.clone(), self.what(path));
            return Failure::Final(RegistryError::Redirects { registry, what });
        }
        self.interrupted(innermost(error))
    }

    /// A request for a path that has no answer.
    pub(in crate::oci::registry) fn unanswered(
        &self,
        unanswered: Unanswered,
        path: &str,
    ) -> Failure<RegistryError> {
        match unanswered {
            Unanswered::Broken(error) => self.broken(&error, path),
            Unanswered::Dripping(reason) => self.interrupted(reason),
        }
    }

    /// An answer that came to no end.
    pub(in crate::oci::registry) fn interrupted(&self, reason: String) -> Failure<RegistryError> {
        let registry = self.reference.registry.clone();
        let attempts = self.fetcher.patience().attempts;
        Failure::Transient(RegistryError::Network { registry, reason, attempts }, None)
    }

    /// What a path below the repository stands for, in messages.
    fn what(&self, path: &str) -> String {
        format!("{}{}", self.reference.repository, name(path))
    }

    pub(in crate::oci::registry) fn unauthorized(&self) -> RegistryError {
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
        RegistryError::NotFound { registry, repository, name: name(path) }
    }

    /// A download's error, in a registry's words.
    pub(super) fn explained(&self, error: FetchError, digest: Digest) -> RegistryError {
        let registry = self.reference.registry.clone();
        let name = digest.to_string();
        match error {
            FetchError::Gone { .. } => self.not_found(&name),
            FetchError::Status { status: 401, .. } => self.unauthorized(),
            FetchError::Status { status: 403, .. } => self.denied(),
            FetchError::Status { status, attempts, after, .. } => {
                let what = self.what(&name);
                RegistryError::Status { registry, status, attempts, what, after }
            }
            FetchError::Redirects { .. } => {
                RegistryError::Redirects { registry, what: self.what(&name) }
            }
            FetchError::Mismatch { what: "SHA-256", found, .. } => RegistryError::Digest {
                what: format!("a blob of {}", self.reference),
                expected: digest,
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
}

/// The end of a path as an image's reference has it: `:tag` or `@digest`; nothing for an upload.
fn name(path: &str) -> String {
    match path.rsplit('/').next().unwrap_or_default() {
        digest if digest.starts_with("sha256:") => format!("@{digest}"),
        "" => String::new(),
        what if what.starts_with(' ') => what.to_owned(),
        tag => format!(":{tag}"),
    }
}
