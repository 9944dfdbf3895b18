//! Gzip whose bytes depend on the content alone: not on write sizes, not on the processor.
//!
//! The stream is cut into blocks of [`BLOCK`] bytes, and each is a gzip member of its own, made
//! by one whole-buffer call of one pinned encoder. That encoder is libdeflate: it decides by
//! integer arithmetic alone, has no streaming state, and uses vector instructions only where they
//! cannot change a decision, so that amd64 and arm64 yield the same bytes (goldens hold this).

use std::io::{self, Write};

use libdeflater::{CompressionLvl, Compressor};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// The uncompressed size of a full block.
pub const BLOCK: usize = 256 << 10;

/// libdeflate's default. Levels up to 9 decide by integers alone; which is best for a base has not
/// been measured.
const LEVEL: i32 = 6;

/// A gzip member's header: deflate, no name, no time, no system.
const MEMBER_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// What was written: the identity of an OCI layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Of the compressed bytes.
    pub digest: Digest,
    /// Compressed bytes.
    pub size: u64,
    /// Of the uncompressed tar.
    pub diff_id: Digest,
}

/// Compresses what is written to it, block by block, and digests both sides.
///
/// Nothing is complete before [`GzipBlocks::finish`].
pub struct GzipBlocks<W> {
    out: W,
    encoder: Compressor,
    block: Vec<u8>,
    compressed: Vec<u8>,
    content: Sha256,
    written: Sha256,
    size: u64,
}

impl<W: Write> GzipBlocks<W> {
    /// Writes gzip members to `out`, in pieces of up to some 256 KiB.
    pub fn new(out: W) -> Self {
        let level = CompressionLvl::new(LEVEL)
            .unwrap_or_else(|_| panic!("BUG: libdeflate has no level {LEVEL}"));
        let mut encoder = Compressor::new(level);
        let bound = encoder.gzip_compress_bound(BLOCK);
        Self {
            out,
            encoder,
            block: Vec::with_capacity(BLOCK),
            compressed: vec![0; bound],
            content: Sha256::new(),
            written: Sha256::new(),
            size: 0,
        }
    }

    /// Begins a member whose raw deflate bytes already exist, with [`GzipBlocks::raw`] to follow.
    pub fn begin_raw(&mut self) -> io::Result<()> {
        self.flush_block()?;
        self.emit(&MEMBER_HEADER)
    }

    /// Adds raw deflate bytes to the member, as they are.
    pub fn raw(&mut self, deflated: &[u8]) -> io::Result<()> {
        self.emit(deflated)
    }

    /// Digests what the raw deflate bytes inflate to.
    pub fn raw_content(&mut self, inflated: &[u8]) {
        self.content.update(inflated);
    }

    /// Ends the member; `size` is of its inflated content.
    pub fn end_raw(&mut self, crc32: u32, size: u64) -> io::Result<()> {
        let mut trailer = [0; 8];
        trailer[..4].copy_from_slice(&crc32.to_le_bytes());
        // ISIZE is the size modulo 2^32 (RFC 1952).
        trailer[4..].copy_from_slice(&size.to_le_bytes()[..4]);
        self.emit(&trailer)
    }

    /// Writes the last block and says what the whole is.
    pub fn finish(mut self) -> io::Result<(W, Layer)> {
        self.flush_block()?;
        if self.size == 0 {
            // An empty file is not a gzip stream.
            self.flush_compressed()?;
        }
        self.out.flush()?;
        let layer = Layer {
            digest: Digest::finish(self.written),
            size: self.size,
            diff_id: Digest::finish(self.content),
        };
        Ok((self.out, layer))
    }

    fn flush_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() { Ok(()) } else { self.flush_compressed() }
    }

    fn flush_compressed(&mut self) -> io::Result<()> {
        let length = self
            .encoder
            .gzip_compress(&self.block, &mut self.compressed)
            .unwrap_or_else(|error| panic!("BUG: a block outgrew its bound: {error:?}"));
        self.content.update(&self.block);
        self.block.clear();
        self.written.update(&self.compressed[..length]);
        self.size += length as u64;
        self.out.write_all(&self.compressed[..length])
    }

    fn emit(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written.update(bytes);
        self.size += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

impl<W: Write> Write for GzipBlocks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.flush_compressed()?;
        }
        Ok(taken)
    }

    /// Does nothing: where blocks end must not depend on the writer.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    fn pack(content: &[u8], step: usize) -> (Vec<u8>, Layer) {
        let mut writer = GzipBlocks::new(Vec::new());
        for piece in content.chunks(step) {
            writer.write_all(piece).unwrap();
            writer.flush().unwrap();
        }
        writer.finish().unwrap()
    }

    /// Numbers that compress, but not to nothing.
    fn text(length: usize) -> Vec<u8> {
        (0u64..)
            .flat_map(|n| (n.wrapping_mul(2_654_435_761) % 100_003).to_string().into_bytes())
            .take(length)
            .collect()
    }

    #[test]
    fn bytes_are_the_golden_ones_whatever_the_write_size() {
        let content = text(700_000);
        for step in [1, 511, 4096, BLOCK - 1, BLOCK, BLOCK + 1, content.len()] {
            let (_, layer) = pack(&content, step);
            insta::allow_duplicates! {
                insta::assert_debug_snapshot!(layer, @r#"
                Layer {
                    digest: sha256:62a105f8133246c49e5e9358b4da819f420628816bf14d88d97975f7904b5ad1,
                    size: 303509,
                    diff_id: sha256:627e408930e0f9c9d54a715ee0eb6efd513b473d839f37eafadfd568bfdb8099,
                }
                "#);
            }
        }
    }

    #[test]
    fn nothing_written_is_still_a_gzip_stream() {
        let (bytes, layer) = pack(&[], 1);
        let mut inflated = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut inflated).unwrap();
        assert!(inflated.is_empty() && layer.size > 0);
    }

    #[test]
    fn raw_members_inflate_in_their_place() {
        let middle = text(9000);
        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&middle).unwrap();
        let deflated = encoder.finish().unwrap();
        let mut writer = GzipBlocks::new(Vec::new());
        writer.write_all(b"before").unwrap();
        writer.begin_raw().unwrap();
        writer.raw(&deflated).unwrap();
        writer.raw_content(&middle);
        writer.end_raw(libdeflater::crc32(&middle), middle.len() as u64).unwrap();
        writer.write_all(b"after").unwrap();
        let (bytes, layer) = writer.finish().unwrap();
        let mut inflated = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut inflated).unwrap();
        assert_eq!(inflated, [&b"before"[..], &middle, b"after"].concat());
        assert_eq!(layer.diff_id, Digest::of(&inflated));
        assert_eq!(layer.digest, Digest::of(&bytes));
        assert_eq!(layer.size, bytes.len() as u64);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn any_content_survives(content in prop::collection::vec(any::<u8>(), 0..100_000), step in 1usize..70_000) {
            let (bytes, _) = pack(&content, step);
            let mut inflated = Vec::new();
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut inflated).unwrap();
            prop_assert_eq!(inflated, content);
        }
    }
}
