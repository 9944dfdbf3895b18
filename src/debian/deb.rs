//! Reads a `.deb`: an `ar` archive of a version, a control tar and a data tar.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use liblzma::stream::{CONCATENATED, Stream};

use super::{DebianError, LockedPackage};
use crate::bounded::tar::members;
use crate::event::Reporter;
use crate::fetch::sha256_of;

/// No control tar comes near this.
const CONTROL_LIMIT: u64 = 64 << 20;
/// `2.0` and a line break, which newer formats may go on after.
const FORMAT_LIMIT: u64 = 64;
/// What unpacking needs of memory: `xz -9` asks for 65 MiB.
const WINDOW_LIMIT: u64 = 256 << 20;
const AR_MAGIC: &[u8] = b"!<arch>\n";

/// What a member of the data tar is; paths are as the package spells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MemberKind {
    /// A directory.
    Directory,
    /// A file with content.
    File,
    /// A symbolic link to these bytes.
    Symlink(Vec<u8>),
    /// Another name of an earlier file of the same package.
    Hardlink(Vec<u8>),
}

/// One member of the data tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) path: Vec<u8>,
    pub(super) kind: MemberKind,
    pub(super) mode: u32,
}

/// The files of a package's control tar, by name.
pub(super) type Control = BTreeMap<String, Vec<u8>>;

/// A package file, read up to its data.
pub(super) struct Deb<'a, R = BufReader<File>> {
    path: &'a Path,
    package: &'a LockedPackage,
    archive: R,
    /// The files of the control tar.
    pub(super) control: Control,
}

/// A package after its data went into the tree.
pub(super) struct Unpacked<'a> {
    pub(super) locked: &'a LockedPackage,
    pub(super) control: Control,
    /// Its paths as dpkg lists them: absolute, `/usr` not merged, in its own order.
    pub(super) list: Vec<u8>,
}

/// Checks that a file is the locked package.
pub(super) fn verify(path: &Path, package: &LockedPackage) -> Result<(), DebianError> {
    let reading = || DebianError::io(format!("reading {}", path.display()));
    let mut file = File::open(path).map_err(reading())?;
    if sha256_of(&mut file).map_err(reading())? == package.sha256 {
        return Ok(());
    }
    Err(malformed(path, package, "its SHA-256 is not the locked one"))
}

impl<'a> Deb<'a> {
    /// Reads a package's control files.
    pub(super) fn open(path: &'a Path, package: &'a LockedPackage) -> Result<Self, DebianError> {
        let file =
            File::open(path).map_err(DebianError::io(format!("opening {}", path.display())))?;
        Self::read(path, package, BufReader::new(file))
    }
}

impl<'a, R: Read> Deb<'a, R> {
    /// Reads a package's control files from the beginning of its file, which may be all there is of it.
    pub(super) fn read(
        path: &'a Path,
        package: &'a LockedPackage,
        archive: R,
    ) -> Result<Self, DebianError> {
        let mut deb = Self { path, package, archive, control: Control::new() };
        let mut magic = [0; AR_MAGIC.len()];
        deb.archive.read_exact(&mut magic).map_err(|error| damaged(path, package, &error))?;
        if magic != AR_MAGIC {
            return Err(malformed(path, package, "it is no ar archive"));
        }
        let (name, size) = deb.next()?;
        if name != "debian-binary" {
            return Err(malformed(path, package, "it does not start with debian-binary"));
        }
        let version = deb.member(size, |member| {
            let mut version = String::new();
            member.take(FORMAT_LIMIT).read_to_string(&mut version).map(|_| version)
        })?;
        if !version.starts_with("2.") {
            return Err(malformed(path, package, format!("its format is {}", version.trim())));
        }
        let (name, size) = deb.next()?;
        let extension = name
            .strip_prefix("control")
            .ok_or_else(|| malformed(path, package, format!("{name} comes before its control")))?;
        deb.control = deb.member(size, |member| {
            control_files(inflated(member, extension)?.take(CONTROL_LIMIT))
        })?;
        Ok(deb)
    }

