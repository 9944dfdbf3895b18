//! Hands images over to Docker and Podman.

use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use oci_spec::image::MediaType;
use serde::Serialize;

use super::program::{DEED, QUESTION, ask, command, last_words, told, unstarted};
use super::{ContainerEngine, ContainerError};
use crate::blocking::blocking;
use crate::digest::Digest;
use crate::event::Reporter;
use crate::oci::{Image, Layout, OciError, archive_size, write_archive};

/// What an image of a project is called there: `localhost` is no registry, so nobody pushes or pulls
/// it by mistake, and both engines leave such a name as it is. A label would change the image; by
/// the project in its name it is known whose it is, and an image of two projects has two names.
pub fn image_name(project: &str, name: &str, image: &Image) -> String {
    format!("{}{name}:{}", names_of(project), digits(image.digest))
}

/// What the names of all images of a project begin with.
fn names_of(project: &str) -> String {
    format!("localhost/goatbuild/{project}/")
}

/// As much of a manifest's digest as an image's name has.
fn digits(digest: Digest) -> String {
    digest.hex()[..16].to_owned()
}

/// An image of ours that an engine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// Which of the two.
    pub engine: ContainerEngine,
    /// What it is called there.
    pub name: String,
    /// Its size as the engine says it, with layers that other images may have too.
    pub bytes: u64,
}

impl Loaded {
    /// Whether it was made of the manifest of this digest.
    pub fn is_of(&self, digest: Digest) -> bool {
        self.name.rsplit(':').next() == Some(&digits(digest))
    }
}

/// The images of a project that an engine has.
pub async fn loaded(kind: ContainerEngine, project: &str) -> Result<Vec<Loaded>, ContainerError> {
    let format = ["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"];
    let listed = told(kind, "list its images", &format, QUESTION).await?;
    let (mut images, names) = (Vec::new(), names_of(project));
    for name in listed.lines().map(str::trim).filter(|name| name.starts_with(&names)) {
        let arguments = ["image", "inspect", "--format", "{{.Size}}", name];
        let said = ask(kind, &arguments, QUESTION).await?;
        // It may just have been removed.
        if let (true, Ok(bytes)) = (said.done, said.stdout.trim().parse()) {
            images.push(Loaded { engine: kind, name: name.to_owned(), bytes });
        }
    }
    Ok(images)
}

/// Has an engine remove an image, unless a container was made of it. Says whether it is gone.
pub async fn unload(image: &Loaded) -> Result<bool, ContainerError> {
    let kind = image.engine;
    let said = ask(kind, &["image", "rm", &image.name], DEED).await?;
    let words = said.stderr.to_lowercase();
    if said.done || said.is_missing() {
        return Ok(true);
    }
    if ["in use", "is using"].iter().any(|used| words.contains(used)) {
        return Ok(false);
    }
    Err(said.refused(kind, "remove an image"))
}

/// Makes the engine have the image under a name of [`image_name`], unless it has it; gives its id
/// there, and whether it was handed over.
pub async fn hand_over(
    kind: ContainerEngine,
    layout: &Layout,
    image: &Image,
    name: &str,
    reporter: &Reporter,
) -> Result<(String, bool), ContainerError> {
    let name = name.to_owned();
    if let Some(id) = id_of(kind, &name).await?
        && is_ours(&id, image)
    {
        return Ok((id, false));
    }
    let (layout, whole, called, reporter) =
        (layout.clone(), image.clone(), name.clone(), reporter.clone());
    let loaded = move || Ok::<_, OciError>(load(kind, &layout, &whole, &called, &reporter));
    blocking(loaded).await??;
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
async fn id_of(kind: ContainerEngine, name: &str) -> Result<Option<String>, ContainerError> {
    let mut tries = 0;
    loop {
        let said = ask(kind, &["image", "inspect", "--format", "{{.Id}}", name], QUESTION).await?;
        match said.done {
            true => return Ok(Some(said.stdout.trim().to_owned())),
            false if said.is_missing() => return Ok(None),
            false if said.is_being_stored() && tries < 20 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            false => return Err(said.refused(kind, "look for the image")),
        }
    }
}

/// Whether an engine's id of an image is that of ours: the digest of the configuration, which names
/// every layer's content, or of the manifest where containerd stores images.
fn is_ours(id: &str, image: &Image) -> bool {
    let digits = id.trim_start_matches("sha256:");
    image.manifest.config().digest().digest() == digits || image.digest.hex() == digits
}

/// Bytes of what an engine says that are read.
const SAID: u64 = 1 << 20;

/// Streams the image into the engine's `load`; blocks meanwhile.
fn load(
    kind: ContainerEngine,
    layout: &Layout,
    image: &Image,
    name: &str,
    reporter: &Reporter,
) -> Result<(), ContainerError> {
    reporter.expect(archive_size(layout, image)?);
    let mut child = command(kind)
        .args(["image", "load", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
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
    let mut said = Vec::new();
    if let Some(words) = child.stderr.take() {
        let _ = words.take(SAID).read_to_end(&mut said);
    }
    let status = child.wait().map_err(|error| unstarted(kind, &error))?;
    match written {
        // What the engine has to say is better than that it closed its input.
        Ok(()) | Err(OciError::Archive { .. }) if !status.success() => {
            let said = last_words(&String::from_utf8_lossy(&said));
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
