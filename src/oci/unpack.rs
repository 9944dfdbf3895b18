//! Layers flattened into a directory, as a plain user and without leaving it.
//!
//! Ownership, devices and extended attributes (so file capabilities too) are left out. Modes are kept,
//! but directories stay writable by the owner, and nothing is set-user or set-group: all of it belongs
//! to whoever unpacks, so that a program of root's would make anybody that user.
//! Every parent is resolved component by component inside the target, as if it were the root, so a
//! link never leads out. That assumes that nobody else changes the target meanwhile.
//! gzip's CRC-32 is checked; blobs that may have been tampered with want [`super::Layout::verify`].

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use tar::{Entry, EntryType};

use super::Compression;
use super::error::{OciError, at};
use super::layout::{Image, Layout, digest_of};
use crate::bounded::tar::members;
use crate::digest::Digest;
use crate::event::Reporter;
use crate::exhausted::Exhausted;

/// As many links as Linux follows in one path.
const LINKS: usize = 40;

/// Unpacks all layers of `image`, the lowest first, into the directory `into`, which must be empty.
pub fn unpack_layers(
    layout: &Layout,
    image: &Image,
    into: &Path,
    reporter: &Reporter,
) -> Result<(), OciError> {
    fs::create_dir_all(into).map_err(at(into, "created"))?;
    let into = fs::canonicalize(into).map_err(at(into, "read"))?;
    for layer in image.manifest.layers() {
        let digest = digest_of(layer)?;
        let file = layout.blobs().open_blob(digest)?;
        let counted = Counted { file, reporter: reporter.clone() };
        let buffered = BufReader::with_capacity(1 << 18, counted);
        let media_type = layer.media_type().to_string();
        let compression = Compression::of(&media_type).ok_or_else(|| OciError::Document {
            what: format!("layer {digest}"),
            reason: format!("the media type {media_type} can't be unpacked"),
        })?;
        let content = compression.reader(buffered).map_err(at(&into, "written"))?;
        unpack(content, digest, &into, reporter)?;
    }
    Ok(())
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
pub(super) fn unpack(
    content: impl Read,
    digest: Digest,
    root: &Path,
    reporter: &Reporter,
) -> Result<(), OciError> {
    let wrong =
        |entry: &str, reason: String| OciError::Unpack { digest, entry: entry.to_owned(), reason };
    // A failed read may be the answer to a request to stop.
    let failed = |error: io::Error| match reporter.check() {
        Err(stop) => stop.into(),
        Ok(()) => wrong("(archive)", error.to_string()),
    };
    let mut own: HashSet<PathBuf> = HashSet::new();
    let mut rest = members(content, failed, |entry| {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = entry.path().map_err(failed)?.into_owned();
        let outcome = apply(entry, &path, root, &mut own);
        outcome.map_err(|error| match reporter.check() {
            Err(stop) => stop.into(),
            Ok(()) if Exhausted::of_system(&error).is_some() => at(root, "written")(error),
            Ok(()) => wrong(&name, error.to_string()),
        })
    })?;
    // What follows the archive is read too, so that the last checksum is verified.
    io::copy(&mut rest, &mut io::sink()).map_err(failed)?;
    Ok(())
}

fn apply(
    entry: &mut Entry<'_, impl Read>,
    path: &Path,
    root: &Path,
    own: &mut HashSet<PathBuf>,
) -> io::Result<()> {
    let Some((parent, name)) = split(path)? else { return Ok(()) };
    let parent = resolve(root, &parent, true)?;
    if let Some(hidden) = name.to_str().and_then(|name| name.strip_prefix(".wh.")) {
        return if hidden == ".wh..opq" {
            clear(&parent, own)
        } else if matches!(hidden, "" | "." | "..") || hidden.contains('/') {
            Err(io::Error::other("is a whiteout of nothing"))
        } else {
            remove_lower(&parent.join(hidden), own)
        };
    }
    let target = parent.join(name);
    let kind = entry.header().entry_type();
    let mode = entry.header().mode()? & 0o1777;
    match fs::symlink_metadata(&target) {
        Ok(old) if kind.is_dir() && old.is_dir() => (),
        Ok(old) if old.is_dir() => fs::remove_dir_all(&target)?,
        Ok(_) => fs::remove_file(&target)?,
        Err(_) => (),
    }
    match kind {
        EntryType::Directory => {
            if !target.is_dir() {
                fs::create_dir(&target)?;
            }
            fs::set_permissions(&target, Permissions::from_mode(mode | 0o700))?;
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let file = if kind.is_gnu_sparse() {
                // With its holes: 300 GB of them are a few bytes of the archive.
                entry.unpack(&target)?;
                File::open(&target)?
            } else {
                let mut file =
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target)?;
                io::copy(entry, &mut file)?;
                file
            };
            file.set_permissions(Permissions::from_mode(mode))?;
            file.set_modified(UNIX_EPOCH + Duration::from_secs(entry.header().mtime()?))?;
        }
        EntryType::Symlink => {
            let link = entry.link_name()?.ok_or_else(|| io::Error::other("links to nothing"))?;
            symlink(link, &target)?;
        }
        EntryType::Link => {
            let link = entry.link_name()?.ok_or_else(|| io::Error::other("links to nothing"))?;
            let (parent, name) =
                split(&link)?.ok_or_else(|| io::Error::other("links to the root"))?;
            fs::hard_link(resolve(root, &parent, false)?.join(name), &target)?;
        }
        // Devices need privileges, and the runtime has its own.
        _ => return Ok(()),
    }
    own.extend(target.ancestors().take_while(|path| *path != root).map(Path::to_owned));
    Ok(())
}

/// The parent's components and the last one; nothing for the root itself.
fn split(path: &Path) -> io::Result<Option<(PathBuf, std::ffi::OsString)>> {
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
    let mut todo: Vec<std::ffi::OsString> =
        path.iter().rev().map(std::ffi::OsStr::to_owned).collect();
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
                todo.extend(link.iter().rev().map(std::ffi::OsStr::to_owned));
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
