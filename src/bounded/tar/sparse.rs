//! Files with holes, in the four ways in which GNU tar writes them.
//!
//! `oldgnu` lists in the header, and in blocks behind it, what is no hole. PAX 0.0 and 0.1 do so in
//! records, PAX 1.0 at the beginning of the content; in 0.1 and 1.0 the member's own name is made up.
//! From GNU tar's manual, "Storing Sparse Files".

use std::io::{self, Read};

use super::header::{Header, block, number};
use super::pax::{self, Pax};
use super::{BLOCK, other};

/// What of a file is no hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where it begins in the file.
    pub(super) at: u64,
    /// Bytes.
    pub(super) length: u64,
}

impl Extent {
    pub(super) fn end(&self) -> u64 {
        self.at + self.length
    }
}

/// What a member's content is made of.
pub(super) struct Holes {
    pub(super) extents: Vec<Extent>,
    /// Bytes, holes among them.
    pub(super) size: u64,
    /// Bytes that follow in the archive.
    pub(super) stored: u64,
    /// The file's name, where the member's is none.
    pub(super) name: Option<Vec<u8>>,
}

/// A file without any.
pub(super) fn whole(size: u64) -> Holes {
    let extents = if size == 0 { Vec::new() } else { vec![Extent { at: 0, length: size }] };
    Holes { extents, size, stored: size, name: None }
}

/// As GNU tar's own format has it.
pub(super) fn of_gnu(
    header: &Header,
    stored: u64,
    archive: &mut impl Read,
    budget: &mut u64,
) -> io::Result<Holes> {
    if !header.is_gnu() {
        return Err(other("a file has holes in a form that can't be read"));
    }
    let size = header.number(483..495)?;
    let mut extents = Vec::new();
    let mut list = |entries: &[u8]| {
        for entry in entries.chunks_exact(24).take_while(|entry| entry[0] != 0 && entry[12] != 0) {
            extents.push((unsigned(&entry[..12])?, unsigned(&entry[12..])?));
        }
        Ok::<_, io::Error>(())
    };
    list(&header.0[386..482])?;
    let mut is_extended = header.0[482] != 0;
    while is_extended {
        *budget = budget.checked_sub(BLOCK).ok_or_else(too_many)?;
        let more = block(archive)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        list(&more[..504])?;
        is_extended = more[504] != 0;
    }
    checked(extents, size, stored, None)
}

fn unsigned(field: &[u8]) -> io::Result<u64> {
    u64::try_from(number(field)?).map_err(|_| other("a list of holes has a negative number"))
}

/// As PAX headers have it; nothing where they say nothing of holes.
pub(super) fn of_pax(
    pax: &mut Pax,
    stored: u64,
    archive: &mut impl Read,
    budget: &mut u64,
) -> io::Result<Option<Holes>> {
    let records = std::mem::take(&mut pax.sparse);
    if records.is_empty() {
        return Ok(None);
    }
    let last = |key: &str| {
        let value = records.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value);
        value.filter(|value| !value.is_empty())
    };
    let version = [last("major"), last("minor")].map(|it| it.map(Vec::as_slice));
    let size =
        last("realsize").or(last("size")).ok_or_else(|| other("a file with holes has no size"))?;
    let size = pax::number("GNU.sparse.size", size)?;
    let (extents, stored) = match version {
        [Some(b"1"), Some(b"0")] => {
            let (extents, leading) = leading(stored, archive, budget)?;
            (extents, stored - leading)
        }
        [None, None] | [Some(b"0"), Some(b"0" | b"1")] => (listed(&records)?, stored),
        _ => {
            let [major, minor] = version
                .map(|it| it.map_or_else(|| "?".into(), String::from_utf8_lossy).into_owned());
            let reason = format!("a file has holes in the version {major}.{minor} of GNU's form");
            return Err(other(&reason));
        }
    };
    checked(extents, size, stored, last("name").cloned()).map(Some)
}

/// The list in records: one of all, or two for each extent.
fn listed(records: &[(String, Vec<u8>)]) -> io::Result<Vec<(u64, u64)>> {
    let map = records.iter().rev().find(|(key, _)| key == "map").map(|(_, value)| &value[..]);
    let numbers: Vec<u64> = match map {
        Some([]) => Vec::new(),
        Some(map) => {
            let numbers = map.split(|byte| *byte == b',');
            numbers.map(|text| pax::number("GNU.sparse.map", text)).collect::<io::Result<_>>()?
        }
        None => {
            let wanted = ["offset", "numbytes"];
            let numbers = records.iter().filter(|(key, _)| wanted.contains(&&**key)).enumerate();
            let number = |(at, (key, value)): (usize, &(String, Vec<u8>))| {
                if key != wanted[at % 2] {
                    return Err(other("a list of holes is out of order"));
                }
                pax::number(key, value)
            };
            numbers.map(number).collect::<io::Result<_>>()?
        }
    };
    let said = records.iter().rev().find(|(key, _)| key == "numblocks");
    let said = said.map(|(key, value)| pax::number(key, value)).transpose()?;
    if !numbers.len().is_multiple_of(2) || said.is_some_and(|said| said != numbers.len() as u64 / 2)
    {
        return Err(other("a list of holes is cut short"));
    }
    Ok(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

/// The list at the beginning of the content, a number in each line, and the bytes that it has.
fn leading(
    stored: u64,
    archive: &mut impl Read,
    budget: &mut u64,
) -> io::Result<(Vec<(u64, u64)>, u64)> {
    let (mut numbers, mut line, mut read) = (Vec::new(), Vec::new(), 0);
    let mut wanted = 1;
    while numbers.len() < wanted {
        *budget = budget.checked_sub(BLOCK).ok_or_else(too_many)?;
        read += BLOCK;
        if read > stored {
            return Err(other("a list of holes is cut short"));
        }
        let block = block(archive)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        for byte in *block {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let number = pax::number("a list of holes", &std::mem::take(&mut line))?;
            if numbers.is_empty() {
                let count = usize::try_from(number).ok().filter(|count| *count < 1 << 22);
                wanted = 1 + 2 * count.ok_or_else(too_many)?;
            }
            numbers.push(number);
            if numbers.len() == wanted {
                break;
            }
        }
    }
    Ok((numbers[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect(), read))
}

/// Extents in order and within the file, whose bytes are those that are there.
fn checked(
    extents: Vec<(u64, u64)>,
    size: u64,
    stored: u64,
    name: Option<Vec<u8>>,
) -> io::Result<Holes> {
    let (mut end, mut sum) = (0_u64, 0_u64);
    for &(at, length) in &extents {
        // Whether the next one begins at a block or in the midst of one, readers don't agree.
        if length > 0 && !sum.is_multiple_of(BLOCK) {
            return Err(other(
                "previous block in sparse file was not aligned to 512-byte boundary",
            ));
        }
        if at < end {
            return Err(other("out of order or overlapping sparse blocks"));
        }
        end = at.checked_add(length).ok_or_else(|| other("a file has more bytes than 64 bits"))?;
        sum += length;
    }
    if end > size || sum != stored {
        return Err(other("a list of holes and a file's size don't agree"));
    }
    let extents = extents.into_iter().filter(|(_, length)| *length > 0);
    let extents = extents.map(|(at, length)| Extent { at, length }).collect();
    Ok(Holes { extents, size, stored, name })
}

fn too_many() -> io::Error {
    other("a member's list of holes is larger than 4 MiB")
}
