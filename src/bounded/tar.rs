//! Tar archives of whatever origin: what is kept of one in memory is bounded, however large it says
//! that its names are, and however well they are compressed.
//!
//! All that decides what a file is called and what is in it is understood or refused: long names of GNU's
//! and of PAX headers, times before 1970, and the four ways in which GNU tar writes a file with holes.
//! Where readers differ, Go's counts, with which Docker, containerd and Podman unpack layers.

mod header;
mod pax;
mod sparse;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};

use tar::EntryType;

use self::header::Header;
use self::pax::Pax;
use self::sparse::Extent;

pub use self::header::Time;

/// What may precede a member's content: its long names, attributes and list of holes.
const HEADERS: u64 = 4 << 20;

/// What an archive is made of: contents are filled up to it.
const BLOCK: u64 = 512;

/// No image has as many files: large ones have some hundred thousand.
const MEMBERS: u64 = 2_000_000;

/// Bytes of all names and links' targets together.
const NAMES: u64 = 512 << 20;

/// What Solaris calls a PAX header, as it did before there was a standard.
const SOLARIS: u8 = b'X';

/// A component of a path, and a path, are no longer on any file system that Linux has.
const COMPONENT: usize = 255;
const PATH: usize = 4095;

/// A member of an archive; reading it gives its content, and zeros for holes.
pub struct Member<'a, R> {
    /// Its name, as it is written.
    pub path: Vec<u8>,
    /// What it links to, as it is written; empty for what is no link.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: EntryType,
    /// Bytes that its content has, holes among them.
    pub size: u64,
    header: Header,
    mtime: Option<Time>,
    owner: (Option<u64>, Option<u64>),
    /// What of the content is in the archive, in order.
    extents: Vec<Extent>,
    /// The first extent that isn't read to its end.
    extent: usize,
    /// How far the content is read.
    at: u64,
    /// Bytes of it that the archive still holds.
    stored: u64,
    archive: &'a mut R,
}

impl<R: Read> Member<'_, R> {
    /// Its permissions and what goes with them.
    pub fn mode(&self) -> io::Result<u32> {
        self.header.number(header::MODE).map(|mode| (mode & 0o7777) as u32)
    }

    /// Who owns it.
    pub fn uid(&self) -> io::Result<u64> {
        self.owner.0.map_or_else(|| self.header.number(header::UID), Ok)
    }

    /// Which group owns it.
    pub fn gid(&self) -> io::Result<u64> {
        self.owner.1.map_or_else(|| self.header.number(header::GID), Ok)
    }

    /// When it was last changed.
    pub fn mtime(&self) -> io::Result<Time> {
        self.mtime.map_or_else(|| self.header.mtime(), Ok)
    }

    /// Writes the content into an empty file, and leaves its holes: 300 GB of them are a few bytes of the
    /// archive.
    pub fn write_to(&mut self, file: &mut File) -> io::Result<()> {
        for extent in std::mem::take(&mut self.extents) {
            file.seek(SeekFrom::Start(extent.at))?;
            let copied = io::copy(&mut self.archive.by_ref().take(extent.length), file)?;
            self.stored -= copied;
            if copied < extent.length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.at = self.size;
        file.set_len(self.size)
    }
}

impl<R: Read> Read for Member<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.extents.get(self.extent).is_some_and(|extent| self.at >= extent.end()) {
            self.extent += 1;
        }
        let extent = self.extents.get(self.extent);
        let (is_hole, end) = match extent {
            Some(extent) if self.at >= extent.at => (false, extent.end()),
            Some(extent) => (true, extent.at),
            None => (true, self.size),
        };
        let left = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..left];
        let read = if is_hole {
            buffer.fill(0);
            left
        } else {
            self.archive.read(buffer)?
        };
        if read == 0 && left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.stored -= if is_hole { 0 } else { read as u64 };
        self.at += read as u64;
        Ok(read)
    }
}

