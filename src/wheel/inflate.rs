//! A member's bytes, in pieces and verified: CRC-32, exact size, and a stream that ends where the
//! directory says.
//!
//! RECORD's SHA-256 per file is compared by whoever writes the layer, and told: the SHA-256 of the whole
//! wheel was verified when it was fetched.

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::Crc;

use super::error::WheelError;
use super::zip::{Archive, Member};
use crate::event::Reporter;

/// Bytes read, or inflated, at a time: fits the second-level cache beside the window.
const PIECE: usize = 128 << 10;

/// One step of reading a member.
pub(super) enum Piece<'bytes> {
    /// Bytes as the wheel holds them; only of deflated members.
    Raw(&'bytes [u8]),
    /// Bytes of the content.
    Content(&'bytes [u8]),
}

/// Reads members one after the other, reusing its buffers.
pub(super) struct Inflater {
    input: Vec<u8>,
    output: Vec<u8>,
    engine: Decompress,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { input: vec![0; PIECE], output: vec![0; PIECE], engine: Decompress::new(false) }
    }

    /// Hands all of `member` to `take` and verifies it; what was handed out before an error must
    /// be discarded.
    pub(super) fn read(
        &mut self,
        archive: &Archive,
        member: &Member,
        reporter: &Reporter,
        mut take: impl FnMut(Piece<'_>) -> Result<(), WheelError>,
    ) -> Result<(), WheelError> {
        let wrong = |reason| WheelError::Stream {
            wheel: archive.wheel.clone(),
            member: member.name.clone(),
            reason,
        };
        self.engine.reset(false);
        let mut crc = Crc::new();
        let mut offset = archive.data(member)?;
        let mut left = member.compressed;
        let mut ended = !member.deflated;
        while left > 0 {
            let length = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
            let input = &mut self.input[..length];
            archive.read(input, offset)?;
            offset += length as u64;
            left -= length as u64;
            reporter.advance(length as u64)?;
            if !member.deflated {
                crc.update(input);
                take(Piece::Content(input))?;
                continue;
            }
            take(Piece::Raw(input))?;
            let mut rest = &*input;
            // A full output buffer may mean that more is waiting, without any more input.
            let mut more = true;
            while !rest.is_empty() || more {
                if ended {
                    if rest.is_empty() {
                        break;
                    }
                    return Err(wrong("ends before its stated size"));
                }
                let before = (self.engine.total_in(), self.engine.total_out());
                let status = self
                    .engine
                    .decompress(rest, &mut self.output, FlushDecompress::None)
                    .map_err(|_| wrong("is not a deflate stream"))?;
                let consumed = as_length(self.engine.total_in() - before.0);
                let produced = as_length(self.engine.total_out() - before.1);
                if self.engine.total_out() > member.size {
                    return Err(wrong("inflates to more than its stated size"));
                }
                rest = &rest[consumed..];
                more = produced == self.output.len();
                ended = status == Status::StreamEnd;
                let content = &self.output[..produced];
                crc.update(content);
                take(Piece::Content(content))?;
                if consumed == 0 && produced == 0 && !ended {
                    break;
                }
            }
        }
        if !ended {
            return Err(wrong("does not end at its stated size"));
        }
        if member.deflated && self.engine.total_out() != member.size {
            return Err(wrong("inflates to less than its stated size"));
        }
        if crc.sum() != member.crc32 {
            return Err(WheelError::Crc {
                wheel: archive.wheel.clone(),
                member: member.name.clone(),
                expected: member.crc32,
                found: crc.sum(),
            });
        }
        Ok(())
    }

    /// Reads a member that is small, or needed as a whole, into memory.
    pub(super) fn content(
        &mut self,
        archive: &Archive,
        member: &Member,
    ) -> Result<Vec<u8>, WheelError> {
        /// Larger than any metadata or script, and no threat to memory.
        const LIMIT: u64 = 64 << 20;
        if member.size > LIMIT {
            return Err(WheelError::Stream {
                wheel: archive.wheel.clone(),
                member: member.name.clone(),
                reason: "is of a size that no metadata or script has",
            });
        }
        let mut content = Vec::with_capacity(as_length(member.size));
        self.read(archive, member, &Reporter::silent(), |piece| {
            if let Piece::Content(bytes) = piece {
                content.extend_from_slice(bytes);
            }
            Ok(())
        })?;
        Ok(content)
    }
}

fn as_length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or_else(|_| panic!("BUG: {bytes} bytes in memory"))
}
