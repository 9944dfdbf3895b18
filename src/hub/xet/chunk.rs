//! One chunk of a xorb: eight bytes that say how it is packed, and the packed bytes.
//!
//! The format is "Chunk Header Format" of <https://huggingface.co/docs/xet/xorb>: a version (0), the
//! packed length, the kind of packing, the length; both lengths in three bytes, the lowest first.

use std::borrow::Cow;
use std::io::Read as _;

use lz4_flex::frame::FrameDecoder;

/// Bytes of a header.
pub(super) const HEADER: usize = 8;

/// No chunk is longer, by "Size limits" of <https://huggingface.co/docs/xet/chunking>.
const LONGEST: usize = 128 << 10;

/// How a chunk is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    /// Not at all.
    None,
    /// A frame of LZ4.
    Lz4,
    /// A frame of LZ4, of the bytes in four groups: every fourth of them, beginning with the first,
    /// the second, the third, the fourth. Of floating-point numbers, that leaves similar bytes side by
    /// side.
    GroupedLz4,
}

/// What a chunk's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes that follow.
    pub(super) packed: usize,
    packing: Packing,
    /// Bytes that they stand for.
    pub(super) length: usize,
}

impl Header {
    pub(super) fn parse(bytes: [u8; HEADER]) -> Result<Self, String> {
        if bytes[0] != 0 {
            return Err(format!("a chunk of version {}, which is unknown", bytes[0]));
        }
        let packing = match bytes[4] {
            0 => Packing::None,
            1 => Packing::Lz4,
            2 => Packing::GroupedLz4,
            other => return Err(format!("a chunk is packed in way {other}, which is unknown")),
        };
        let number = |at: usize| {
            let [low, middle, high] = [bytes[at], bytes[at + 1], bytes[at + 2]].map(usize::from);
            low | middle << 8 | high << 16
        };
        let header = Self { packed: number(1), packing, length: number(5) };
        // What packing would make longer isn't packed.
        let is_right = match packing {
            Packing::None => header.packed == header.length,
            Packing::Lz4 | Packing::GroupedLz4 => header.packed <= LONGEST,
        };
        if !is_right || header.length == 0 || header.length > LONGEST {
            let Self { packed, length, .. } = header;
            return Err(format!("a chunk of {length} bytes in {packed}, which can't be"));
        }
        Ok(header)
    }

    /// The bytes that `packed` stands for.
    pub(super) fn unpack<'a>(&self, packed: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        Ok(match self.packing {
            Packing::None => Cow::Borrowed(packed),
            Packing::Lz4 => Cow::Owned(self.inflate(packed)?),
            Packing::GroupedLz4 => Cow::Owned(regroup(&self.inflate(packed)?)),
        })
    }

    fn inflate(&self, packed: &[u8]) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::with_capacity(self.length + 1);
        // One more, so that a longer one is seen to be one.
        let mut frame = FrameDecoder::new(packed).take(self.length as u64 + 1);
        let read = frame.read_to_end(&mut bytes);
        read.map_err(|error| format!("a chunk can't be unpacked: {error}"))?;
        if bytes.len() != self.length {
            let (length, found) = (self.length, bytes.len());
            return Err(format!("a chunk of {length} bytes unpacks to {found}"));
        }
        Ok(bytes)
    }
}

/// Puts bytes that lie in four groups into their order again. The first groups have the remainder.
fn regroup(grouped: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; grouped.len()];
    let mut from = 0;
    for group in 0..4 {
        let to = from + (grouped.len() + 3 - group) / 4;
        for (byte, place) in grouped[from..to].iter().zip(bytes.iter_mut().skip(group).step_by(4)) {
            *place = *byte;
        }
        from = to;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use lz4_flex::frame::FrameEncoder;

    use super::*;

    fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::new(Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn header(packing: u8, packed: usize, length: usize) -> [u8; HEADER] {
        let (packed, length) = (packed.to_le_bytes(), length.to_le_bytes());
        [0, packed[0], packed[1], packed[2], packing, length[0], length[1], length[2]]
    }

    fn unpack(packing: u8, packed: &[u8], length: usize) -> Result<Vec<u8>, String> {
        let header = Header::parse(header(packing, packed.len(), length))?;
        header.unpack(packed).map(Cow::into_owned)
    }

    #[test]
    fn a_chunk_is_unpacked_as_its_header_says() {
        let bytes: Vec<u8> = (0..=255).cycle().step_by(3).take(100_000).collect();
        assert_eq!(unpack(0, &bytes, bytes.len()).unwrap(), bytes);
        assert_eq!(unpack(1, &lz4(&bytes), bytes.len()).unwrap(), bytes);
        // The last group is short by as much as the length is no multiple of four.
        for length in [1, 2, 3, 4, 5, 6, 7, 8, 99_999] {
            let bytes = &bytes[..length];
            let groups = (0..4).flat_map(|group| bytes.iter().skip(group).step_by(4).copied());
            let grouped: Vec<u8> = groups.collect();
            assert_eq!(unpack(2, &lz4(&grouped), length).unwrap(), bytes, "{length}");
        }
        let numbers = b"\x01\x02\x03\x04\x05\x06";
        assert_eq!(regroup(b"\x01\x05\x02\x06\x03\x04"), numbers);
    }

    #[test]
    fn a_chunk_that_is_not_what_it_says_is_refused() {
        let bytes = vec![7; 5000];
        let packed = lz4(&bytes);
        for (header, packed) in [
            (header(1, packed.len(), 4999), &packed[..]),
            (header(1, packed.len(), 5001), &packed),
            (header(1, packed.len() - 9, 5000), &packed[..packed.len() - 9]),
            (header(2, 3, 5000), b"abc"),
        ] {
            assert!(Header::parse(header).unwrap().unpack(packed).is_err(), "{header:?}");
        }
        for wrong in [
            header(3, 10, 10),
            header(0, 10, 11),
            header(0, 0, 0),
            header(1, 10, LONGEST + 1),
            header(1, LONGEST + 1, 10),
            *b"\x01\x0a\x00\x00\x00\x0a\x00\x00",
            *b"XETBLOB\x01",
        ] {
            assert!(Header::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
