//! Registries: where bases come from, and where targets take images from that were built here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;

use super::{Cache, Network};
use crate::digest::Digest;
use crate::event::Reporter;
use crate::oci::registry::{
    self, BaseOrigin, Destination, Found, Puller, Pushed, RegistryError, RegistrySettings,
};
use crate::oci::{self, Layout};
use crate::platform::Architecture;
use crate::spec::{Base, Image, ImageName, ImageReference, Project};
use crate::step::StepError;

/// How long a registry may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the registry has of images, by reference, or why that isn't known. None before anybody
/// has asked.
type Seen = Option<HashMap<String, Result<Found, String>>>;

/// The registries of a project.
#[derive(Debug)]
pub struct Registries {
    root: PathBuf,
    project: Arc<Project>,
    network: Arc<Network>,
    cache: Arc<Cache>,
    credentials: Vec<PathBuf>,
    seen: RwLock<Seen>,
}

impl Registries {
    pub(super) fn new(
        root: &Path,
        project: &Arc<Project>,
        network: &Arc<Network>,
        cache: &Arc<Cache>,
        credentials: Vec<PathBuf>,
    ) -> Self {
        Self {
            root: root.to_owned(),
            project: Arc::clone(project),
            network: Arc::clone(network),
            cache: Arc::clone(cache),
            credentials,
            seen: RwLock::default(),
        }
    }

    /// How registries are spoken to.
    pub fn settings(&self) -> RegistrySettings {
        RegistrySettings {
            plain_http: self.project.plain_http.clone(),
            credentials: self.credentials.clone(),
        }
    }

    /// Where an image's base comes from, unless it is made of packages.
    pub fn origin(&self, image: &Image) -> Option<BaseOrigin> {
        match &image.base {
            Base::Debian { .. } => None,
            Base::Registry(reference) => Some(BaseOrigin::Registry(reference.clone())),
            Base::Layout(reference) => {
                Some(BaseOrigin::Layout { root: self.root.clone(), reference: reference.clone() })
            }
        }
    }

    /// Brings an image from `origin` into the layout.
    pub fn puller(
        &self,
        origin: BaseOrigin,
        architecture: Architecture,
        reporter: &Reporter,
    ) -> Result<Puller, StepError> {
        let fetcher = self.network.fetcher.telling(reporter);
        let (layout, bases) = (self.cache.layout()?, self.cache.bases());
        Ok(Puller::new(origin, &fetcher, &self.settings(), layout, bases, architecture))
    }

    /// Where an image is in the registry that targets take it from: the image's name below the place
    /// that the project names.
    pub fn pushed(&self, image: &ImageName) -> ImageReference {
        let registry = self.project.registry();
        let registry = registry.unwrap_or_else(|| panic!("BUG: {image} goes to no registry"));
        let text = format!("{registry}/{image}");
        text.parse().unwrap_or_else(|error| panic!("BUG: {text} is no reference: {error}"))
    }

    /// The same with a tag that is this digest's alone: what is deployed stays tagged whatever is
    /// pushed later, and no registry takes it for garbage.
    pub fn pushed_as(&self, image: &ImageName, digest: Digest) -> ImageReference {
        let tag = format!("goatbuild-{}", &digest.hex()[..16]);
        ImageReference { tag: Some(tag), ..self.pushed(image) }
    }

    /// Asks the registry which of these images it has.
    pub async fn look_at(&self, images: &[(ImageName, Digest)]) {
        let (fetcher, settings) = (self.network.hasty(), self.settings());
        let one = async |(image, digest): &(ImageName, Digest)| {
            let reference = self.pushed_as(image, *digest);
            let asked = registry::find(&fetcher, &settings, &reference, *digest);
            let found = match tokio::time::timeout(PATIENCE, asked).await {
                Ok(found) => found.map_err(|error| words(&error)),
                Err(_) => Err(format!(
                    "{} did not answer within {} s",
                    reference.registry,
                    PATIENCE.as_secs()
                )),
            };
            (reference.to_string(), found)
        };
        let found = join_all(images.iter().map(one)).await.into_iter().collect();
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }

    /// What the registry has of an image, as it said when it was asked; none when nobody asked it
    /// for anything.
    pub fn found(&self, image: &ImageName, digest: Digest) -> Option<Result<Found, String>> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        let reference = self.pushed_as(image, digest).to_string();
        // What is built only now was not asked for: whether it is there shows when it is pushed.
        seen.as_ref().map(|seen| seen.get(&reference).cloned().unwrap_or(Ok(Found::Nothing)))
    }

    /// Fails where this user may not push an image for a target.
    pub async fn may_push(&self, image: &ImageName) -> Result<(), RegistryError> {
        registry::may_push(&self.network.fetcher, &self.settings(), &self.pushed(image)).await
    }

    /// Sends what a registry lacks of a built image.
    pub async fn push(
        &self,
        image: &str,
        layout: &Layout,
        built: &oci::Image,
        to: &ImageReference,
        reporter: &Reporter,
    ) -> Result<Pushed, RegistryError> {
        // What the base's own repository has need not be sent.
        let base = self.project.images.get(image).and_then(|image| self.origin(image));
        let mount = base.and_then(|base| {
            let BaseOrigin::Registry(base) = base else { return None };
            let is_near = base.registry == to.registry && base.repository != to.repository;
            is_near.then_some(base.repository)
        });
        let to = Destination { reference: to, mount: mount.as_deref() };
        registry::push(&self.network.fetcher, &self.settings(), layout, built, to, reporter).await
    }
}

/// What went wrong, in a line, and what the user has to do about it.
fn words(error: &RegistryError) -> String {
    let is_theirs =
        matches!(error, RegistryError::Unauthorized { .. } | RegistryError::Denied { .. });
    match miette::Diagnostic::help(error).filter(|_| is_theirs) {
        Some(help) => format!("{error}; {help}"),
        None => error.to_string(),
    }
}
