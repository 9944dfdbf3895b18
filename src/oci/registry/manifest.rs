//! Manifests, indexes and configurations, as registries have them: OCI's and Docker's.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::RegistryError;
use crate::digest::Digest;
use crate::lock::BaseSettings;
use crate::oci::{Compression, OciError};
use crate::platform::Architecture;

/// The kinds of documents that are understood, the wanted ones first.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// An image's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseManifest {
    /// The configuration's blob.
    pub config: BlobRef,
    /// From the bottom up.
    pub layers: Vec<(BlobRef, Compression)>,
}

impl BaseManifest {
    /// The layers' blobs.
    pub fn blobs(&self) -> Vec<BlobRef> {
        self.layers.iter().map(|(blob, _)| blob.clone()).collect()
    }
}

/// What a base's configuration says, as far as anybody needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseConfig {
    /// Its environment, as `NAME=value`.
    pub env: Vec<String>,
    /// Of the uncompressed layers.
    pub diff_ids: Vec<Digest>,
    /// What else it sets for those that run it.
    pub settings: BaseSettings,
    /// What it sets that no image on it keeps and no setting tells, in words.
    pub left_out: Vec<&'static str>,
}

/// A blob, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRef {
    /// Of its bytes.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// What a name leads to.
#[derive(Debug)]
pub(super) enum Document {
    Image(BaseManifest),
    /// The manifest for the platform.
    Index(BlobRef),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    manifests: Option<Vec<Entry>>,
    config: Option<Entry>,
    layers: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

impl Entry {
    /// Only what is taken has to be named in a way that is known here.
    fn blob(&self) -> Result<BlobRef, OciError> {
        Ok(BlobRef { digest: self.digest.parse()?, size: self.size })
    }
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    fn words(&self) -> String {
        let variant = self.variant.iter().flat_map(|variant| ["/", variant]).collect::<String>();
        format!("{}/{}{variant}", self.os, self.architecture)
    }
}

/// Reads a manifest, or picks the platform's out of an index.
pub(super) fn read(
    reference: &str,
    bytes: &[u8],
    architecture: Architecture,
) -> Result<Document, RegistryError> {
    let kind = |reason: &str| RegistryError::Kind {
        reference: reference.to_owned(),
        reason: reason.to_owned(),
    };
    let raw: Raw = serde_json::from_slice(bytes).map_err(|error| kind(&error.to_string()))?;
    if raw.schema_version != 2 {
        return Err(kind("its manifest has the outdated schema 1"));
    }
    if let Some(entries) = raw.manifests {
        return pick(reference, &entries, architecture).map(Document::Index);
    }
    let (Some(config), Some(layers)) = (raw.config, raw.layers) else {
        return Err(kind(raw.media_type.as_deref().unwrap_or("it has no layers")));
    };
    let is_config = config.media_type == "application/vnd.oci.image.config.v1+json"
        || config.media_type == "application/vnd.docker.container.image.v1+json";
    if !is_config {
        return Err(kind(raw.artifact_type.as_deref().unwrap_or(&config.media_type)));
    }
    let layers = layers.iter().map(|layer| {
        let compression = compression(reference, layer)?;
        Ok((layer.blob()?, compression))
    });
    let layers = layers.collect::<Result<_, RegistryError>>()?;
    Ok(Document::Image(BaseManifest { config: config.blob()?, layers }))
}

fn pick(
    reference: &str,
    entries: &[Entry],
    architecture: Architecture,
) -> Result<BlobRef, RegistryError> {
    let fits = |entry: &Entry| {
        let Some(platform) = &entry.platform else { return false };
        // Some makers say of 64-bit ARM that it is version 8, which it always is.
        let usual = match platform.variant.as_deref() {
            None | Some("") => true,
            Some("v8") => architecture == Architecture::Arm64,
            Some(_) => false,
        };
        platform.os == "linux" && platform.architecture == architecture.name() && usual
    };
    let position = entries.iter().position(fits);
    let there = |entries: &[Entry]| {
        let platforms = entries.iter().filter_map(|entry| entry.platform.as_ref());
        // Signatures and the like have no real platform.
        let mut there: Vec<String> =
            platforms.filter(|it| it.os != "unknown").map(Platform::words).collect();
        there.sort();
        there.dedup();
        there
    };
    match position {
        Some(at) => Ok(entries[at].blob()?),
        // One that says nothing of its platform is looked at.
        None if entries.len() == 1 && entries[0].platform.is_none() => Ok(entries[0].blob()?),
        None => Err(no_platform(reference, architecture, there(entries))),
    }
}

fn no_platform(reference: &str, architecture: Architecture, there: Vec<String>) -> RegistryError {
    RegistryError::Platform {
        reference: reference.to_owned(),
        wanted: format!("linux/{}", architecture.name()),
        there: if there.is_empty() { vec!["no image".to_owned()] } else { there },
    }
}

fn compression(reference: &str, layer: &Entry) -> Result<Compression, RegistryError> {
    if let Some(compression) = Compression::of(&layer.media_type) {
        return Ok(compression);
    }
    match layer.media_type.as_str() {
        foreign if foreign.contains("foreign") || foreign.contains("nondistributable") => {
            Err(RegistryError::ForeignLayer {
                reference: reference.to_owned(),
                digest: layer.digest.clone(),
            })
        }
        other => Err(RegistryError::Kind {
            reference: reference.to_owned(),
            reason: format!("its layer {} is `{other}`", layer.digest),
        }),
    }
}

#[derive(Deserialize)]
struct RawConfig {
    architecture: String,
    os: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    config: Option<RawRun>,
    rootfs: RawRoot,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawRun {
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
    exposed_ports: Option<BTreeMap<String, Value>>,
    labels: Option<BTreeMap<String, String>>,
    entrypoint: Option<Vec<String>>,
    volumes: Option<BTreeMap<String, Value>>,
    on_build: Option<Vec<String>>,
    healthcheck: Option<IgnoredAny>,
}

impl RawRun {
    /// What counts of it; what is as it would be without being said isn't there.
    fn settings(&mut self) -> BaseSettings {
        let said = |text: Option<String>, usual: &[&str]| {
            text.filter(|text| !text.is_empty() && !usual.contains(&&**text))
        };
        BaseSettings {
            user: said(self.user.take(), &["root", "0", "root:root", "0:0"]),
            working_dir: said(self.working_dir.take(), &["/"]),
            stop_signal: said(self.stop_signal.take(), &["SIGTERM", "15"]),
            exposed_ports: self.exposed_ports.take().unwrap_or_default().into_keys().collect(),
            labels: self.labels.take().unwrap_or_default(),
        }
    }

