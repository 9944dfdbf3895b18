//! Tar archives of whatever origin: what is kept of one in memory is bounded, however large it says
//! that its names are, and however well they are compressed.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use tar::{Archive, Entry};

/// What may precede a member's content: its header, and its long names, attributes and list of holes.
const HEADERS: u64 = 4 << 20;

/// What an archive is made of: contents are filled up to it.
const BLOCK: u64 = 512;

/// No image has as many files: large ones have some hundred thousand.
const MEMBERS: u64 = 2_000_000;

/// Bytes of all names and links' targets together.
const NAMES: u64 = 512 << 20;

/// A component of a path, and a path, are no longer on any file system that Linux has.
const COMPONENT: usize = 255;
const PATH: usize = 4095;

/// A tar archive that is being read: what is read between two members is counted.
pub struct Metered<R> {
    content: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other("a member's header and names are larger than 4 MiB"));
        }
        let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.content.read(&mut buffer[..length])?;
        if left != u64::MAX {
            self.left.set(left - read as u64);
        }
        Ok(read)
    }
}

/// Gives each member of an archive to `each`, and returns what follows it. `failed` tells of an archive
/// that can't be read.
pub fn members<R: Read, E>(
    content: R,
    failed: impl Fn(io::Error) -> E,
    mut each: impl FnMut(&mut Entry<'_, Metered<R>>) -> Result<(), E>,
) -> Result<R, E> {
    let left = Rc::new(Cell::new(u64::MAX));
    let mut archive = Archive::new(Metered { content, left: Rc::clone(&left) });
    let (mut count, mut names, mut unread) = (0, 0, 0_u64);
    let mut entries = archive.entries().map_err(&failed)?;
    loop {
        left.set(unread.saturating_add(HEADERS));
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(&failed)?;
        left.set(u64::MAX);
        count += 1;
        names += named(&entry).map_err(|reason| failed(io::Error::other(reason)))?;
        if count > MEMBERS || names > NAMES {
            return Err(failed(io::Error::other("it has more members than any image")));
        }
        each(&mut entry)?;
        // What is left of it is read with the next header. Holes of a sparse file take no bytes of the archive,
        // and there may be any number.
        unread = 0;
        if entry.header().entry_type().is_gnu_sparse() {
            unread = entry.header().entry_size().map_err(&failed)?.saturating_add(BLOCK);
        } else {
            io::copy(&mut entry, &mut io::sink()).map_err(&failed)?;
        }
    }
    left.set(u64::MAX);
    Ok(archive.into_inner().content)
}

/// Bytes of a member's names, all of which a file system can hold.
fn named<R: Read>(entry: &Entry<'_, R>) -> Result<u64, String> {
    let path = entry.path_bytes();
    let target = entry.link_name_bytes().unwrap_or_default();
    if let Some(why) = unnameable(&path) {
        return Err(format!("the name `{}` {why}", shortened(&String::from_utf8_lossy(&path))));
    }
    if target.len() > PATH {
        let target = String::from_utf8_lossy(&target);
        return Err(format!("the link to `{}` is longer than {PATH} bytes", shortened(&target)));
    }
    Ok((path.len() + target.len()) as u64)
}

/// Why no file system holds a name.
pub fn unnameable(path: &[u8]) -> Option<&'static str> {
    if path.len() > PATH {
        return Some("is longer than 4095 bytes");
    }
    let is_long = path.split(|byte| *byte == b'/').any(|part| part.len() > COMPONENT);
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

#[cfg(test)]
mod tests {
    use tar::{EntryType, Header};

    use super::*;

    /// A header that says so much of its content, which need not come.
    fn header(name: &str, kind: EntryType, size: u64) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    fn read(content: impl Read) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        members(
            content,
            |error| error.to_string(),
            |entry| {
                names.push(String::from_utf8_lossy(&entry.path_bytes()).into_owned());
                Ok(())
            },
        )
        .map(|_| names)
    }

    /// python/cpython#151497: a header of 512 bytes says that a name has a gigabyte, which need not come. Here
    /// it comes, as it does out of a few megabytes of gzip.
    #[test]
    fn names_are_as_long_as_what_arrives_and_not_longer_than_any_name() {
        for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
            let claims = header("././@LongLink", kind, 3 << 30);
            let error = read(claims.chain(io::repeat(b'a').take(3 << 30))).unwrap_err();
            assert!(error.contains("larger than 4 MiB"), "{kind:?}: {error}");
            let cut = read(header("././@LongLink", kind, 3 << 30).as_slice()).unwrap_err();
            assert!(!cut.is_empty(), "{kind:?}");
        }
        let long = |name: &str| {
            let mut archive = tar::Builder::new(Vec::new());
            let mut header = Header::new_gnu();
            header.set_size(2);
            archive.append_data(&mut header, name, &b"ab"[..]).unwrap();
            archive.into_inner().unwrap()
        };
        let good = format!("{}/{}", "d".repeat(255), "f".repeat(255));
        assert_eq!(read(&long(&good)[..]).unwrap(), [good]);
        let error = read(&long(&"f".repeat(256))[..]).unwrap_err();
        assert!(error.contains("component of more than 255 bytes"), "{error}");
        assert!(error.contains("fff… (256 bytes)") && error.len() < 300, "{error}");
        let error = read(&long(&"d/".repeat(3000))[..]).unwrap_err();
        assert!(error.contains("longer than 4095 bytes"), "{error}");
    }

    /// moby/moby#5419: `useradd` with a large UID makes a `lastlog` of hundreds of gigabytes, all hole.
    #[test]
    fn holes_are_skipped_however_large_they_say_that_they_are() {
        let mut header = Header::new_gnu();
        header.set_path("var/log/lastlog").unwrap();
        header.set_entry_type(EntryType::GNUSparse);
        header.set_size(512);
        header.set_mode(0o644);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(1 << 60);
        gnu.sparse[0].set_offset(0);
        gnu.sparse[0].set_length(512);
        gnu.sparse[1].set_offset(1 << 60);
        gnu.sparse[1].set_length(0);
        header.set_cksum();
        let next = self::header("next", EntryType::Regular, 0);
        let archive = [header.as_bytes(), &[7; 512][..], &next, &[0; 1024]].concat();
        assert_eq!(read(&archive[..]).unwrap(), ["var/log/lastlog", "next"]);
    }

    #[test]
    fn contents_are_as_large_as_they_like() {
        let large = header("large", EntryType::Regular, 16 << 20);
        let archive = large.chain(io::repeat(0).take(16 << 20)).chain(&[0; 1024][..]);
        assert_eq!(read(archive).unwrap(), ["large"]);
    }
}
