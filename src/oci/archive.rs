//! One tar that is two archives: an OCI layout, and what `docker save` writes.
//!
//! Both name the same files under `blobs/sha256`, so nothing is in it twice. Podman, skopeo and
//! containerd read the layout, older Dockers read `manifest.json`. Entries have no times and no
//! owners and come in a fixed order: the same image under the same name is the same bytes.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use oci_spec::image::{ANNOTATION_REF_NAME, MediaType};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::document::canonical;
use super::error::OciError;
use super::layout::{Image, Layout, digest_of};
use crate::digest::{Digest, NotADigest};
use crate::event::{Cancelled, Reporter};

/// What containerd takes an image's whole name from.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Writes `image` under `name`, such as `localhost/goatbuild/mlx:1f3b…`; gives `out` back.
///
/// Blobs go in as they are, compared with their digests; nothing is compressed anew. Reports bytes
/// of blobs.
pub fn write_archive<W: Write>(
    layout: &Layout,
    image: &Image,
    name: &str,
    out: W,
    reporter: &Reporter,
) -> Result<W, OciError> {
    let blobs = layout.blobs();
    let manifest_size = blobs.len(image.digest)?;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageIndex.to_string(),
        "manifests": [{
            "mediaType": MediaType::ImageManifest.to_string(),
            "digest": image.digest,
            "size": manifest_size,
            "platform": {
                "architecture": image.config.architecture().to_string(),
                "os": image.config.os().to_string(),
            },
            "annotations": { ANNOTATION_REF_NAME: name, CONTAINERD_NAME: name },
        }],
    });
    let layers = layers(image)?;
    let config = digest_of(image.manifest.config())?;
    let saved = json!([{
        "Config": place(config),
        "RepoTags": [name],
        "Layers": layers.iter().copied().map(place).collect::<Vec<_>>(),
    }]);
    let mut archive = Archive { out, reporter };
    archive.document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.document("index.json", &canonical(&index))?;
    archive.document("manifest.json", &canonical(&saved))?;
    // Two layers may be the same one.
    let mut written = BTreeSet::new();
    for digest in [image.digest, config].into_iter().chain(layers) {
        if written.insert(digest) {
            let put = archive.blob(digest, blobs.len(digest)?, blobs.open_blob(digest)?);
            // Whoever verifies it takes it away.
            if let Err(OciError::Damaged { .. }) = put {
                blobs.verify(digest, &Reporter::silent())?;
            }
            put?;
        }
    }
    archive.finish()
}

/// How many bytes of blobs an archive of this image has.
pub fn archive_size(layout: &Layout, image: &Image) -> Result<u64, OciError> {
    let unique: BTreeSet<Digest> = layers(image)?.into_iter().collect();
    unique.into_iter().map(|digest| layout.blobs().len(digest)).sum()
}

fn layers(image: &Image) -> Result<Vec<Digest>, NotADigest> {
    image.manifest.layers().iter().map(digest_of).collect()
}

/// Where a blob is in the archive.
fn place(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

struct Archive<'a, W> {
    out: W,
    reporter: &'a Reporter,
}

impl<W: Write> Archive<'_, W> {
    fn document(&mut self, path: &str, bytes: &[u8]) -> Result<(), OciError> {
        self.header(path, bytes.len() as u64)?;
        self.out.write_all(bytes).map_err(closed)?;
        self.pad(bytes.len() as u64)
    }

    fn blob(&mut self, digest: Digest, size: u64, mut content: impl Read) -> Result<(), OciError> {
        self.header(&place(digest), size)?;
        let mut buffer = vec![0; 1 << 18];
        let mut hasher = Sha256::new();
        let mut left = size;
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = content.read(&mut buffer[..wanted]).map_err(closed)?;
            if read == 0 {
                return Err(OciError::Damaged { digest, found: Digest::finish(hasher) });
            }
            hasher.update(&buffer[..read]);
            self.out.write_all(&buffer[..read]).map_err(closed)?;
            self.reporter.advance(read as u64)?;
            left -= read as u64;
        }
        let found = Digest::finish(hasher);
        if found != digest {
            return Err(OciError::Damaged { digest, found });
        }
        self.pad(size)
    }

    fn header(&mut self, path: &str, size: u64) -> Result<(), OciError> {
        let mut header = tar::Header::new_gnu();
        header.set_path(path).map_err(closed)?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        self.out.write_all(header.as_bytes()).map_err(closed)
    }

    fn pad(&mut self, size: u64) -> Result<(), OciError> {
        let over = usize::try_from(size % 512).unwrap_or(0);
        self.out.write_all(&[0; 512][..(512 - over) % 512]).map_err(closed)
    }

    fn finish(mut self) -> Result<W, OciError> {
        self.out.write_all(&[0; 1024]).map_err(closed)?;
        self.out.flush().map_err(closed)?;
        Ok(self.out)
    }
}

fn closed(source: io::Error) -> OciError {
    match source.downcast::<Cancelled>() {
        Ok(cancelled) => cancelled.into(),
        Err(source) => OciError::Archive { source },
    }
}
