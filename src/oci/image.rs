//! Images: a configuration and a manifest over layers that are in the store.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, DescriptorBuilder, HistoryBuilder, ImageConfiguration,
    ImageConfigurationBuilder, ImageManifest, ImageManifestBuilder, MediaType, Os, RootFsBuilder,
    Sha256Digest,
};

use super::error::OciError;
use super::gzip::Layer;
use super::layout::Layout;
use crate::platform::Architecture;
use crate::wheel::PREFIX;

/// Where programs are looked up after the environment's own.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an image's configuration says besides its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// The processor.
    pub architecture: Architecture,
    /// Environment variables over those of the base.
    pub environment: BTreeMap<String, String>,
    /// When the image claims to be made, in seconds since 1970.
    pub epoch: u64,
}

impl Layout {
    /// Writes configuration and manifest of an image whose layers are in the store, lowest first,
    /// and gives it a tag. Returns the manifest's digest.
    pub fn write_image(
        &self,
        tag: &str,
        config: &ImageConfig,
        layers: &[Layer],
    ) -> Result<String, OciError> {
        for layer in layers {
            self.blobs().open_blob(&layer.digest)?;
        }
        let document = configuration(config, layers);
        let bytes = canonical(&document);
        let digest = self.blobs().put(&bytes)?;
        let config = descriptor(MediaType::ImageConfig, &digest, bytes.len() as u64);
        let layers = layers
            .iter()
            .map(|layer| descriptor(MediaType::ImageLayerGzip, &layer.digest, layer.size))
            .collect::<Vec<_>>();
        let manifest = built(
            ImageManifestBuilder::default()
                .schema_version(2u32)
                .media_type(MediaType::ImageManifest)
                .config(config)
                .layers(layers)
                .build(),
        );
        let bytes = canonical(&manifest);
        let digest = self.blobs().put(&bytes)?;
        self.tag(tag, descriptor(MediaType::ImageManifest, &digest, bytes.len() as u64))?;
        Ok(digest)
    }

    /// The manifest of this digest.
    pub fn manifest(&self, digest: &str) -> Result<ImageManifest, OciError> {
        read(digest, &self.blobs().read(digest)?)
    }

    /// The configuration of the image of this digest.
    pub fn configuration(&self, digest: &str) -> Result<ImageConfiguration, OciError> {
        let config = self.manifest(digest)?.config().digest().to_string();
        read(&config, &self.blobs().read(&config)?)
    }

    /// The environment variables that the image sets.
    pub fn environment(&self, digest: &str) -> Result<BTreeMap<String, String>, OciError> {
        let configuration = self.configuration(digest)?;
        let variables = configuration.config().as_ref().and_then(|config| config.env().clone());
        let split = |text: String| {
            text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        Ok(variables.unwrap_or_default().into_iter().filter_map(split).collect())
    }

    /// Whether every blob of the image is there. Looks at names, not at bytes.
    pub fn is_complete(&self, digest: &str) -> bool {
        let Ok(manifest) = self.manifest(digest) else { return false };
        let parts = manifest.layers().iter().chain([manifest.config()]);
        parts.into_iter().all(|part| self.blobs().has(part.digest().as_ref()).unwrap_or(false))
    }
}

fn configuration(config: &ImageConfig, layers: &[Layer]) -> ImageConfiguration {
    let seconds = i64::try_from(config.epoch).unwrap_or(i64::MAX);
    let created = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH).to_string();
    let mut environment = config.environment.clone();
    environment
        .entry("PATH".to_owned())
        .and_modify(|path| *path = format!("/{PREFIX}/bin:{path}"))
        .or_insert_with(|| format!("/{PREFIX}/bin:{SYSTEM_PATH}"));
    environment.entry("VIRTUAL_ENV".to_owned()).or_insert_with(|| format!("/{PREFIX}"));
    let variables: Vec<String> =
        environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let history = layers
        .iter()
        .map(|_| {
            let made = HistoryBuilder::default().created(created.clone()).created_by("goatbuild");
            built(made.build())
        })
        .collect::<Vec<_>>();
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    built(
        ImageConfigurationBuilder::default()
            .created(created)
            .architecture(match config.architecture {
                Architecture::Amd64 => Arch::Amd64,
                Architecture::Arm64 => Arch::ARM64,
            })
            .os(Os::Linux)
            .config(built(
                ConfigBuilder::default()
                    .env(variables)
                    .cmd(vec!["python".to_owned()])
                    .working_dir("/")
                    .build(),
            ))
            .rootfs(built(RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build()))
            .history(history)
            .build(),
    )
}

fn descriptor(media_type: MediaType, digest: &str, size: u64) -> Descriptor {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    let digest: Sha256Digest =
        digits.parse().unwrap_or_else(|_| panic!("BUG: `{digest}` is not a digest"));
    built(DescriptorBuilder::default().media_type(media_type).digest(digest).size(size).build())
}

/// Every required field is given, or this is a bug.
fn built<T>(built: Result<T, oci_spec::OciSpecError>) -> T {
    built.unwrap_or_else(|error| panic!("BUG: an OCI document is incomplete: {error}"))
}

/// JSON with sorted keys and no spaces: the same document has the same digest.
pub(super) fn canonical(document: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_value(document)
        .and_then(|value| serde_json::to_vec(&value))
        .unwrap_or_else(|error| panic!("BUG: an OCI document is not JSON: {error}"))
}

pub(super) fn read<T: serde::de::DeserializeOwned>(
    name: &str,
    bytes: &[u8],
) -> Result<T, OciError> {
    serde_json::from_slice(bytes)
        .map_err(|error| OciError::Document { what: name.to_owned(), reason: error.to_string() })
}

/// Annotations of an index entry with this tag.
pub(super) fn tagged(tag: &str) -> HashMap<String, String> {
    [(oci_spec::image::ANNOTATION_REF_NAME.to_owned(), tag.to_owned())].into()
}
