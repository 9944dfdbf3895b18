//! Bases: from a registry, or from a layout on disk, into the project's own layout.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::client::{Access, Registry, blob_name};
use super::layout;
use super::manifest::{self, BaseConfig, BaseManifest, BlobRef, Document};
use super::{RegistryError, RegistrySettings};
use crate::blocking::blocking;
use crate::bounded;
use crate::digest::Digest;
use crate::event::Reporter;
use crate::fetch::{Fetcher, FileLock};
use crate::oci::content::{Content, LayerFile, examine};
use crate::oci::error::at;
use crate::oci::{Compression, Layout, OciError, blob};
use crate::platform::Architecture;
use crate::spec::{ImageReference, LayoutReference};

/// No configuration is larger.
const LIMIT: u64 = 8 << 20;

/// Blobs that are fetched at once.
const PARALLEL: usize = 4;

/// Indexes may hold indexes; deeper ones are mistakes.
const DEPTH: usize = 3;

/// Where an image is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseOrigin {
    /// A registry.
    Registry(ImageReference),
    /// A layout on disk.
    Layout {
        /// The directory that the reference's path is relative to.
        root: PathBuf,
        /// Which layout, and which image in it.
        reference: LayoutReference,
    },
}

/// An image that was found: its documents are in the project's layout, its layers not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Of the manifest for the platform.
    pub digest: Digest,
    /// Of the index that names it, if there is one.
    pub index: Option<Digest>,
    /// The manifest.
    pub manifest: BaseManifest,
    /// What counts of its configuration.
    pub config: BaseConfig,
}

/// An image's origin, and where it is brought to.
pub struct Puller {
    origin: BaseOrigin,
    registry: Option<Registry>,
    into: Layout,
    /// Holds what is being fetched.
    work: PathBuf,
    architecture: Architecture,
}

impl Puller {
    /// Takes from `origin` what is missing in `into`; `work` is a directory on the same disk.
    pub fn new(
        origin: BaseOrigin,
        fetcher: &Fetcher,
        settings: &RegistrySettings,
        into: Layout,
        work: PathBuf,
        architecture: Architecture,
    ) -> Self {
        let registry = match &origin {
            BaseOrigin::Registry(reference) => {
                Some(Registry::open(fetcher, settings, reference, Access::Pull))
            }
            BaseOrigin::Layout { .. } => None,
        };
        Self { origin, registry, into, work, architecture }
    }

    /// Finds the platform's manifest and configuration.
    pub async fn resolve(&self, reporter: &Reporter) -> Result<Resolved, RegistryError> {
        let shown = self.origin.to_string();
        let mut named = match &self.origin {
            BaseOrigin::Registry(reference) => reference.digest,
            BaseOrigin::Layout { root, reference } => Some(layout::named(root, reference)?),
        };
        let mut index = None;
        for _ in 0..DEPTH {
            let (bytes, digest) = self.document(named).await?;
            match manifest::read(&shown, &bytes, self.architecture)? {
                Document::Index(entry) => {
                    self.into.blobs().put(&bytes)?;
                    index.get_or_insert(digest);
                    named = Some(entry.digest);
                }
                Document::Image(manifest) if manifest.config.size > LIMIT => {
                    let reason = format!("its configuration has more than {LIMIT} bytes");
                    return Err(RegistryError::Kind { reference: shown, reason });
                }
                Document::Image(manifest) => {
                    self.into.blobs().discard(manifest.config.digest);
                    self.blobs(std::slice::from_ref(&manifest.config), reporter).await?;
                    let config = self.into.blobs().read(manifest.config.digest)?;
                    let layers = manifest.layers.len();
                    let config = manifest::read_config(&shown, &config, self.architecture, layers)?;
                    self.into.blobs().put(&bytes)?;
                    return Ok(Resolved { digest, index, manifest, config });
                }
            }
        }
        let reason = "its indexes hold only indexes".to_owned();
        Err(RegistryError::Kind { reference: shown, reason })
    }

    /// What has this digest; without one, what the origin's tag names.
    async fn document(&self, digest: Option<Digest>) -> Result<(Vec<u8>, Digest), RegistryError> {
        if let Some(digest) = digest.filter(|digest| self.into.blobs().has(*digest)) {
            match self.into.blobs().read(digest) {
                // It is fetched again, and put in its place.
                Err(OciError::Damaged { .. }) => {}
                read => return Ok((read?, digest)),
            }
        }
        match (&self.origin, &self.registry, digest) {
            (_, Some(registry), _) => registry.document(digest).await,
            (BaseOrigin::Layout { root, reference }, None, Some(digest)) => {
                layout::document(&root.join(&reference.path), digest)
            }
            (BaseOrigin::Layout { .. }, None, None) => {
                panic!("BUG: a layout's image has no digest")
            }
            (BaseOrigin::Registry(_), None, _) => panic!("BUG: a registry was not opened"),
        }
    }

