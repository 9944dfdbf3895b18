//! An image in somebody else's OCI layout on disk.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use oci_spec::image::{ANNOTATION_REF_NAME, ImageIndex};

use super::RegistryError;
use super::manifest::BlobRef;
use crate::bounded;
use crate::digest::Digest;
use crate::event::Reporter;
use crate::oci::error::at;
use crate::oci::layout::digest_of;
use crate::oci::{Layout, OciError};
use crate::spec::LayoutReference;

/// The digest that a layout's index has for a name.
pub(super) fn named(root: &Path, reference: &LayoutReference) -> Result<Digest, RegistryError> {
    let path = root.join(&reference.path);
    let index = path.join("index.json");
    let bytes = match bounded::read(&index, bounded::TEXT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(RegistryError::NoLayout { path });
        }
        Err(error) => return Err(at(&index, "read")(error).into()),
    };
    if let Some(digest) = reference.digest {
        return Ok(digest);
    }
    let index: ImageIndex = serde_json::from_slice(&bytes).map_err(|error| OciError::Document {
        what: index.display().to_string(),
        reason: error.to_string(),
    })?;
    let entries = || {
        index.manifests().iter().map(|entry| {
            let names = entry.annotations().as_ref();
            let tag = names.and_then(|names| names.get(ANNOTATION_REF_NAME));
            (tag, entry)
        })
    };
    let found = match &reference.tag {
        Some(wanted) => entries().find(|(tag, _)| *tag == Some(wanted)),
        None => entries().next().filter(|_| entries().count() == 1),
    };
    let found = found.ok_or_else(|| RegistryError::NoSuchImage {
        path,
        name: reference.tag.clone(),
        there: entries().filter_map(|(tag, _)| tag.cloned()).collect(),
    });
    Ok(digest_of(found?.1).map_err(OciError::from)?)
}

pub(super) fn blob_path(layout: &Path, digest: Digest) -> PathBuf {
    layout.join("blobs/sha256").join(digest.hex())
}

fn missing(path: &Path, digest: Digest, error: io::Error) -> RegistryError {
    if error.kind() == io::ErrorKind::NotFound {
        let layout = path.ancestors().nth(3).unwrap_or(path).to_owned();
        return RegistryError::Incomplete { path: layout, digest };
    }
    at(path, "read")(error).into()
}

/// Copies a blob from another layout, hashing it on the way.
pub(super) fn copy(
    from: &Path,
    into: &Layout,
    blob: &BlobRef,
    reporter: &Reporter,
) -> Result<(), RegistryError> {
    let mut file = bounded::open(from).map_err(|error| missing(from, blob.digest, error))?;
    let mut writer = into.blobs().writer()?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer).map_err(at(from, "read"))?;
        if read == 0 {
            break;
        }
        writer.write_all(&buffer[..read]).map_err(at(into.root(), "written"))?;
        reporter.advance(read as u64)?;
    }
    match writer.commit_if(blob.digest) {
        Err(OciError::Damaged { digest, found }) => {
            let (what, found) = (from.display().to_string(), found.to_string());
            Err(RegistryError::Digest { what, expected: digest, found })
        }
        outcome => Ok(outcome.map(drop)?),
    }
}

/// A manifest or index of this digest, verified; and the digest.
pub(super) fn document(layout: &Path, digest: Digest) -> Result<(Vec<u8>, Digest), RegistryError> {
    let path = blob_path(layout, digest);
    let bytes =
        bounded::read(&path, bounded::TEXT).map_err(|error| missing(&path, digest, error))?;
    let found = Digest::of(&bytes);
    if found == digest {
        return Ok((bytes, found));
    }
    let what = path.display().to_string();
    Err(RegistryError::Digest { what, expected: digest, found: found.to_string() })
}
