//! An OCI image layout on disk: blobs, images, and unpacking them.
//!
//! A blob is whole or absent, `index.json` is old or new, whenever the process is killed. Documents
//! are canonical JSON (sorted keys, no spaces), so that the same image has the same digest.

mod archive;
mod blob;
mod compression;
mod content;
mod document;
mod error;
mod gzip;
mod image;
mod layout;
pub mod registry;
#[cfg(test)]
mod tests;
mod unpack;

pub use self::archive::{archive_size, write_archive};
pub use self::blob::{BlobWriter, Blobs, LayerWriter};
pub use self::compression::Compression;
pub use self::content::{Content, Interpreter};
pub use self::error::OciError;
pub use self::gzip::{BLOCK, GzipBlocks, Layer};
pub use self::image::{ImageSpec, LayerRef, write_image};
pub use self::layout::{Image, Layout};
pub use self::unpack::unpack_layers;