    fn left_out(&self) -> Vec<&'static str> {
        let is_set = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|it| !it.is_empty());
        let all = [
            (is_set(&self.entrypoint), "entrypoint"),
            (self.volumes.as_ref().is_some_and(|it| !it.is_empty()), "volumes"),
            (self.healthcheck.is_some(), "health check"),
            (is_set(&self.on_build), "triggers of later builds"),
        ];
        all.into_iter().filter_map(|(is_set, what)| is_set.then_some(what)).collect()
    }
}

#[derive(Deserialize)]
struct RawRoot {
    diff_ids: Vec<Digest>,
}

/// Reads a configuration; `layers` is how many there are, and all must be named in it.
pub(super) fn read_config(
    reference: &str,
    bytes: &[u8],
    architecture: Architecture,
    layers: usize,
) -> Result<BaseConfig, RegistryError> {
    let wrong = |reason: String| OciError::Document {
        what: format!("the configuration of {reference}"),
        reason,
    };
    let raw: RawConfig = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    if raw.os != "linux" || raw.architecture != architecture.name() {
        let there = Platform { os: raw.os, architecture: raw.architecture, variant: raw.variant };
        return Err(no_platform(reference, architecture, vec![there.words()]));
    }
    if raw.rootfs.diff_ids.len() != layers {
        return Err(wrong("it and the manifest differ in the number of layers".to_owned()).into());
    }
    let mut run = raw.config.unwrap_or_default();
    Ok(BaseConfig {
        left_out: run.left_out(),
        settings: run.settings(),
        env: run.env.unwrap_or_default(),
        diff_ids: raw.rootfs.diff_ids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(entries: &[(&str, &str)]) -> String {
        let entries: Vec<_> = entries
            .iter()
            .map(|(platform, digit)| {
                let digest = format!("sha256:{}", digit.repeat(64));
                format!(r#"{{"mediaType":"m","size":1,"digest":"{digest}","platform":{platform}}}"#)
            })
            .collect();
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","))
    }

    fn picked(index: &str, architecture: Architecture) -> Result<String, String> {
        match read("r/x:1", index.as_bytes(), architecture) {
            Ok(Document::Index(blob)) => Ok(blob.digest.hex()[..1].to_owned()),
            Ok(Document::Image(_)) => Err("an image".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    const AMD64: &str = r#"{"os":"linux","architecture":"amd64"}"#;
    const V3: &str = r#"{"os":"linux","architecture":"amd64","variant":"v3"}"#;
    const ARM64: &str = r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#;
    const ARM: &str = r#"{"os":"linux","architecture":"arm","variant":"v7"}"#;
    const SIGNATURE: &str = r#"{"os":"unknown","architecture":"unknown"}"#;

    #[test]
    fn the_platforms_manifest_is_picked() {
        let all = index(&[(V3, "a"), (SIGNATURE, "b"), (AMD64, "c"), (ARM, "d"), (ARM64, "e")]);
        assert_eq!(picked(&all, Architecture::Amd64).as_deref(), Ok("c"));
        assert_eq!(picked(&all, Architecture::Arm64).as_deref(), Ok("e"));
        let error =
            picked(&index(&[(ARM, "d"), (SIGNATURE, "b"), (AMD64, "c")]), Architecture::Arm64);
        let said = "r/x:1 is an image for another architecture: it has linux/amd64, linux/arm/v7, \
                    not linux/arm64";
        assert_eq!(error.as_ref().map_err(String::as_str), Err(said));
    }

    #[test]
    fn what_is_no_image_is_refused_with_what_it_is() {
        let said = |document: &str| picked(document, Architecture::Amd64).expect_err("refused");
        assert!(said(r#"{"schemaVersion":1,"fsLayers":[]}"#).contains("schema 1"));
        let chart = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"d","size":1},"layers":[]}"#;
        assert!(said(chart).contains("helm"));
        let windows = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"d","size":1},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","size":1,"digest":"w"}]}"#;
        assert!(said(windows).contains("foreign layer w"), "{}", said(windows));
    }
}
