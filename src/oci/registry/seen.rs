//! What a registry has, and whether it would take more: asked before anything is built or sent.

use reqwest::Method;
use reqwest::header::LOCATION;

use super::client::{Access, Registry};
use super::manifest::ACCEPT;
use super::push::UPLOADS;
use super::{RegistryError, RegistrySettings};
use crate::digest::Digest;
use crate::fetch::Fetcher;
use crate::spec::ImageReference;

/// The header that says of which digest a manifest is.
const DIGEST: &str = "docker-content-digest";

/// What a registry has of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It has it, under its tag.
    Tagged,
    /// It has it, and its tag names something else or nothing: registries sweep what has none.
    Untagged,
    /// It hasn't.
    Nothing,
}

/// What a registry has of an image of this digest and tag.
pub async fn find(
    fetcher: &Fetcher,
    settings: &RegistrySettings,
    tagged: &ImageReference,
    digest: Digest,
) -> Result<Found, RegistryError> {
    let has = async |reference: &ImageReference| {
        let registry = Registry::open(fetcher, settings, reference, Access::Pull);
        let path = format!("manifests/{}", reference.name());
        match registry.request(Method::HEAD, &path, Some(ACCEPT)).await {
            Ok(response) => {
                let said = response.headers().get(DIGEST).and_then(|it| it.to_str().ok());
                // Where it isn't said, what has our tag is ours.
                Ok(Some(said.and_then(|it| it.parse().ok()).unwrap_or(digest)))
            }
            Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    };
    if has(tagged).await? == Some(digest) {
        return Ok(Found::Tagged);
    }
    let by_digest = ImageReference { tag: None, ..tagged.clone() }.at(digest);
    Ok(if has(&by_digest).await?.is_some() { Found::Untagged } else { Found::Nothing })
}

/// Fails where nothing can be pushed, by this user or by anybody: begins to send something, and gives
/// that up.
pub async fn may_push(
    fetcher: &Fetcher,
    settings: &RegistrySettings,
    reference: &ImageReference,
) -> Result<(), RegistryError> {
    let registry = Registry::open(fetcher, settings, reference, Access::Push);
    registry.enter(None).await?;
    let begun = match registry.request(Method::POST, UPLOADS, None).await {
        Ok(begun) => begun,
        Err(error @ (RegistryError::ReadOnly { .. } | RegistryError::Denied { .. })) => {
            return Err(error);
        }
        // Whatever else it is shows when something is sent.
        Err(_) => return Ok(()),
    };
    let place = begun.headers().get(LOCATION).and_then(|place| place.to_str().ok());
    if let Some(place) = place.and_then(|place| begun.url().join(place).ok())
        && registry.owns(&place)
    {
        // It forgets by itself what is never finished.
        let request = registry.client()?.delete(place);
        let _ = Registry::authorized(request, registry.header().await.as_ref()).send().await;
    }
    Ok(())
}