/// Gives each member of an archive to `each`, and returns what follows it. `failed` tells of an archive
/// that can't be read.
pub fn members<R: Read, E>(
    mut content: R,
    failed: impl Fn(io::Error) -> E,
    mut each: impl FnMut(&mut Member<'_, R>) -> Result<(), E>,
) -> Result<R, E> {
    let (mut count, mut names) = (0, 0);
    while let Some(mut member) = next(&mut content).map_err(&failed)? {
        count += 1;
        names += named(&member).map_err(|reason| failed(io::Error::other(reason)))?;
        if count > MEMBERS || names > NAMES {
            return Err(failed(io::Error::other("it has more members than any image")));
        }
        let stored = member.stored;
        each(&mut member)?;
        let left = member.stored + stored.next_multiple_of(BLOCK) - stored;
        skip(&mut content, left).map_err(&failed)?;
    }
    Ok(content)
}

/// The next member, with all that the headers before it say of it.
fn next<R: Read>(archive: &mut R) -> io::Result<Option<Member<'_, R>>> {
    let (mut long_name, mut long_link, mut pax) = (None, None, Pax::default());
    let (mut budget, mut is_first) = (HEADERS, true);
    loop {
        let Some(header) = Header::read(archive)? else {
            return if is_first { Ok(None) } else { Err(other("it ends in a member's headers")) };
        };
        is_first = false;
        let kind = header.kind();
        let size = header.size()?;
        let twice = || other("a member has two headers of one kind");
        match kind {
            EntryType::GNULongName | EntryType::GNULongLink => {
                let mut text = headers(archive, size, &mut budget)?;
                text.truncate(text.iter().position(|byte| *byte == 0).unwrap_or(text.len()));
                let slot = if kind.is_gnu_longname() { &mut long_name } else { &mut long_link };
                if slot.replace(text).is_some() {
                    return Err(twice());
                }
            }
            _ if kind.is_pax_local_extensions() || kind.as_byte() == SOLARIS => {
                if !pax.is_empty() {
                    return Err(twice());
                }
                pax = Pax::parse(&headers(archive, size, &mut budget)?)?;
            }
            EntryType::XGlobalHeader => {
                // Go's reader doesn't apply it, and GNU tar does: nothing in it may matter.
                Pax::parse(&headers(archive, size, &mut budget)?)?.is_harmless_to_all()?;
            }
            _ => {
                let size = pax.size.unwrap_or(size);
                if size > i64::MAX.cast_unsigned() {
                    return Err(other("a member has more bytes than any file"));
                }
                // These have none, whatever they say.
                let has_content = !(kind.is_hard_link()
                    || kind.is_symlink()
                    || kind.is_dir()
                    || kind.is_character_special()
                    || kind.is_block_special()
                    || kind.is_fifo());
                let stored = if has_content { size } else { 0 };
                let is_file = kind.is_file() || kind.is_contiguous();
                let holes = if kind.is_gnu_sparse() {
                    Some(sparse::of_gnu(&header, stored, archive, &mut budget)?)
                } else if is_file {
                    sparse::of_pax(&mut pax, stored, archive, &mut budget)?
                } else {
                    None
                };
                let holes = holes.unwrap_or_else(|| sparse::whole(stored));
                let name = long_name.or(pax.path).unwrap_or_else(|| header.name());
                return Ok(Some(Member {
                    path: holes.name.unwrap_or(name),
                    link: long_link.or(pax.link).unwrap_or_else(|| header.link()),
                    kind,
                    size: holes.size,
                    header,
                    mtime: pax.mtime,
                    owner: (pax.uid, pax.gid),
                    extents: holes.extents,
                    extent: 0,
                    at: 0,
                    stored: holes.stored,
                    archive,
                }));
            }
        }
    }
}

/// What belongs to a header; `budget` is what all of a member's may have.
fn headers(archive: &mut impl Read, size: u64, budget: &mut u64) -> io::Result<Vec<u8>> {
    let whole = size.checked_next_multiple_of(BLOCK).filter(|whole| whole <= budget);
    let whole = whole.ok_or_else(|| other("a member's header and names are larger than 4 MiB"))?;
    *budget -= whole;
    let mut text = Vec::new();
    archive.by_ref().take(whole).read_to_end(&mut text)?;
    if (text.len() as u64) < whole {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    text.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    Ok(text)
}

fn skip(archive: &mut impl Read, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut archive.by_ref().take(length), &mut io::sink())?;
    if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn other(reason: &str) -> io::Error {
    io::Error::other(reason.to_owned())
}

/// Bytes of a member's names, all of which a file system can hold.
fn named<R: Read>(member: &Member<'_, R>) -> Result<u64, String> {
    let Member { path, link, .. } = member;
    if let Some(why) = unnameable(path) {
        return Err(format!("the name `{}` {why}", shortened(&String::from_utf8_lossy(path))));
    }
    if link.len() > PATH {
        let target = String::from_utf8_lossy(link);
        return Err(format!("the link to `{}` is longer than {PATH} bytes", shortened(&target)));
    }
    Ok((path.len() + link.len()) as u64)
}

/// Why no file system holds a name.
pub fn unnameable(path: &[u8]) -> Option<&'static str> {
    if path.len() > PATH {
        return Some("is longer than 4095 bytes");
    }
    let is_long = path.split(|byte| *byte == b'/').any(|part| part.len() > COMPONENT);
    if path.contains(&0) {
        return Some("has a NUL in it");
    }
    is_long.then_some("has a component of more than 255 bytes")
}

/// The beginning of a name that may be of any length.
pub fn shortened(name: &str) -> String {
    const SHOWN: usize = 80;
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} bytes)", &name[..end], name.len()),
        None => name.to_owned(),
    }
}
