//! Flattens an image into one directory, as a plain user.
//!
//! Every path is resolved inside the directory, symbolic links included, so that no layer reaches
//! out of it. Owners and special files are left out, modes are kept.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use super::error::{OciError, at};
use super::layout::Layout;
use crate::event::Reporter;

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// Unpacks the layers of the image of this digest into `root`, lowest first.
pub fn unpack(
    layout: &Layout,
    image: &str,
    root: &Path,
    reporter: &Reporter,
) -> Result<(), OciError> {
    let manifest = layout.manifest(image)?;
    reporter.expect(manifest.layers().iter().map(|layer| layer.size()).sum());
    for layer in manifest.layers() {
        let digest = layer.digest().to_string();
        let file = layout.blobs().open_blob(&digest)?;
        let counted = Counted { file: io::BufReader::with_capacity(1 << 17, file), reporter };
        let refused = |entry: &Path, reason: String| OciError::Unpack {
            digest: digest.clone(),
            entry: entry.display().to_string(),
            reason,
        };
        let damaged = |error: &io::Error| refused(Path::new(""), format!("can't be read: {error}"));
        let mut archive = Archive::new(MultiGzDecoder::new(counted));
        for entry in archive.entries().map_err(|error| damaged(&error))? {
            let mut entry = entry.map_err(|error| stopped(reporter, damaged(&error)))?;
            let path = entry.path().map_err(|error| damaged(&error))?.into_owned();
            place(&mut entry, &path, root).map_err(|failed| match failed {
                Failed::Outside => refused(&path, "leads out of the image".to_owned()),
                Failed::Io(source) => stopped(reporter, at(&root.join(&path), "written")(source)),
            })?;
        }
    }
    Ok(())
}

fn stopped(reporter: &Reporter, error: OciError) -> OciError {
    reporter.check().map_or_else(OciError::from, |()| error)
}

/// Counts what is read, and fails when the work should stop.
struct Counted<'a> {
    file: io::BufReader<File>,
    reporter: &'a Reporter,
}

impl io::Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.reporter.advance(read as u64).map_err(io::Error::other)?;
        Ok(read)
    }
}

enum Failed {
    Outside,
    Io(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn place<R: io::Read>(entry: &mut Entry<'_, R>, path: &Path, root: &Path) -> Result<(), Failed> {
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(Failed::Outside);
    }
    let Some(name) = path.file_name() else { return Ok(()) };
    let parent = resolve(root, path.parent().unwrap_or(Path::new("")), 0)?;
    if let Some(hidden) = name.to_str().and_then(|name| name.strip_prefix(".wh.")) {
        if hidden == ".wh..opq" {
            for child in fs::read_dir(&parent)? {
                remove(&child?.path())?;
            }
        } else {
            remove(&parent.join(hidden))?;
        }
        return Ok(());
    }
    fs::create_dir_all(&parent)?;
    let target = parent.join(name);
    let mode = entry.header().mode()? & 0o777;
    match entry.header().entry_type() {
        EntryType::Directory => {
            if !fs::symlink_metadata(&target).is_ok_and(|found| found.is_dir()) {
                // A directory over a link to a directory adds to what the link names.
                if fs::metadata(&target).is_ok_and(|found| found.is_dir()) {
                    return Ok(());
                }
                remove(&target)?;
                fs::create_dir(&target)?;
            }
            fs::set_permissions(&target, Permissions::from_mode(mode | 0o700))?;
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            remove(&target)?;
            let mut file = File::options().write(true).create_new(true).open(&target)?;
            io::copy(entry, &mut file)?;
            file.set_permissions(Permissions::from_mode(mode | 0o400))?;
        }
        EntryType::Symlink => {
            let link = entry.link_name()?.ok_or(Failed::Outside)?;
            remove(&target)?;
            symlink(link, &target)?;
        }
        EntryType::Link => {
            let link = entry.link_name()?.ok_or(Failed::Outside)?;
            let name = link.file_name().ok_or(Failed::Outside)?;
            let original = resolve(root, link.parent().unwrap_or(Path::new("")), 0)?.join(name);
            if original != target {
                remove(&target)?;
                fs::hard_link(original, &target)?;
            }
        }
        // Devices and pipes: the runtime brings its own.
        _ => {}
    }
    Ok(())
}

/// The directory that `path` names with `root` as `/`, following links that are there.
fn resolve(root: &Path, path: &Path, links: usize) -> Result<PathBuf, Failed> {
    let mut resolved = root.to_owned();
    for component in path.components() {
        match component {
            Component::RootDir => root.clone_into(&mut resolved),
            Component::CurDir => {}
            // As the kernel has it, `..` of the root is the root.
            Component::ParentDir => {
                if resolved != root {
                    resolved.pop();
                }
            }
            Component::Prefix(_) => return Err(Failed::Outside),
            Component::Normal(name) => {
                let next = resolved.join(name);
                match fs::read_link(&next) {
                    Ok(_) if links >= MOST_LINKS => return Err(Failed::Outside),
                    Ok(link) => {
                        let here = resolved.strip_prefix(root).unwrap_or(Path::new(""));
                        resolved = resolve(root, &here.join(link), links + 1)?;
                    }
                    Err(_) => resolved = next,
                }
            }
        }
    }
    Ok(resolved)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
