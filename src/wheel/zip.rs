//! A zip archive's directory, read strictly: what two readers could read differently is an error.
//!
//! Own code because splicing needs raw offsets, and because archives whose two headers disagree
//! are a known way to show one thing to a scanner and another to an installer. Format: PKWARE's
//! APPNOTE 6.3, with zip64.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::error::WheelError;
use crate::bounded::tar::{shortened, unnameable};

const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const END_64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";

const END_SIZE: usize = 22;
const LOCATOR_SIZE: usize = 20;
const CENTRAL_SIZE: usize = 46;
const LOCAL_SIZE: usize = 30;

const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const HAS_DESCRIPTOR: u16 = 1 << 3;
const IS_UTF8: u16 = 1 << 11;

/// Larger directories than this are refused: one entry takes at least 46 bytes, and the largest
/// wheels known have some twenty thousand.
const DIRECTORY_LIMIT: u64 = 32 << 20;

/// One file in the archive.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// The path as stated; checked to be relative, normal and UTF-8.
    pub(super) name: String,
    /// Whether it is compressed by deflate; otherwise it is stored.
    pub(super) deflated: bool,
    /// Of the content.
    pub(super) crc32: u32,
    /// Bytes in the archive.
    pub(super) compressed: u64,
    /// Bytes of the content.
    pub(super) size: u64,
    /// Whether any of its Unix execution bits is set.
    pub(super) executable: bool,
    flags: u16,
    /// Where its local header lies.
    header: u64,
}

/// An open archive with its directory.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    path: PathBuf,
    /// The wheel's file name, for messages.
    pub(super) wheel: String,
    /// All files, as the directory orders them; directories are left out.
    pub(super) members: Vec<Member>,
}

impl Archive {
    /// Opens the wheel at `path`, whose real file name is `wheel`.
    pub(super) fn open(path: &Path, wheel: &str) -> Result<Self, WheelError> {
        let unreadable = |source| WheelError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut archive =
            Self { file, path: path.to_owned(), wheel: wheel.to_owned(), members: Vec::new() };
        let directory = archive.directory(length)?;
        let bytes = archive.take(directory.offset, directory.size)?;
        archive.members = archive.entries(&bytes, &directory)?;
        Ok(archive)
    }

