//! The layout's two files, `oci-layout` and `index.json`.

use std::fs;
use std::path::{Path, PathBuf};

use super::blob::{self, Blobs};
use super::error::{OciError, at};

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
        let _ = (fs::metadata(root).map_err(at(root, "read"))?, &root);
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
}
