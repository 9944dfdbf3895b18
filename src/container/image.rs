//! Hands images over to Docker and Podman.

use std::process::Stdio;

use oci_spec::image::MediaType;

use super::program::{QUESTION, ask, command, last_words, unstarted};
use super::{ContainerError, Kind};
use crate::event::{Cancelled, Reporter};
use crate::oci::{Image, Layout, OciError, archive_size, write_archive};

/// What an image is called there: `localhost` is no registry, so nobody pushes or pulls it by
/// mistake, and both engines leave such a name as it is.
pub fn image_name(name: &str, image: &Image) -> String {
    let digits = image.digest.trim_start_matches("sha256:");
    format!("localhost/goatbuild/{name}:{}", digits.get(..16).unwrap_or(digits))
}

/// Makes the engine have the image, unless it has it; gives its id there, and whether it was handed
/// over.
pub async fn hand_over(
    kind: Kind,
    layout: &Layout,
    image: &Image,
    name: &str,
    reporter: &Reporter,
) -> Result<(String, bool), ContainerError> {
    let name = image_name(name, image);
    if let Some(id) = id_of(kind, &name).await?
        && is_ours(&id, image)
    {
        return Ok((id, false));
    }
    let (layout, whole, called, reporter) =
        (layout.clone(), image.clone(), name.clone(), reporter.clone());
    let loading =
        tokio::task::spawn_blocking(move || load(kind, &layout, &whole, &called, &reporter));
    match loading.await {
        Ok(loaded) => loaded?,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => return Err(OciError::from(Cancelled).into()),
    }
    match id_of(kind, &name).await? {
        Some(id) if is_ours(&id, image) => Ok((id, true)),
        found => Err(ContainerError::OtherImage {
            kind,
            name,
            wanted: image.manifest.config().digest().to_string(),
            found: found.unwrap_or_else(|| "nothing".to_owned()),
        }),
    }
}

/// The id of what the engine has under a name.
async fn id_of(kind: Kind, name: &str) -> Result<Option<String>, ContainerError> {
    let said = ask(kind, &["image", "inspect", "--format", "{{.Id}}", name], QUESTION).await?;
    match said.done {
        true => Ok(Some(said.stdout.trim().to_owned())),
        false if said.is_missing() => Ok(None),
        false => Err(said.refused(kind, "look for the image")),
    }
}

/// Whether an engine's id of an image is that of ours: the digest of the configuration, which names
/// every layer's content, or of the manifest where containerd stores images.
fn is_ours(id: &str, image: &Image) -> bool {
    let digits = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
    let known = [image.manifest.config().digest().to_string(), image.digest.clone()];
    known.iter().any(|digest| digits(digest) == digits(id))
}

/// Streams the image into the engine's `load`; blocks meanwhile.
fn load(
    kind: Kind,
    layout: &Layout,
    image: &Image,
    name: &str,
    reporter: &Reporter,
) -> Result<(), ContainerError> {
    reporter.expect(archive_size(layout, image)?);
    let mut child = command(kind)
        .args(["image", "load", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| unstarted(kind, &error))?;
    let stdin = child.stdin.take().unwrap_or_else(|| panic!("BUG: no input"));
    // Closed when it is written, so that the engine knows that this is all.
    let written = write_archive(layout, image, name, stdin, reporter).map(drop);
    if !matches!(written, Ok(()) | Err(OciError::Archive { .. })) {
        // An archive that breaks off is no image, but nobody waits for the engine to find that out.
        let _ = child.kill();
    }
    let output = child.wait_with_output().map_err(|error| unstarted(kind, &error))?;
    match written {
        // What the engine has to say is better than that it closed its input.
        Ok(()) | Err(OciError::Archive { .. }) if !output.status.success() => {
            let said = last_words(&String::from_utf8_lossy(&output.stderr));
            let deed = format!("take over the image {name}");
            let layers = image.manifest.layers();
            let help = if layers
                .iter()
                .any(|layer| *layer.media_type() == MediaType::ImageLayerZstd)
            {
                "the image has zstd layers, which Docker reads from version 23 on; is its disk full?"
            } else {
                "is its disk full?"
            };
            Err(ContainerError::Refused { kind, deed, said, help: Some(help.to_owned()) })
        }
        Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