    /// Fills `buffer` from `offset` on.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), WheelError> {
        self.file.read_exact_at(buffer, offset).map_err(|source| {
            if source.kind() == io::ErrorKind::UnexpectedEof {
                self.broken("it is truncated")
            } else {
                WheelError::Read { path: self.path.clone(), source }
            }
        })
    }

    /// Where the data of `member` begins, after its local header was compared.
    pub(super) fn data(&self, member: &Member) -> Result<u64, WheelError> {
        let mut fixed = [0; LOCAL_SIZE];
        self.read(&mut fixed, member.header)?;
        let disagree = |field| WheelError::HeaderMismatch {
            wheel: self.wheel.clone(),
            member: member.name.clone(),
            field,
        };
        if fixed[..4] != LOCAL {
            return Err(disagree("place"));
        }
        let flags = u16_at(&fixed, 6);
        if flags & (ENCRYPTED | HAS_DESCRIPTOR) != member.flags & (ENCRYPTED | HAS_DESCRIPTOR) {
            return Err(disagree("flags"));
        }
        if u16_at(&fixed, 8) != if member.deflated { 8 } else { 0 } {
            return Err(disagree("compression method"));
        }
        let name_length = usize::from(u16_at(&fixed, 26));
        let extra_length = usize::from(u16_at(&fixed, 28));
        let mut rest = vec![0; name_length + extra_length];
        self.read(&mut rest, member.header + LOCAL_SIZE as u64)?;
        let (name, extra) = rest.split_at(name_length);
        if name != member.name.as_bytes() {
            return Err(disagree("name"));
        }
        let mut sizes = [u64::from(u32_at(&fixed, 22)), u64::from(u32_at(&fixed, 18))];
        let crc32 = u32_at(&fixed, 14);
        let described = flags & HAS_DESCRIPTOR != 0;
        let unstated = described && crc32 == 0;
        widen(&mut sizes, extra).ok_or_else(|| disagree("zip64 sizes"))?;
        let [size, compressed] = sizes;
        // With a data descriptor the local header may leave all three open, as zero.
        if crc32 != member.crc32 && !unstated {
            return Err(disagree("CRC-32"));
        }
        let open = |stated: u64| described && (stated == 0 || stated == u64::from(u32::MAX));
        if size != member.size && !open(size) {
            return Err(disagree("size"));
        }
        if compressed != member.compressed && !open(compressed) {
            return Err(disagree("compressed size"));
        }
        Ok(member.header + (LOCAL_SIZE + name_length + extra_length) as u64)
    }

    fn take(&self, offset: u64, size: u64) -> Result<Vec<u8>, WheelError> {
        let size = usize::try_from(size).map_err(|_| self.broken("it is truncated"))?;
        let mut bytes = vec![0; size];
        self.read(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn broken(&self, reason: &'static str) -> WheelError {
        WheelError::Archive { wheel: self.wheel.clone(), reason }
    }

    /// Finds the central directory; it must fill the space up to the end records exactly.
    fn directory(&self, length: u64) -> Result<Directory, WheelError> {
        let tail = length.min((END_SIZE + usize::from(u16::MAX)) as u64);
        let bytes = self.take(length - tail, tail)?;
        let at = (0..bytes.len().saturating_sub(END_SIZE - 1))
            .rev()
            .find(|&at| {
                bytes[at..].starts_with(&END)
                    && at + END_SIZE + usize::from(u16_at(&bytes, at + 20)) == bytes.len()
            })
            .ok_or_else(|| self.broken("it has no end record (truncated?)"))?;
        let end = &bytes[at..];
        let position = length - tail + at as u64;
        let mut directory = Directory {
            entries: u64::from(u16_at(end, 10)),
            size: u64::from(u32_at(end, 12)),
            offset: u64::from(u32_at(end, 16)),
        };
        let mut boundary = position;
        let mut disks = [u32::from(u16_at(end, 4)), u32::from(u16_at(end, 6))];
        if at >= LOCATOR_SIZE && bytes[at - LOCATOR_SIZE..].starts_with(&END_64_LOCATOR) {
            boundary = u64_at(&bytes, at - LOCATOR_SIZE + 8);
            let wide = self.take(boundary, 56)?;
            if wide[..4] != END_64
                || boundary.checked_add(12).and_then(|sum| sum.checked_add(u64_at(&wide, 4)))
                    != Some(position - LOCATOR_SIZE as u64)
            {
                return Err(self.broken("its zip64 end record is not where it should be"));
            }
            let large = Directory {
                entries: u64_at(&wide, 32),
                size: u64_at(&wide, 40),
                offset: u64_at(&wide, 48),
            };
            let agrees = |narrow: u64, wide: u64, open: u64| narrow == open || narrow == wide;
            if !agrees(directory.entries, large.entries, u64::from(u16::MAX))
                || !agrees(directory.size, large.size, u64::from(u32::MAX))
                || !agrees(directory.offset, large.offset, u64::from(u32::MAX))
            {
                return Err(self.broken("its two end records disagree"));
            }
            directory = large;
            disks = [u32_at(&wide, 16), u32_at(&wide, 20)];
        }
        if disks != [0, 0] && disks != [u32::from(u16::MAX); 2] {
            return Err(self.broken("it is split over several disks"));
        }
        if directory.offset.checked_add(directory.size) != Some(boundary) {
            return Err(self.broken("its directory does not end where the end record begins"));
        }
        if directory.size > DIRECTORY_LIMIT {
            return Err(self.broken("its directory is larger than 32 MiB"));
        }
        Ok(directory)
    }

    fn entries(&self, bytes: &[u8], directory: &Directory) -> Result<Vec<Member>, WheelError> {
        let mut members = Vec::new();
        let mut names = HashSet::new();
        let mut rest = bytes;
        let mut count = 0;
        let mut spans = Vec::new();
        while !rest.is_empty() {
            let cut = || self.broken("its directory is cut off");
            let fixed = rest.get(..CENTRAL_SIZE).ok_or_else(cut)?;
            if fixed[..4] != CENTRAL {
                return Err(self.broken("its directory holds something else than entries"));
            }
            let [name, extra, comment] =
                [28, 30, 32].map(|offset| usize::from(u16_at(fixed, offset)));
            let variable =
                rest.get(CENTRAL_SIZE..CENTRAL_SIZE + name + extra + comment).ok_or_else(cut)?;
            let (name, extra) = (&variable[..name], &variable[name..name + extra]);
            rest = &rest[CENTRAL_SIZE + variable.len()..];
            count += 1;
            let member = self.entry(fixed, name, extra)?;
            let span = member.compressed + (LOCAL_SIZE + name.len()) as u64;
            spans.push((member.header, member.header.saturating_add(span)));
            if !names.insert(member.name.clone()) {
                return Err(WheelError::Duplicate {
                    wheel: self.wheel.clone(),
                    member: member.name,
                });
            }
            if !member.name.ends_with('/') {
                members.push(member);
            }
        }
        if count != directory.entries {
            return Err(self.broken("its directory has another number of entries than stated"));
        }
        spans.sort_unstable();
        let apart = spans.windows(2).all(|pair| pair[0].1 <= pair[1].0);
        if !apart || spans.last().is_some_and(|last| last.1 > directory.offset) {
            return Err(self.broken("its members overlap"));
        }
        Ok(members)
    }

    fn entry(&self, fixed: &[u8], name: &[u8], extra: &[u8]) -> Result<Member, WheelError> {
        let lossy = String::from_utf8_lossy(name).into_owned();
        let bad_path = |reason| WheelError::Path {
            wheel: self.wheel.clone(),
            member: shortened(&lossy),
            reason,
        };
        let flags = u16_at(fixed, 8);
        let name = std::str::from_utf8(name).map_err(|_| bad_path("is not UTF-8"))?;
        if flags & IS_UTF8 == 0 && !name.is_ascii() {
            return Err(bad_path("is neither ASCII nor marked as UTF-8"));
        }
        check_path(name).map_err(bad_path)?;
        let named = || (self.wheel.clone(), name.to_owned());
        if flags & ENCRYPTED != 0 {
            let (wheel, member) = named();
            return Err(WheelError::Encrypted { wheel, member });
        }
        let method = u16_at(fixed, 10);
        if method != 0 && method != 8 {
            let (wheel, member) = named();
            return Err(WheelError::Method { wheel, member, method });
        }
        let mode = u32_at(fixed, 38) >> 16;
        let kind = match mode & 0o170_000 {
            0 | 0o100_000 => None,
            0o040_000 if name.ends_with('/') => None,
            0o040_000 => Some("a directory by its mode, but not by its name"),
            0o120_000 => Some("a symbolic link"),
            _ => Some("a special file"),
        };
        if let Some(kind) = kind {
            let (wheel, member) = named();
            return Err(WheelError::SpecialFile { wheel, member, kind });
        }
        let mut wide = [
            u64::from(u32_at(fixed, 24)),
            u64::from(u32_at(fixed, 20)),
            u64::from(u32_at(fixed, 42)),
        ];
        if records(extra).any(|(id, _)| id == 0x7075) {
            return Err(bad_path("is given twice (as a Unicode path, too)"));
        }
        widen(&mut wide, extra).ok_or_else(|| self.broken("an entry lacks its zip64 sizes"))?;
        let [size, compressed, header] = wide;
        let deflated = method == 8;
        if (!deflated && size != compressed) || (name.ends_with('/') && size != 0) {
            return Err(WheelError::Stream {
                wheel: self.wheel.clone(),
                member: name.to_owned(),
                reason: "has two sizes without being compressed, or belongs to a directory",
            });
        }
        Ok(Member {
            name: name.to_owned(),
            deflated,
            crc32: u32_at(fixed, 16),
            compressed,
            size,
            executable: mode & 0o111 != 0,
            flags,
            header,
        })
    }
}

struct Directory {
    entries: u64,
    size: u64,
    offset: u64,
}

/// Says what is wrong with a path that is not plainly relative.
fn check_path(path: &str) -> Result<(), &'static str> {
    if let Some(why) = unnameable(path.as_bytes()) {
        return Err(why);
    }
    if path.contains('\0') {
        return Err("contains NUL");
    }
    if path.contains('\\') {
        return Err("contains a backslash");
    }
    if path.contains(['\n', '\r']) {
        return Err("contains a line break");
    }
    if path.starts_with('/') {
        return Err("is absolute");
    }
    let mut letters = path.bytes();
    if letters.next().is_some_and(|byte| byte.is_ascii_alphabetic()) && letters.next() == Some(b':')
    {
        return Err("names a drive");
    }
    let parts = path.strip_suffix('/').unwrap_or(path);
    match parts.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        Some("..") => Err("climbs out of its directory"),
        Some(_) => Err("has an empty or `.` component"),
        None => Ok(()),
    }
}

/// Replaces the all-ones values by those of the zip64 extra field, which come in this order.
fn widen(values: &mut [u64], extra: &[u8]) -> Option<()> {
    let mut wide = records(extra).find(|(id, _)| *id == 1).map(|(_, data)| data);
    for value in values.iter_mut().filter(|value| **value == u64::from(u32::MAX)) {
        // Exactly 4 GiB - 1 without the field is a plain value.
        let Some(data) = wide else { continue };
        *value = u64::from_le_bytes(data.get(..8)?.try_into().ok()?);
        wide = Some(&data[8..]);
    }
    Some(())
}

/// The id and data of each record of an extra field, as far as they are whole.
fn records(mut extra: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let id = u16_at(extra.get(..4)?, 0);
        let end = 4 + usize::from(u16_at(extra, 2));
        let data = extra.get(4..end)?;
        extra = &extra[end..];
        Some((id, data))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}
