//! Layers flattened into a directory, as a plain user and without leaving it.
//!
//! Ownership, devices and extended attributes (so file capabilities too) are left out. Modes are kept,
//! but directories stay writable by the owner, and nothing is set-user or set-group: all of it belongs
//! to whoever unpacks, so that a program of root's would make anybody that user.
//! Every parent is resolved component by component inside the target, as if it were the root, so a
//! link never leads out. That assumes that nobody else changes the target meanwhile.
//! gzip's CRC-32 is checked, and each blob's size and form; blobs that may have been tampered with want [`super::Layout::verify`].

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use tar::EntryType;

use super::Compression;
use super::error::{OciError, at};
use super::layout::{Image, Layout, digest_of};
use crate::bounded::tar::{Member, Time, members};
use crate::digest::Digest;
use crate::event::Reporter;
use crate::exhausted::Exhausted;

/// As many links as Linux follows in one path.
const LINKS: usize = 40;

/// The name of a whole archive, which GNU tar writes where it is told to.
const VOLUME: u8 = b'V';

/// Unpacks all layers of `image`, the lowest first, into the directory `into`, which must be empty.
pub fn unpack_layers(
    layout: &Layout,
    image: &Image,
    into: &Path,
    reporter: &Reporter,
) -> Result<(), OciError> {
    fs::create_dir_all(into).map_err(at(into, "created"))?;
    let into = fs::canonicalize(into).map_err(at(into, "read"))?;
    let mut times = DirectoryTimes::new();
    for layer in image.manifest.layers() {
        let digest = digest_of(layer)?;
        let media_type = layer.media_type().to_string();
        let called = Compression::of(&media_type).ok_or_else(|| OciError::Document {
            what: format!("layer {digest}"),
            reason: format!("the media type {media_type} can't be unpacked"),
        })?;
        Compression::of_blob(layout, digest, called)?;
        // An archive that lost all of its bytes would be an empty one.
        if layout.blobs().len(digest)? != layer.size() {
            layout.blobs().verify(digest, reporter)?;
        }
        let file = layout.blobs().open_blob(digest)?;
        let counted = Counted { file, reporter: reporter.clone() };
        let buffered = BufReader::with_capacity(1 << 18, counted);
        let content = Compression::reader(buffered).map_err(|error| unread(digest, &error))?;
        unpack(content, digest, &into, &mut times, reporter)?;
    }
    set_times(&into, &times);
    Ok(())
}

/// When directories were changed, as the uppermost layer says.
type DirectoryTimes = BTreeMap<PathBuf, Time>;

/// Gives directories their times, once nothing is made in them any more.
fn set_times(root: &Path, times: &DirectoryTimes) {
    for (path, time) in times.iter().rev() {
        let relative = path.strip_prefix(root).unwrap_or(path);
        // What a higher layer removed or replaced is not there, or leads elsewhere inside the root.
        if resolve(root, relative, false).is_ok_and(|found| found == *path) {
            set_time(path, *time);
        }
    }
}

/// Sets when something was changed, where the file system can keep such a time; links are not followed.
fn set_time(path: &Path, time: Time) {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    let _ = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
}

fn unread(digest: Digest, error: &io::Error) -> OciError {
    let (entry, reason) = ("(archive)".to_owned(), error.to_string());
    OciError::Unpack { digest, entry, reason }
}

/// Counts what is read, and stops when asked to.
struct Counted {
    file: File,
    reporter: Reporter,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.reporter.advance(read as u64).map_err(io::Error::other)?;
        Ok(read)
    }
}

/// Applies one layer to the tree in `root`.
fn unpack(
    content: impl Read,
    digest: Digest,
    root: &Path,
    times: &mut DirectoryTimes,
    reporter: &Reporter,
) -> Result<(), OciError> {
    let wrong =
        |entry: &str, reason: String| OciError::Unpack { digest, entry: entry.to_owned(), reason };
    // A failed read may be the answer to a request to stop.
    let failed = |error: io::Error| match reporter.check() {
        Err(stop) => stop.into(),
        Ok(()) => unread(digest, &error),
    };
    let mut own: HashSet<PathBuf> = HashSet::new();
    let mut rest = members(content, failed, |entry| {
        let outcome = apply(entry, root, &mut own, times);
        outcome.map_err(|error| match reporter.check() {
            Err(stop) => stop.into(),
            Ok(()) if Exhausted::of_system(&error).is_some() => at(root, "written")(error),
            Ok(()) => wrong(&String::from_utf8_lossy(&entry.path), error.to_string()),
        })
    })?;
    // What follows the archive is read too, so that the last checksum is verified.
    io::copy(&mut rest, &mut io::sink()).map_err(failed)?;
    remove_unions(root, &own).map_err(at(root, "written"))
}

/// Removes what AUFS keeps for itself beside files (`.wh..wh.plnk`, `.wh..wh.aufs`), to which a layer's own
/// hard links may lead.
fn remove_unions(root: &Path, own: &HashSet<PathBuf>) -> io::Result<()> {
    let top = own.iter().filter(|path| path.parent() == Some(root));
    for path in top.filter(|path| path.file_name().is_some_and(is_of_union)) {
        match fs::symlink_metadata(path) {
            Ok(data) if data.is_dir() => fs::remove_dir_all(path)?,
            Ok(_) => fs::remove_file(path)?,
            Err(_) => {}
        }
    }
    Ok(())
}

