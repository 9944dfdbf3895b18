//! Single files out of a wheel, without fetching all of it.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::index::Index;
use crate::fetch::{Bytes, FetchError, Fetcher, Part, without_credentials};
use crate::lock::pylock::LockedWheel;

/// The directories of the largest wheels known fit into this.
const TAIL: u64 = 1 << 20;
/// Between two members that are wanted: fetching so much more costs less than asking again.
const GAP: u64 = 64 << 10;
/// What a member's local header may have besides name and fixed part.
const HEADER: u64 = 1 << 10;
/// Larger members are no source code.
const LARGEST: u64 = 4 << 20;

/// The parts of a remote file that were fetched.
#[derive(Debug, Clone, Default)]
struct Parts {
    length: u64,
    at: u64,
    /// By their start.
    known: BTreeMap<u64, Vec<u8>>,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.length || buffer.is_empty() {
            return Ok(0);
        }
        // Parts may overlap: a later one need not reach as far.
        let found = self.known.range(..=self.at).rev().find_map(|(start, bytes)| {
            bytes.get(usize::try_from(self.at - start).ok()?..).filter(|rest| !rest.is_empty())
        });
        let found = found.ok_or_else(|| io::Error::other("this part was not fetched"))?;
        let length = found.len().min(buffer.len());
        buffer[..length].copy_from_slice(&found[..length]);
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Parts {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// A wheel that is read bit by bit: on disk when it has been fetched, otherwise over the network.
///
/// A part can't be compared with the lock's SHA-256; members are checked against the CRC-32 of the
/// directory, which came from the same server.
#[derive(Debug)]
pub struct WheelReader<'a> {
    from: From<'a>,
    /// Where each member begins, and how many bytes it takes there at most.
    members: BTreeMap<String, (u64, u64)>,
}

#[derive(Debug)]
enum From<'a> {
    Disk(PathBuf),
    Network { fetcher: &'a Fetcher, url: String, parts: Parts },
}

impl<'a> WheelReader<'a> {
    /// Reads the wheel's directory; `None` when the server gives whole files only.
    pub async fn open(
        fetcher: &'a Fetcher,
        wheel: &LockedWheel,
        on_disk: &Path,
    ) -> Result<Option<Self>, FetchError> {
        // What is damaged there is as good as not there.
        if let Ok(file) = std::fs::File::open(on_disk)
            && let Ok(archive) = ZipArchive::new(file)
        {
            let names = archive.file_names().flatten().map(|name| (name.into_owned(), (0, 0)));
            let members = names.collect();
            return Ok(Some(Self { from: From::Disk(on_disk.to_owned()), members }));
        }
        let index = Index::configured(|name| std::env::var(name).ok());
        let url = match &index {
            Some(index) => index.with_credentials(&wheel.url),
            None => wheel.url.clone(),
        };
        let Some(tail) = fetcher.part(&url, Part::Last(TAIL)).await? else { return Ok(None) };
        let Some(members) = directory(&tail) else { return Ok(None) };
        let parts = Parts { length: tail.length, at: 0, known: [(tail.start, tail.bytes)].into() };
        Ok(Some(Self { from: From::Network { fetcher, url, parts }, members }))
    }

    /// Whether the wheel has this file.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The file that says what the wheel's scripts start.
    pub fn entry_points(&self) -> Option<String> {
        let mut names = self.members.keys();
        let is_it = |name: &&String| {
            let parts = name.split_once('/');
            parts.is_some_and(|(directory, file)| {
                directory.ends_with(".dist-info") && file == "entry_points.txt"
            })
        };
        names.find(is_it).cloned()
    }

    /// The texts of some files; what is no text is left out.
    pub async fn texts(
        &mut self,
        names: &[String],
    ) -> Result<BTreeMap<String, String>, FetchError> {
        let (fetcher, url, parts) = match &mut self.from {
            From::Disk(path) => {
                let unreadable = |source| FetchError::Read { path: path.clone(), source };
                return take(std::fs::File::open(&path).map_err(unreadable)?, names)
                    .map_err(unreadable);
            }
            From::Network { fetcher, url, parts } => (fetcher, url, parts),
        };
        let wanted = names.iter().filter_map(|name| {
            let (start, length) = *self.members.get(name)?;
            (length <= LARGEST).then_some((start, start + length))
        });
        for (start, end) in joined(wanted.collect()) {
            let part = Part::Between(start, end.min(parts.length));
            if let Some(found) = fetcher.part(url, part).await? {
                parts.known.insert(found.start, found.bytes);
            }
        }
        take(parts.clone(), names).map_err(|error| FetchError::Network {
            url: without_credentials(url),
            reason: error.to_string(),
            attempts: 1,
        })
    }
}

/// The members of an archive of which this is the end; `None` when their list isn't all there.
///
/// The crate reads a member's own header as soon as it is asked where the member is, which is what
/// has to be known first here. Format: PKWARE's APPNOTE 6.3, without zip64.
fn directory(tail: &Bytes) -> Option<BTreeMap<String, (u64, u64)>> {
    let number = |at: usize, length: usize| {
        let bytes = tail.bytes.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let end = tail.bytes.windows(4).rposition(|four| four == b"PK\x05\x06")?;
    let first = number(end + 16, 4)?.checked_sub(tail.start)?;
    let mut at = usize::try_from(first).ok()?;
    let mut members = BTreeMap::new();
    while tail.bytes.get(at..at + 4)? == b"PK\x01\x02" {
        let size = |offset| number(at + offset, 2).and_then(|size| usize::try_from(size).ok());
        let (name, extra, comment) = (size(28)?, size(30)?, size(32)?);
        let text = tail.bytes.get(at + 46..at + 46 + name)?;
        let taken = number(at + 20, 4)? + name as u64 + HEADER;
        members.insert(String::from_utf8_lossy(text).into_owned(), (number(at + 42, 4)?, taken));
        at += 46 + name + extra + comment;
    }
    Some(members)
}

/// Ranges in order, those that (nearly) touch as one.
fn joined(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, end) in ranges {
        match joined.last_mut() {
            Some(last) if start <= last.1 + GAP => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

fn take(archive: impl Read + Seek, names: &[String]) -> io::Result<BTreeMap<String, String>> {
    let mut archive = ZipArchive::new(archive)?;
    let mut texts = BTreeMap::new();
    for name in names {
        let member = match archive.by_name(name) {
            Ok(member) if member.size() <= LARGEST => member,
            Ok(_) | Err(zip::result::ZipError::FileNotFound) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        // Its size is what the archive says; how far it inflates is another thing.
        member.take(LARGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 <= LARGEST
            && let Ok(text) = String::from_utf8(bytes)
        {
            texts.insert(name.clone(), text);
        }
    }
    Ok(texts)
}
