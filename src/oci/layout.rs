//! The layout's two files, `oci-layout` and `index.json`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageIndex, ImageIndexBuilder, MediaType};

use super::blob::{self, Blobs};
use super::error::{OciError, at};
use super::image::{canonical, read, tagged};

/// Held while `index.json` is read, changed and replaced. Other processes are kept out by the
/// project's lock.
static INDEX: Mutex<()> = Mutex::new(());

/// One OCI image layout.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    blobs: Blobs,
}

impl Layout {
    /// Opens the layout in `root`, or makes an empty one.
    pub fn open(root: &Path) -> Result<Self, OciError> {
        let blobs = Blobs::open(root.join("blobs/sha256"))?;
        let marker = root.join("oci-layout");
        if !marker.exists() {
            blob::replace(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(Self { root: root.to_owned(), blobs })
    }

    /// The layout's blobs.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The digest of the image with this tag.
    pub fn tagged(&self, tag: &str) -> Result<Option<String>, OciError> {
        let found = self.index()?.into_iter().find(|entry| tag_of(entry) == Some(tag));
        Ok(found.map(|entry| entry.digest().to_string()))
    }

    /// Points a tag to a manifest that is in the store.
    pub(super) fn tag(&self, tag: &str, mut manifest: Descriptor) -> Result<(), OciError> {
        let _only = INDEX.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = self.index()?;
        entries.retain(|entry| tag_of(entry) != Some(tag));
        manifest.set_annotations(Some(tagged(tag)));
        entries.push(manifest);
        entries.sort_by(|one, other| tag_of(one).cmp(&tag_of(other)));
        let index = ImageIndexBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageIndex)
            .manifests(entries)
            .build()
            .unwrap_or_else(|error| panic!("BUG: an OCI index is incomplete: {error}"));
        blob::replace(&self.index_file(), &canonical(&index))
    }

    fn index_file(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn index(&self) -> Result<Vec<Descriptor>, OciError> {
        let path = self.index_file();
        match fs::read(&path) {
            Ok(bytes) => {
                let index: ImageIndex = read("index.json", &bytes)?;
                Ok(index.manifests().clone())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(at(&path, "read")(error)),
        }
    }
}

fn tag_of(entry: &Descriptor) -> Option<&str> {
    entry.annotations().as_ref()?.get(ANNOTATION_REF_NAME).map(String::as_str)
}