fn is_of_union(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".wh..wh.") && name != ".wh..wh..opq"
}

fn apply(
    entry: &mut Member<'_, impl Read>,
    root: &Path,
    own: &mut HashSet<PathBuf>,
    times: &mut DirectoryTimes,
) -> io::Result<()> {
    let Some((parent, name)) = split(Path::new(OsStr::from_bytes(&entry.path)))? else {
        if entry.kind.is_dir() {
            times.insert(root.to_owned(), entry.mtime()?);
        }
        return Ok(());
    };
    let hidden = name.as_encoded_bytes().strip_prefix(b".wh.").filter(|_| !is_of_union(&name));
    if let Some(hidden) = hidden {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(io::Error::other("is a whiteout of nothing"));
        }
        // Where nothing is, there is nothing to hide, and nothing to make.
        let parent = match resolve(root, &parent, false) {
            Ok(parent) => parent,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        return if hidden == b".wh..opq" {
            clear(&parent, own)
        } else {
            remove_lower(&parent.join(OsStr::from_bytes(hidden)), own)
        };
    }
    let kind = entry.kind;
    match kind {
        _ if kind.as_byte() == VOLUME => return Ok(()),
        EntryType::Directory
        | EntryType::Regular
        | EntryType::Continuous
        | EntryType::GNUSparse
        | EntryType::Symlink
        | EntryType::Link
        | EntryType::Block
        | EntryType::Char
        | EntryType::Fifo => {}
        _ => {
            let kind = char::from(kind.as_byte());
            return Err(io::Error::other(format!(
                "is of the kind `{kind}`, which can't be unpacked"
            )));
        }
    }
    let target = resolve(root, &parent, true)?.join(name);
    let mode = entry.mode()? & 0o1777;
    match fs::symlink_metadata(&target) {
        Ok(old) if kind.is_dir() && old.is_dir() => (),
        Ok(old) if old.is_dir() => fs::remove_dir_all(&target)?,
        Ok(_) => fs::remove_file(&target)?,
        Err(_) => (),
    }
    let link = |link: &[u8]| match link {
        [] => Err(io::Error::other("links to nothing")),
        link => Ok(PathBuf::from(OsStr::from_bytes(link))),
    };
    match kind {
        // Devices need privileges, and the runtime has its own.
        EntryType::Block | EntryType::Char | EntryType::Fifo => return Ok(()),
        EntryType::Directory => {
            if !target.is_dir() {
                fs::create_dir(&target)?;
            }
            fs::set_permissions(&target, Permissions::from_mode(mode | 0o700))?;
            times.insert(target.clone(), entry.mtime()?);
        }
        EntryType::Symlink => {
            symlink(link(&entry.link)?, &target)?;
            set_time(&target, entry.mtime()?);
        }
        EntryType::Link => {
            let (parent, name) =
                split(&link(&entry.link)?)?.ok_or_else(|| io::Error::other("links to the root"))?;
            fs::hard_link(resolve(root, &parent, false)?.join(name), &target)?;
        }
        _ => {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target)?;
            entry.write_to(&mut file)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            set_time(&target, entry.mtime()?);
        }
    }
    own.extend(target.ancestors().take_while(|path| *path != root).map(Path::to_owned));
    Ok(())
}

/// Whether a path leads nowhere, as below a directory that is missing, or is none.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The parent's components and the last one; nothing for the root itself.
fn split(path: &Path) -> io::Result<Option<(PathBuf, OsString)>> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => return Err(io::Error::other("climbs out of its directory")),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => (),
        }
    }
    Ok(plain
        .file_name()
        .map(|name| (plain.parent().unwrap_or(Path::new("")).to_owned(), name.to_owned())))
}

/// Follows `path` inside `root` as if `root` were `/`; makes missing directories if `make`.
fn resolve(root: &Path, path: &Path, make: bool) -> io::Result<PathBuf> {
    let mut todo: Vec<OsString> = path.iter().rev().map(OsStr::to_owned).collect();
    let mut found = root.to_owned();
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == ".." {
            if found != root {
                found.pop();
            }
            continue;
        }
        if name == "." {
            continue;
        }
        if name == "/" {
            root.clone_into(&mut found);
            continue;
        }
        found.push(&name);
        match fs::symlink_metadata(&found) {
            Ok(data) if data.is_symlink() => {
                links += 1;
                if links > LINKS {
                    return Err(io::Error::other("goes through too many links"));
                }
                let link = fs::read_link(&found)?;
                found.pop();
                todo.extend(link.iter().rev().map(OsStr::to_owned));
            }
            Ok(data) if data.is_dir() => (),
            Ok(_) if make => {
                return Err(io::Error::other("lies below something that is no directory"));
            }
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && make => {
                fs::create_dir(&found)?;
                fs::set_permissions(&found, Permissions::from_mode(0o755))?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Removes what lower layers put at `target`; what this layer did stays.
fn remove_lower(target: &Path, own: &HashSet<PathBuf>) -> io::Result<()> {
    let Ok(data) = fs::symlink_metadata(target) else { return Ok(()) };
    match (data.is_dir(), own.contains(target)) {
        (true, false) => fs::remove_dir_all(target),
        (true, true) => clear(target, own),
        (false, false) => fs::remove_file(target),
        (false, true) => Ok(()),
    }
}

fn clear(directory: &Path, own: &HashSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        remove_lower(&entry?.path(), own)?;
    }
    Ok(())
}
