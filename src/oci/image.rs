//! An image's manifest and configuration, as canonical JSON.

use std::collections::BTreeMap;

use oci_spec::image::MediaType;
use serde_json::{Value, json};

use super::compression::Compression;
use super::document::{canonical, parse};
use super::error::OciError;
use super::layout::Layout;
use crate::digest::Digest;
use crate::lock::BaseSettings;
use crate::platform::Architecture;
use crate::spec;

/// Where an image's own programs come first.
const OWN_PATH: &str = "/opt/goatbuild/bin";

/// What a container's `PATH` is when no one says.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One layer of an image to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRef {
    /// Of the blob.
    pub digest: Digest,
    /// Of the blob, in bytes.
    pub size: u64,
    /// Of the uncompressed tar.
    pub diff_id: Digest,
    /// The blob's form.
    pub compression: Compression,
    /// What made it, for the image's history.
    pub created_by: String,
}

/// An image to be.
#[derive(Debug, Clone)]
pub struct ImageSpec {
    /// What it runs on; the system is always Linux.
    pub architecture: Architecture,
    /// When it counts as made, in seconds since 1970.
    pub epoch: u64,
    /// From the base up.
    pub layers: Vec<LayerRef>,
    /// The base's environment, as `NAME=value`.
    pub base_env: Vec<String>,
    /// The image's own environment, which wins.
    pub env: BTreeMap<String, String>,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments that a run may replace.
    pub cmd: Vec<String>,
    /// What it keeps of its base, and labels of its own.
    pub settings: BaseSettings,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// Stores the image's documents and returns the manifest's digest; the layers must be stored.
pub fn write_image(layout: &Layout, spec: &ImageSpec) -> Result<Digest, OciError> {
    let blobs = layout.blobs();
    for layer in &spec.layers {
        if !blobs.has(layer.digest) {
            return Err(OciError::Missing { digest: layer.digest });
        }
    }
    let config = canonical(&config(spec)?);
    let config_digest = blobs.put(&config)?;
    let layers: Vec<Value> = spec
        .layers
        .iter()
        .map(|layer| {
            let media_type = layer.compression.media_type();
            json!({"mediaType": media_type, "digest": layer.digest, "size": layer.size})
        })
        .collect();
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageManifest,
        "config": {
            "mediaType": MediaType::ImageConfig,
            "digest": config_digest,
            "size": config.len(),
        },
        "layers": layers,
    });
    if !spec.annotations.is_empty() {
        manifest["annotations"] = json!(spec.annotations);
    }
    let manifest = canonical(&manifest);
    // What is written must be what every other reader of the specification reads.
    parse::<oci_spec::image::ImageManifest>("the manifest", &manifest)?;
    parse::<oci_spec::image::ImageConfiguration>("the image's configuration", &config)?;
    blobs.put(&manifest)
}

fn config(spec: &ImageSpec) -> Result<Value, OciError> {
    let created = i64::try_from(spec.epoch)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .ok_or_else(|| OciError::Document {
            what: "the image's time".to_owned(),
            reason: format!("{} seconds are beyond the calendar", spec.epoch),
        })?
        .to_string();
    let mut run = json!({
        "Env": environment(&spec.base_env, &spec.env),
        "Entrypoint": spec.entrypoint,
        "Cmd": spec.cmd,
        "WorkingDir": spec.settings.working_dir.as_deref().unwrap_or("/"),
    });
    let BaseSettings { labels, exposed_ports, stop_signal, .. } = &spec.settings;
    if !labels.is_empty() {
        run["Labels"] = json!(labels);
    }
    if !exposed_ports.is_empty() {
        run["ExposedPorts"] = exposed_ports.iter().map(|port| (port.clone(), json!({}))).collect();
    }
    if let Some(signal) = stop_signal {
        run["StopSignal"] = json!(signal);
    }
    let history: Vec<Value> = spec
        .layers
        .iter()
        .map(|layer| json!({"created": created, "created_by": layer.created_by}))
        .collect();
    let diff_ids: Vec<Digest> = spec.layers.iter().map(|layer| layer.diff_id).collect();
    Ok(json!({
        "created": created,
        "architecture": spec.architecture.name(),
        "os": "linux",
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    }))
}

/// The base's variables in their order, overridden or extended, then the new ones, sorted; `PATH` begins
/// with the environment's own programs.
fn environment(base: &[String], own: &BTreeMap<String, String>) -> Vec<String> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for line in base {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        match variables.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => variables.push((name.to_owned(), value.to_owned())),
        }
    }
    for (name, value) in own {
        let usual = if name == "PATH" { USUAL_PATH } else { "" };
        match variables.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = spec::extended(name, value, old),
            None => variables.push((name.clone(), spec::extended(name, value, usual))),
        }
    }
    if !variables.iter().any(|(name, _)| name == "PATH") {
        variables.insert(0, ("PATH".to_owned(), USUAL_PATH.to_owned()));
    }
    for (name, value) in &mut variables {
        if name == "PATH" && value.split(':').next() != Some(OWN_PATH) {
            *value = format!("{OWN_PATH}:{value}");
        }
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}
