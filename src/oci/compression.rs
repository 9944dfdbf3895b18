//! The forms that a layer's blob may have.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use oci_spec::image::MediaType;

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

    /// Reads what the blob is made of.
    pub(super) fn reader<'a>(self, blob: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(blob)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(blob)?),
            Self::None => Box::new(blob),
        })
    }
}
