//! Content-addressed files: a blob appears under its name whole, or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::error::{OciError, at};
use super::gzip::Layer;
use crate::bounded;
use crate::digest::Digest;
use crate::durable::{self, Unfinished};
use crate::event::Reporter;
use crate::fetch::{Expected, discard_damaged};

/// The blobs of one OCI layout.
#[derive(Debug, Clone)]
pub struct Blobs {
    directory: PathBuf,
}

impl Blobs {
    /// Uses `directory`, which is made if need be.
    pub(super) fn open(directory: PathBuf) -> Result<Self, OciError> {
        fs::create_dir_all(&directory).map_err(at(&directory, "created"))?;
        Ok(Self { directory })
    }

    /// Where the blob is, or would be.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.directory.join(digest.hex())
    }

    /// Whether the blob is there.
    pub fn has(&self, digest: Digest) -> bool {
        self.path(digest).is_file()
    }

    /// The blob's size in bytes.
    pub fn len(&self, digest: Digest) -> Result<u64, OciError> {
        let metadata = self.open_blob(digest)?.metadata();
        metadata.map(|data| data.len()).map_err(at(&self.path(digest), "read"))
    }

    /// Opens the blob for reading.
    pub fn open_blob(&self, digest: Digest) -> Result<File, OciError> {
        let path = self.path(digest);
        File::open(&path).map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                OciError::Missing { digest }
            } else {
                at(&path, "read")(source)
            }
        })
    }

    /// Reads a small blob. Fails when its bytes are not those of its name, and leaves it where it is:
    /// whoever plans, or just looks, changes nothing.
    pub fn read(&self, digest: Digest) -> Result<Vec<u8>, OciError> {
        let length = self.len(digest)?;
        if length > bounded::TEXT {
            let reason = format!("it has {length} bytes, more than any manifest or configuration");
            return Err(OciError::Document { what: digest.to_string(), reason });
        }
        let mut bytes = Vec::new();
        io::copy(&mut self.open_blob(digest)?, &mut bytes)
            .map_err(at(&self.path(digest), "read"))?;
        same(digest, Digest::of(&bytes))?;
        Ok(bytes)
    }

    /// Stores bytes and returns their digest.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, OciError> {
        let mut writer = self.writer()?;
        writer.write_all(bytes).map_err(at(&self.directory, "written"))?;
        writer.commit().map(|(digest, _)| digest)
    }

    /// Gives a file its name as a blob; its digest is verified already. It has to be on the same disk.
    pub(super) fn take(&self, file: &Path, digest: Digest) -> Result<(), OciError> {
        let target = self.path(digest);
        let readable = fs::Permissions::from_mode(0o644);
        fs::set_permissions(file, readable).map_err(at(file, "written"))?;
        durable::rename(file, &target).map_err(at(&target, "written"))
    }

    /// Begins a blob whose digest is computed while it is written.
    pub fn writer(&self) -> Result<BlobWriter, OciError> {
        Ok(BlobWriter { hasher: Sha256::new(), inner: self.layer_writer()? })
    }

    /// Begins a blob whose writer computes the digest itself, as [`super::GzipBlocks`] does.
    pub fn layer_writer(&self) -> Result<LayerWriter, OciError> {
        let file = unfinished(&self.directory).map_err(at(&self.directory, "written"))?;
        Ok(LayerWriter { file: BufWriter::with_capacity(1 << 18, file), blobs: self.clone() })
    }

    /// Fails when the blob's bytes are not those of its name, and takes it away then, so that it is made
    /// or fetched again. Reads all of them.
    pub fn verify(&self, digest: Digest, reporter: &Reporter) -> Result<(), OciError> {
        let mut file = self.open_blob(digest)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = io::Read::read(&mut file, &mut buffer);
            let read = read.map_err(at(&self.path(digest), "read"))?;
            if read == 0 {
                let same = same(digest, Digest::finish(hasher));
                if same.is_err() {
                    self.discard(digest);
                }
                return same;
            }
            hasher.update(&buffer[..read]);
            reporter.advance(read as u64)?;
        }
    }

    /// Takes a blob away when its bytes are not those of its name.
    pub fn discard(&self, digest: Digest) {
        // Where it can't be removed, or somebody made it again meanwhile, it is as it was.
        let _ = discard_damaged(&self.path(digest), &Expected { size: None, sha256: digest });
    }
}

fn same(digest: Digest, found: Digest) -> Result<(), OciError> {
    if digest == found { Ok(()) } else { Err(OciError::Damaged { digest, found }) }
}

/// A blob being written and digested. Dropping it removes it.
pub struct BlobWriter {
    hasher: Sha256,
    inner: LayerWriter,
}

impl BlobWriter {
    /// Puts the blob under its name; returns its digest and size.
    pub fn commit(self) -> Result<(Digest, u64), OciError> {
        let digest = Digest::finish(self.hasher);
        let size = self.inner.commit_as(digest)?;
        Ok((digest, size))
    }

    /// Puts the blob under `digest`, if that is what was written.
    pub fn commit_if(self, digest: Digest) -> Result<u64, OciError> {
        same(digest, Digest::finish(self.hasher))?;
        self.inner.commit_as(digest)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A layer being written. Dropping it removes it.
pub struct LayerWriter {
    file: BufWriter<Unfinished>,
    blobs: Blobs,
}

impl LayerWriter {
    /// Puts the layer under its digest, which its writer computed over just these bytes.
    pub fn commit(self, layer: &Layer) -> Result<(), OciError> {
        let size = self.commit_as(layer.digest)?;
        assert!(size == layer.size, "BUG: a layer of {} bytes has {size}", layer.size);
        Ok(())
    }

    fn commit_as(self, digest: Digest) -> Result<u64, OciError> {
        let target = self.blobs.path(digest);
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(|file| finish(file, &target)).map_err(at(&target, "written"))
    }
}

impl Write for LayerWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a document of the layout.
pub(super) fn replace(target: &Path, bytes: &[u8]) -> Result<(), OciError> {
    let written = unfinished(target.parent().unwrap_or(Path::new("."))).and_then(|mut file| {
        file.write_all(bytes)?;
        finish(file, target)
    });
    written.map(drop).map_err(at(target, "written"))
}

/// A file that becomes a blob or a document.
fn unfinished(directory: &Path) -> io::Result<Unfinished> {
    Unfinished::begin(directory, ".part-", 0o644)
}

/// Gives it its name, readable for others whatever the mask, as blobs in shared caches have to be.
fn finish(file: Unfinished, target: &Path) -> io::Result<u64> {
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    let size = file.as_file().metadata()?.len();
    file.finish(target)?;
    Ok(size)
}
