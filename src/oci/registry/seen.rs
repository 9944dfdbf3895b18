//! What a registry has, and whether it would take more: asked before anything is built or sent.

use reqwest::Method;

use super::client::{Access, Registry};
use super::manifest::ACCEPT;
use super::{RegistryError, RegistrySettings};
use crate::fetch::Fetcher;
use crate::spec::ImageReference;

/// Whether a registry has the manifest that a reference names.
pub async fn has(
    fetcher: &Fetcher,
    settings: &RegistrySettings,
    reference: &ImageReference,
) -> Result<bool, RegistryError> {
    let registry = Registry::open(fetcher, settings, reference, Access::Pull);
    let path = format!("manifests/{}", reference.name());
    match registry.request(Method::HEAD, &path, Some(ACCEPT)).await {
        Ok(_) => Ok(true),
        Err(RegistryError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Fails where this user may not push.
pub async fn may_push(
    fetcher: &Fetcher,
    settings: &RegistrySettings,
    reference: &ImageReference,
) -> Result<(), RegistryError> {
    Registry::open(fetcher, settings, reference, Access::Push).enter(None).await
}