    /// Brings blobs that are missing, several at once, and counts their bytes.
    pub async fn blobs(
        &self,
        wanted: &[BlobRef],
        reporter: &Reporter,
    ) -> Result<(), RegistryError> {
        let mut missing = Vec::new();
        let mut seen = BTreeSet::new();
        for blob in wanted {
            if !self.into.blobs().has(blob.digest) && seen.insert(blob.digest) {
                missing.push(blob.clone());
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        reporter.expect(missing.iter().map(|blob| blob.size).sum());
        if let Some(registry) = &self.registry {
            fs::create_dir_all(&self.work).map_err(at(&self.work, "created"))?;
            registry.knock().await?;
        }
        stream::iter(missing.into_iter().map(|blob| self.blob(blob, reporter)))
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await
    }

    /// Brings all layers.
    pub async fn layers(
        &self,
        resolved: &Resolved,
        reporter: &Reporter,
    ) -> Result<(), RegistryError> {
        self.blobs(&resolved.manifest.blobs(), reporter).await
    }

    /// What is in an image whose layers are there; remembered once it was looked at.
    pub async fn content(
        &self,
        resolved: &Resolved,
        reporter: &Reporter,
    ) -> Result<Content, RegistryError> {
        if let Some(content) = remembered(&self.work, resolved.digest) {
            return Ok(content);
        }
        let content = self.examine(resolved, resolved.manifest.layers.len(), reporter).await?;
        fs::create_dir_all(&self.work).map_err(at(&self.work, "created"))?;
        let bytes = serde_json::to_vec(&content)
            .unwrap_or_else(|error| panic!("BUG: a content is no JSON: {error}"));
        blob::replace(&content_path(&self.work, resolved.digest), &bytes)?;
        Ok(content)
    }

    /// The C library of an image, brought layer by layer until it is found: it is far down.
    pub async fn lowest_libc(
        &self,
        resolved: &Resolved,
        reporter: &Reporter,
    ) -> Result<Content, RegistryError> {
        let blobs = resolved.manifest.blobs();
        let mut content = None;
        for count in 1..=blobs.len() {
            self.blobs(&blobs[count - 1..count], reporter).await?;
            let found = self.examine(resolved, count, reporter).await?;
            let is_there = found.glibc.is_some() || found.musl;
            content = Some(found);
            if is_there {
                break;
            }
        }
        content.ok_or_else(|| RegistryError::Kind {
            reference: self.origin.to_string(),
            reason: "it has no layers".to_owned(),
        })
    }

    async fn examine(
        &self,
        resolved: &Resolved,
        count: usize,
        reporter: &Reporter,
    ) -> Result<Content, RegistryError> {
        let layers = resolved.manifest.layers.iter().zip(&resolved.config.diff_ids).take(count);
        let open = |((blob, _), diff_id): (&(BlobRef, Compression), &Digest)| {
            Ok(LayerFile {
                digest: blob.digest,
                diff_id: *diff_id,
                file: self.into.blobs().open_blob(blob.digest)?,
            })
        };
        let layers = layers.map(open).collect::<Result<Vec<_>, OciError>>()?;
        let (env, architecture) = (resolved.config.env.clone(), self.architecture);
        let reporter = reporter.clone();
        Ok(blocking(move || examine(layers, &env, architecture, &reporter)).await?)
    }

    async fn blob(&self, blob: BlobRef, reporter: &Reporter) -> Result<(), RegistryError> {
        let blobs = self.into.blobs();
        match (&self.registry, &self.origin) {
            (Some(registry), _) => {
                let file = self.work.join(blob.digest.hex());
                // Nobody else may fetch it between its two names.
                let lock = file.with_extension("lock");
                let _held =
                    FileLock::wait(&lock, &blob_name(&registry.reference), reporter).await?;
                // Another command may have brought it while this one waited.
                if !blobs.has(blob.digest) {
                    registry.blob(&blob, &file, reporter).await?;
                    blobs.take(&file, blob.digest)?;
                }
                Ok(())
            }
            (None, BaseOrigin::Layout { root, reference }) => {
                let from = layout::blob_path(&root.join(&reference.path), blob.digest);
                let (into, reporter) = (self.into.clone(), reporter.clone());
                blocking(move || layout::copy(&from, &into, &blob, &reporter)).await
            }
            (None, BaseOrigin::Registry(_)) => panic!("BUG: a registry was not opened"),
        }
    }
}

/// An image that was pulled before, read from the layout alone.
pub fn pulled(
    layout: &Layout,
    digest: Digest,
    architecture: Architecture,
) -> Result<Resolved, RegistryError> {
    let bytes = layout.blobs().read(digest)?;
    let reference = digest.to_string();
    match manifest::read(&reference, &bytes, architecture)? {
        Document::Index(_) => {
            let reason = "it is an index".to_owned();
            Err(RegistryError::Kind { reference, reason })
        }
        Document::Image(manifest) => {
            let config = layout.blobs().read(manifest.config.digest)?;
            let layers = manifest.layers.len();
            let config = manifest::read_config(&reference, &config, architecture, layers)?;
            Ok(Resolved { digest, index: None, manifest, config })
        }
    }
}

/// What a look at an image's layers found, if it was looked at; `work` as for [`Puller::new`].
pub fn remembered(work: &Path, digest: Digest) -> Option<Content> {
    serde_json::from_slice(&bounded::read(&content_path(work, digest), bounded::TEXT).ok()?).ok()
}

fn content_path(work: &Path, digest: Digest) -> PathBuf {
    work.join(format!("{}.json", digest.hex()))
}

impl BaseOrigin {
    /// The same place, and the image of this digest.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        match self {
            Self::Registry(reference) => Self::Registry(reference.at(digest)),
            Self::Layout { root, reference } => {
                let digest = Some(digest);
                let reference = LayoutReference { tag: None, digest, ..reference.clone() };
                Self::Layout { root: root.clone(), reference }
            }
        }
    }

    /// The digest that pins it, if one does.
    pub fn pinned(&self) -> Option<Digest> {
        match self {
            Self::Registry(reference) => reference.digest,
            Self::Layout { reference, .. } => reference.digest,
        }
    }
}

impl std::fmt::Display for BaseOrigin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(formatter),
            Self::Layout { reference, .. } => reference.fmt(formatter),
        }
    }
}
