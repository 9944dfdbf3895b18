//! A header's fields: names, and numbers in octal or in binary.

use std::io::{self, Read};
use std::ops::Range;

use tar::EntryType;

use super::other;

/// Bytes of a header, and of any block.
const WIDTH: usize = 512;

pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
const NAME: Range<usize> = 0..100;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const KIND: usize = 156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..263;
const PREFIX: Range<usize> = 345..500;
/// Of star's own format, which has times after it.
const SHORT_PREFIX: Range<usize> = 345..476;
const STAR: Range<usize> = 508..512;

/// A time in seconds since 1970, which may be negative, and nanoseconds beyond these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// From 0 to 999 999 999.
    pub nanoseconds: u32,
}

/// One block that says what follows it.
pub(super) struct Header(pub(super) Box<[u8; WIDTH]>);

impl Header {
    /// The next header; none at the archive's end, which is a block of zeros if anything.
    pub(super) fn read(archive: &mut impl Read) -> io::Result<Option<Self>> {
        let Some(block) = block(archive)? else { return Ok(None) };
        if block.iter().all(|byte| *byte == 0) {
            return match self::block(archive)? {
                Some(block) if block.iter().any(|byte| *byte != 0) => {
                    Err(other("it goes on behind a single block of zeros"))
                }
                _ => Ok(None),
            };
        }
        let header = Self(block);
        let bytes = header.0.iter().enumerate();
        let bytes = bytes.map(|(at, byte)| if CHECKSUM.contains(&at) { b' ' } else { *byte });
        // Some old programs added up signed numbers.
        let (unsigned, signed) = bytes.fold((0, 0), |(unsigned, signed), byte| {
            (unsigned + i64::from(byte), signed + i64::from(byte.cast_signed()))
        });
        let said = header.signed(CHECKSUM)?;
        if said == unsigned || said == signed {
            Ok(Some(header))
        } else {
            Err(other("archive header checksum mismatch"))
        }
    }

    pub(super) fn kind(&self) -> EntryType {
        // In the oldest archives a directory's name ends in a slash, and nothing else tells.
        if self.0[KIND] == 0 && self.name().ends_with(b"/") {
            return EntryType::Directory;
        }
        EntryType::new(self.0[KIND])
    }

    /// Bytes of content in the archive.
    pub(super) fn size(&self) -> io::Result<u64> {
        self.number(SIZE)
    }

    pub(super) fn mtime(&self) -> io::Result<Time> {
        Ok(Time { seconds: self.signed(MTIME)?, nanoseconds: 0 })
    }

    /// Whether its fields lie as GNU tar's do.
    pub(super) fn is_gnu(&self) -> bool {
        self.0[MAGIC] == *b"ustar "
    }

    pub(super) fn name(&self) -> Vec<u8> {
        let name = self.text(NAME);
        if self.0[MAGIC] != *b"ustar\0" {
            return name.to_vec();
        }
        let is_star = self.0[STAR] == *b"tar\0";
        match self.text(if is_star { SHORT_PREFIX } else { PREFIX }) {
            [] => name.to_vec(),
            prefix => [prefix, name].join(&b'/'),
        }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        self.text(LINK).to_vec()
    }

    fn text(&self, field: Range<usize>) -> &[u8] {
        let bytes = &self.0[field];
        &bytes[..bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len())]
    }

    /// A number that can't be negative.
    pub(super) fn number(&self, field: Range<usize>) -> io::Result<u64> {
        let number = self.signed(field)?;
        u64::try_from(number).map_err(|_| other(&format!("a number in a header is {number}")))
    }

    pub(super) fn signed(&self, field: Range<usize>) -> io::Result<i64> {
        number(&self.0[field])
    }
}

/// The next block; none where the archive ends.
pub(super) fn block(archive: &mut impl Read) -> io::Result<Option<Box<[u8; WIDTH]>>> {
    let mut block = Box::new([0; WIDTH]);
    let mut filled = 0;
    while filled < block.len() {
        match archive.read(&mut block[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(block))
}

/// A number in octal, or, as its first bit says, in binary and with a sign.
pub(super) fn number(field: &[u8]) -> io::Result<i64> {
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        let first = i128::from((first << 1).cast_signed() >> 1);
        let number = rest.iter().try_fold(first, |number, byte| {
            number.checked_mul(256).map(|number| number + i128::from(*byte))
        });
        let number = number.and_then(|number| i64::try_from(number).ok());
        return number.ok_or_else(|| other("a number in a header is beyond 64 bits"));
    }
    let text = String::from_utf8_lossy(field);
    let text = text.trim_matches([' ', '\0']);
    let text = text.split('\0').next().unwrap_or_default().trim_end();
    // Programs that have nothing to say leave it empty.
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = i64::from_str_radix(text, 8).ok().filter(|_| digits);
    number.ok_or_else(|| other(&format!("`{text}` in a header is no octal number")))
}
