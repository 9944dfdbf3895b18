//! The forms that a layer's blob may have.

use std::fmt;
use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use oci_spec::image::MediaType;

use super::error::{OciError, at};
use super::layout::Layout;
use crate::digest::Digest;
use crate::event::Reporter;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As goatbuild's own layers, and nearly all others, are.
    Gzip,
    /// As some registries' bases are.
    Zstd,
    /// Not at all.
    None,
}

impl Compression {
    /// The form that a media type names: OCI's or Docker's.
    pub(super) fn of(media_type: &str) -> Option<Self> {
        match media_type {
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Some(Self::Gzip),
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Some(Self::Zstd),
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar" => Some(Self::None),
            _ => None,
        }
    }

    /// OCI's media type of a layer.
    pub(super) fn media_type(self) -> MediaType {
        match self {
            Self::Gzip => MediaType::ImageLayerGzip,
            Self::Zstd => MediaType::ImageLayerZstd,
            Self::None => MediaType::ImageLayer,
        }
    }

    /// The form that a blob has by its first bytes, whatever it is called: registries hold layers with the
    /// wrong media type, and Docker, containerd and Podman look at the bytes, too.
    pub(super) fn of_bytes(start: &[u8]) -> Result<Self, &'static str> {
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // A frame, or one to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err("xz"),
            [b'P', b'K', 3, 4, ..] => Err("a zip file"),
            // Whether it is a tar, its reader finds out.
            _ => Ok(Self::None),
        }
    }

    /// The form that a stored blob has, which is `called` another one perhaps.
    ///
    /// Where it is, all of its bytes are verified first: most likely something has damaged it.
    pub fn of_blob(layout: &Layout, digest: Digest, called: Self) -> Result<Self, OciError> {
        let found = Self::found(layout, digest);
        if !matches!(found, Ok(found) if found == called) {
            layout.blobs().verify(digest, &Reporter::silent())?;
        }
        found
    }

    fn found(layout: &Layout, digest: Digest) -> Result<Self, OciError> {
        let mut start = Vec::new();
        let read = layout.blobs().open_blob(digest)?.take(8).read_to_end(&mut start);
        read.map_err(at(layout.root(), "read"))?;
        Self::of_bytes(&start).map_err(|what| OciError::Unpack {
            digest,
            entry: "(archive)".to_owned(),
            reason: format!("it is {what}, and no tar"),
        })
    }

    /// Reads what the blob is made of, in the form that it really has.
    pub(super) fn reader<'a>(mut blob: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        let form = Self::of_bytes(blob.fill_buf()?);
        let form = form.map_err(|what| io::Error::other(format!("it is {what}, and no tar")))?;
        Ok(match form {
            Self::Gzip => Box::new(MultiGzDecoder::new(blob)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(blob)?),
            Self::None => Box::new(blob),
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::None => "a plain tar",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// nao1215/filesql#513: 14 bytes of a frame that say a window of 512 MiB had as much taken of memory. 128 MiB are
    /// the most that zstd's own program takes unless it is told to (`ZSTD_WINDOWLOG_LIMIT_DEFAULT`).
    #[test]
    fn a_frame_may_not_ask_for_any_window() {
        let frame = |exponent: u8| {
            let block = [0x09, 0, 0, b'a'];
            [&0xfd2f_b528_u32.to_le_bytes()[..], &[0, (exponent - 10) << 3], &block].concat()
        };
        let read = |exponent: u8| {
            let frame = frame(exponent);
            let mut text = String::new();
            let read =
                Compression::reader(&frame[..]).and_then(|mut it| it.read_to_string(&mut text));
            read.map(|_| text).map_err(|error| error.to_string())
        };
        assert_eq!(read(27), Ok("a".to_owned()));
        for exponent in [28, 29, 41] {
            assert!(read(exponent).unwrap_err().contains("too much memory"), "{exponent}");
        }
    }
}
