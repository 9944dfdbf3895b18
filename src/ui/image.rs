//! An image's documents, for people and programs.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;

use super::out::outln;
use super::words::bytes;
use super::{BOLD, FAINT};
use crate::oci::Image;

/// Prints what an image is made of.
pub fn print_image(name: &str, image: &Image, as_json: bool) {
    let layers = || {
        let history = image.config.history().as_ref().into_iter().flatten();
        let made_by = history
            .filter(|entry| entry.empty_layer() != Some(true))
            .map(|entry| entry.created_by().as_deref().unwrap_or_default())
            .chain(std::iter::repeat(""));
        image.manifest.layers().iter().zip(image.config.rootfs().diff_ids()).zip(made_by)
    };
    let size: u64 = image.manifest.layers().iter().map(oci_spec::image::Descriptor::size).sum();
    if as_json {
        let layers: Vec<_> = layers()
            .map(|((layer, diff_id), made_by)| {
                json!({
                    "digest": layer.digest().to_string(),
                    "media_type": layer.media_type().to_string(),
                    "size": layer.size(),
                    "diff_id": diff_id,
                    "made_by": made_by,
                })
            })
            .collect();
        let document = json!({
            "format_version": 1,
            "image": name,
            "digest": image.digest,
            "platform": platform(image),
            "size": size,
            "layers": layers,
            "config": image.config.config(),
            "annotations": image.manifest.annotations(),
        });
        outln!("{document}");
        return;
    }
    outln!("{BOLD}{name}{BOLD:#}  {}", image.digest);
    outln!(
        "{}, {} layers, {} compressed",
        platform(image),
        image.manifest.layers().len(),
        bytes(size)
    );
    for ((layer, _), made_by) in layers() {
        let digest = layer.digest().to_string();
        let short = digest.get(..19).unwrap_or(&digest);
        outln!("  {FAINT}{short}{FAINT:#}  {:>8}  {made_by}", bytes(layer.size()));
    }
    if let Some(config) = image.config.config() {
        let lists = [("entrypoint", config.entrypoint()), ("cmd", config.cmd())];
        for (label, words) in lists {
            if let Some(words) = words.as_ref().filter(|words| !words.is_empty()) {
                outln!("{label}: {}", words.join(" "));
            }
        }
        for variable in config.env().iter().flatten() {
            outln!("env: {variable}");
        }
        tell("label", config.labels().as_ref());
    }
    tell("annotation", image.manifest.annotations().as_ref());
}

/// One line for each, sorted: the documents' own order is none.
fn tell(kind: &str, texts: Option<&HashMap<String, String>>) {
    let texts: BTreeMap<_, _> = texts.into_iter().flatten().collect();
    for (name, text) in texts {
        outln!("{kind}: {name}={text}");
    }
}

fn platform(image: &Image) -> String {
    format!("{}/{}", image.config.os(), image.config.architecture())
}
