//! The layout's `index.json`: which images there are, and what they are called.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use oci_spec::image::{
    ANNOTATION_REF_NAME, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType,
    Sha256Digest,
};

use super::blob::{self, Blobs};
use super::document::{canonical, parse};
use super::error::{OciError, at};
use crate::bounded;
use crate::digest::{Digest, NotADigest};
use crate::event::Reporter;

/// One OCI image layout.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    blobs: Blobs,
}

/// An image's documents, read and verified.
#[derive(Debug, Clone)]
pub struct Image {
    /// Of the manifest.
    pub digest: Digest,
    /// Names the configuration and the layers.
    pub manifest: ImageManifest,
    /// How it is to be run.
    pub config: ImageConfiguration,
}

/// A name in a layout, and the digest of its manifest; what others put there may have one of another
/// kind.
pub(super) type Tag = (String, Result<Digest, NotADigest>);

impl Image {
    /// The environment variables that it sets.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let config = self.config.config().as_ref();
        let variables = config.and_then(|config| config.env().as_ref()).into_iter().flatten();
        let split = |text: &String| {
            text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        variables.filter_map(split).collect()
    }

    /// Its layers, the lowest first.
    pub fn layers(&self) -> Result<Vec<Digest>, NotADigest> {
        self.manifest.layers().iter().map(digest_of).collect()
    }

    /// Whether all of its layers are in the layout. Looks at names, not at bytes.
    pub fn is_complete(&self, layout: &Layout) -> bool {
        let mut layers = self.manifest.layers().iter();
        layers.all(|layer| digest_of(layer).is_ok_and(|digest| layout.blobs().has(digest)))
    }
}

impl Layout {
    /// Opens the layout in `root`, or makes an empty one.
    pub fn open(root: &Path) -> Result<Self, OciError> {
        let layout = Self { root: root.to_owned(), blobs: Blobs::open(root.join("blobs/sha256"))? };
        let marker = root.join("oci-layout");
        if !marker.exists() {
            blob::replace(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        // One that is there can be read where nobody may write.
        if !layout.index_path().exists() {
            let _lock = layout.lock()?;
            if !layout.index_path().exists() {
                layout.write_index(&[])?;
            }
        }
        Ok(layout)
    }

    /// The layout's blobs.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Lets `tag` name the manifest `digest`, in place of what it named before.
    pub fn tag(&self, tag: &str, digest: Digest) -> Result<(), OciError> {
        let image = self.image(digest)?;
        let size = self.blobs.len(digest)?;
        let name = Sha256Digest::from_str(&digest.hex());
        let name = name.unwrap_or_else(|error| panic!("BUG: {digest} is no digest: {error}"));
        let mut entry = Descriptor::new(MediaType::ImageManifest, size, name);
        let mut platform = oci_spec::image::Platform::default();
        platform.set_architecture(image.config.architecture().clone());
        platform.set_os(image.config.os().clone());
        entry.set_platform(Some(platform));
        entry.set_annotations(Some([(ANNOTATION_REF_NAME.to_owned(), tag.to_owned())].into()));
        let _lock = self.lock()?;
        let mut entries = self.entries()?;
        entries.retain(|other| ref_name(other) != Some(tag));
        entries.push(entry);
        entries.sort_by(|left, right| ref_name(left).cmp(&ref_name(right)));
        self.write_index(&entries)
    }

    /// Removes a tag, if there; the blobs stay.
    pub fn untag(&self, tag: &str) -> Result<(), OciError> {
        let _lock = self.lock()?;
        let mut entries = self.entries()?;
        entries.retain(|other| ref_name(other) != Some(tag));
        self.write_index(&entries)
    }

    /// All tags, sorted.
    pub fn tags(&self) -> Result<Vec<Tag>, OciError> {
        let entries = self.entries()?;
        let named = |entry| Some((ref_name(entry)?.to_owned(), digest_of(entry)));
        Ok(entries.iter().filter_map(named).collect())
    }

    /// Reads the image of a tag.
    pub fn tagged(&self, tag: &str) -> Result<Image, OciError> {
        let entries = self.entries()?;
        let entry = entries.iter().find(|entry| ref_name(entry) == Some(tag));
        let none = || OciError::NoImage { name: tag.to_owned(), path: self.root.clone() };
        self.image(digest_of(entry.ok_or_else(none)?)?)
    }

    /// Reads all blobs of an image and compares them with their names.
    pub fn verify(&self, digest: Digest, reporter: &Reporter) -> Result<(), OciError> {
        // The manifest and the configuration are verified as they are read.
        let image = self.image(digest)?;
        for layer in image.manifest.layers() {
            self.blobs.verify(digest_of(layer)?, reporter)?;
        }
        Ok(())
    }

    /// Reads the image of a manifest's digest.
    pub fn image(&self, digest: Digest) -> Result<Image, OciError> {
        let manifest: ImageManifest = parse("the manifest", &self.blobs.read(digest)?)?;
        let config = self.blobs.read(digest_of(manifest.config())?)?;
        let config: ImageConfiguration = parse("the image's configuration", &config)?;
        if config.rootfs().diff_ids().len() != manifest.layers().len() {
            return Err(OciError::Document {
                what: "the image".to_owned(),
                reason: "its two documents differ in the number of layers".to_owned(),
            });
        }
        Ok(Image { digest, manifest, config })
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn entries(&self) -> Result<Vec<Descriptor>, OciError> {
        let path = self.index_path();
        let bytes = bounded::read(&path, bounded::TEXT).map_err(at(&path, "read"))?;
        let index: ImageIndex = parse("index.json", &bytes)?;
        Ok(index.manifests().clone())
    }

    fn write_index(&self, entries: &[Descriptor]) -> Result<(), OciError> {
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageIndex.to_string(),
            "manifests": entries,
        });
        blob::replace(&self.index_path(), &canonical(&index))
    }

    /// Keeps other writers of the index out, in this process and in others, until dropped.
    fn lock(&self) -> Result<File, OciError> {
        let path = self.root.join(".index.lock");
        let file = File::create(&path).map_err(at(&path, "created"))?;
        file.lock().map_err(at(&path, "locked"))?;
        Ok(file)
    }
}

/// What a descriptor names, whose digest could be of any kind.
pub(super) fn digest_of(entry: &Descriptor) -> Result<Digest, NotADigest> {
    entry.digest().as_ref().parse()
}

fn ref_name(entry: &Descriptor) -> Option<&str> {
    entry.annotations().as_ref()?.get(ANNOTATION_REF_NAME).map(String::as_str)
}
