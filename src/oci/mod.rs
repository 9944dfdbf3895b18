//! An OCI image layout on disk: blobs, images, and unpacking them.

mod gzip;

pub use self::gzip::{BLOCK, GzipBlocks, Layer};