    /// Gives every member of the data tar, with its content, to `each`.
    pub(super) fn unpack(
        mut self,
        reporter: &Reporter,
        each: &mut dyn FnMut(Member, &mut dyn Read) -> Result<(), DebianError>,
    ) -> Result<Control, DebianError> {
        let (path, package) = (self.path, self.package);
        let (name, size) = self.next()?;
        let extension = name
            .strip_prefix("data")
            .ok_or_else(|| malformed(path, package, format!("{name} comes before its data")))?
            .to_owned();
        let mut refused = None;
        self.member(size, |member| {
            let mut tar = inflated(member, &extension)?;
            refused = data(&mut tar, package, reporter, each)?.err();
            // The end of the compressed stream carries its checksum.
            if refused.is_none() {
                io::copy(&mut tar, &mut io::sink())?;
            }
            Ok(())
        })?;
        refused.map_or(Ok(self.control), Err)
    }

    /// The next member's name and size.
    fn next(&mut self) -> Result<(String, u64), DebianError> {
        ar_header(&mut self.archive).map_err(|reason| malformed(self.path, self.package, reason))
    }

    /// Reads one whole member with its padding.
    fn member<T>(
        &mut self,
        size: u64,
        read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
    ) -> Result<T, DebianError> {
        let damaged = |error: io::Error| damaged(self.path, self.package, &error);
        let mut member = (&mut self.archive).take(size);
        let value = read(&mut member).map_err(damaged)?;
        io::copy(&mut member, &mut io::sink()).map_err(damaged)?;
        if member.limit() != 0 {
            return Err(malformed(self.path, self.package, "it is cut short"));
        }
        if size % 2 == 1 {
            // Some tools leave out the padding at the very end.
            io::copy(&mut (&mut self.archive).take(1), &mut io::sink()).map_err(damaged)?;
        }
        Ok(value)
    }
}

fn malformed(path: &Path, package: &LockedPackage, reason: impl Into<String>) -> DebianError {
    DebianError::Malformed {
        package: package.name.clone(),
        path: path.to_owned(),
        reason: reason.into(),
    }
}

fn damaged(path: &Path, package: &LockedPackage, error: &io::Error) -> DebianError {
    malformed(path, package, format!("it is cut short or damaged: {error}"))
}

/// How many bytes of a package file are needed for its control files, as far as its beginning tells.
pub(super) fn needs(beginning: &[u8]) -> u64 {
    const HEADER: u64 = 60;
    let mut at = AR_MAGIC.len() as u64;
    for member in 0..2 {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let Some(mut header) = beginning.get(start..start.saturating_add(60)) else {
            return at + HEADER;
        };
        // What isn't a package needs no more.
        let Ok((_, size)) = ar_header(&mut header) else { return beginning.len() as u64 };
        let padding = if member == 0 { size % 2 } else { 0 };
        at = at.saturating_add(HEADER + padding).saturating_add(size);
    }
    at
}

/// The next member's name and size.
fn ar_header(archive: &mut impl Read) -> Result<(String, u64), String> {
    let mut header = Vec::with_capacity(60);
    archive.take(60).read_to_end(&mut header).map_err(|error| error.to_string())?;
    if header.len() != 60 || &header[58..] != b"`\n" {
        return Err("it is cut short, or an ar header is damaged".into());
    }
    let text = |range: std::ops::Range<usize>| {
        std::str::from_utf8(&header[range]).map(str::trim_end).map_err(|error| error.to_string())
    };
    let name = text(0..16)?.trim_end_matches('/').to_owned();
    let size = text(48..58)?.parse().map_err(|_| format!("{name} has no size"))?;
    Ok((name, size))
}

fn inflated<'a>(member: &'a mut dyn Read, extension: &str) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match extension {
        ".tar.xz" => Box::new(xz(member)?),
        ".tar.gz" => Box::new(flate2::read::MultiGzDecoder::new(member)),
        ".tar" => Box::new(member),
        other => {
            let reason = format!("{other} is a compression that Debian does not use");
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
    })
}

/// Unpacks xz, within bounds of memory.
pub(super) fn xz<R: Read>(packed: R) -> io::Result<liblzma::read::XzDecoder<R>> {
    let stream = Stream::new_stream_decoder(WINDOW_LIMIT, CONCATENATED)?;
    Ok(liblzma::read::XzDecoder::new_stream(packed, stream))
}

fn control_files(tar: impl Read) -> io::Result<Control> {
    let (mut files, mut total) = (Control::new(), 0_u64);
    let mut rest = members(tar, std::convert::identity, |entry| {
        if entry.kind.is_file() {
            // Holes are made here, however few bytes say how large they are.
            total = total.saturating_add(entry.size);
            if total > CONTROL_LIMIT {
                return Err(io::Error::other("its control files are larger than any"));
            }
            let name = String::from_utf8_lossy(&entry.path).into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            files.insert(name.trim_start_matches("./").to_owned(), content);
        }
        Ok(())
    })?;
    io::copy(&mut rest, &mut io::sink())?;
    Ok(files)
}

/// The outer error is the archive's, the inner one is that of whoever takes the members.
fn data(
    tar: &mut dyn Read,
    package: &LockedPackage,
    reporter: &Reporter,
    each: &mut dyn FnMut(Member, &mut dyn Read) -> Result<(), DebianError>,
) -> io::Result<Result<(), DebianError>> {
    let taken = members(tar, Refused::Archive, |entry| {
        let path = entry.path.clone();
        let link = || entry.link.clone();
        let kind = match entry.kind {
            tar::EntryType::Directory => MemberKind::Directory,
            tar::EntryType::Regular | tar::EntryType::Continuous => MemberKind::File,
            tar::EntryType::Symlink => MemberKind::Symlink(link()),
            tar::EntryType::Link => MemberKind::Hardlink(link()),
            other => {
                return Err(Refused::Member(DebianError::UnsafePath {
                    package: package.name.clone(),
                    path: String::from_utf8_lossy(&path).into_owned(),
                    reason: format!("it is neither file, directory nor link, but {other:?}"),
                }));
            }
        };
        let mut mode = entry.mode().map_err(Refused::Archive)?;
        // All becomes root's, so a bit that lends another owner's rights must not lend root's.
        if entry.uid().map_err(Refused::Archive)? != 0 {
            mode &= !0o4000;
        }
        if entry.gid().map_err(Refused::Archive)? != 0 {
            mode &= !0o2000;
        }
        reporter.check().map_err(|cancelled| Refused::Member(cancelled.into()))?;
        each(Member { path, kind, mode }, entry).map_err(Refused::Member)
    });
    match taken {
        Ok(_) => Ok(Ok(())),
        Err(Refused::Member(error)) => Ok(Err(error)),
        Err(Refused::Archive(error)) => Err(error),
    }
}

/// What ends the reading of members.
enum Refused {
    /// The archive can't be read on.
    Archive(io::Error),
    /// A member is not taken.
    Member(DebianError),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// nao1215/filesql#513: 28 bytes whose header says a dictionary of 4 GiB had as much taken of memory.
    #[test]
    fn a_stream_may_not_ask_for_any_dictionary() {
        let sum = |bytes: &[u8]| {
            let mut crc = flate2::Crc::new();
            crc.update(bytes);
            crc.sum().to_le_bytes()
        };
        // The xz file format, 2.1.1 and 3.1: no check, one filter, LZMA2, and the size of its dictionary.
        let block = |dictionary: u8| [2, 0, 0x21, 1, dictionary, 0, 0, 0];
        let read = |dictionary: u8| {
            let block = block(dictionary);
            let stream = [
                &b"\xfd7zXZ\0"[..],
                &[0, 0],
                &sum(&[0, 0]),
                &block,
                &sum(&block),
                &[1, 0, 0, b'a', 0],
            ]
            .concat();
            let mut text = String::new();
            xz(&stream[..]).and_then(|mut it| it.read_to_string(&mut text)).unwrap_err()
        };
        // 4 GiB, and 512 MiB.
        for dictionary in [40, 34] {
            assert!(read(dictionary).to_string().contains("memory"), "{}", read(dictionary));
        }
        // 64 MiB, as `xz -9` has it: what follows is cut off.
        assert!(!read(28).to_string().contains("memory"), "{}", read(28));
    }
}
