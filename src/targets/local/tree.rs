//! Copying a volume as it is, every byte verified: links, modes, times, holes.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::error::{MoveError, failed};
use crate::disk::shared;
use crate::event::Reporter;
use crate::step::StepError;

/// So much is read at once; a block of zeros is left out where nothing was written either.
const BLOCK: usize = 1 << 20;

/// Copies all below `from` into the new directory `to`, and has it all on disk. Weights, which nobody
/// ever changes, are shared where the file system can.
///
/// A file that vanishes before its turn is left out, and of a directory what was in it: receipts come
/// first, so none is copied without its files.
pub(super) fn copy(from: &Path, to: &Path, reporter: &Reporter) -> Result<(), StepError> {
    let mut linked: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut directories = Vec::new();
    for entry in WalkDir::new(from.join(".")).sort_by_file_name() {
        reporter.check()?;
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if is_missing(error.io_error()) => continue,
            Err(error) => return Err(failed(from)(error.into()).into()),
        };
        let path = entry.path();
        let target = to.join(path.strip_prefix(from).unwrap_or(path));
        match entry.file_type() {
            kind if kind.is_dir() => {
                fs::create_dir_all(&target).map_err(failed(&target))?;
                directories.push((path.to_owned(), target));
            }
            kind if kind.is_symlink() => match fs::read_link(path) {
                Ok(link) => symlink(link, &target).map_err(failed(&target))?,
                Err(error) if is_missing(Some(&error)) => {}
                Err(error) => return Err(failed(path)(error).into()),
            },
            kind if kind.is_file() => file(path, &target, &mut linked, reporter)?,
            // Sockets and pipes hold nothing.
            _ => {}
        }
    }
    // Last, and from below: what is made in a directory changes its time, and may be forbidden.
    for (from, to) in directories.iter().rev() {
        let made = File::open(to).map_err(failed(to))?;
        match from.metadata() {
            Ok(found) => like(&made, &found).map_err(failed(to))?,
            Err(error) if is_missing(Some(&error)) => {}
            Err(error) => return Err(failed(from)(error).into()),
        }
        made.sync_all().map_err(failed(to))?;
    }
    Ok(())
}

fn is_missing(error: Option<&io::Error>) -> bool {
    error.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Copies a file, unless it has vanished.
fn file(
    from: &Path,
    to: &Path,
    linked: &mut HashMap<(u64, u64), PathBuf>,
    reporter: &Reporter,
) -> Result<(), StepError> {
    let source = match File::open(from) {
        Ok(source) => source,
        Err(error) if is_missing(Some(&error)) => return Ok(()),
        Err(error) => return Err(failed(from)(error).into()),
    };
    let found = source.metadata().map_err(failed(from))?;
    let name = (found.dev(), found.ino());
    if let Some(made) = linked.get(&name) {
        return Ok(fs::hard_link(made, to).map_err(failed(to))?);
    }
    if found.nlink() > 1 {
        linked.insert(name, to.to_owned());
    }
    if is_blob(from) && shared(from, to).map_err(failed(to))?.is_some() {
        reporter.advance(found.len())?;
        let made = File::open(to).map_err(failed(to))?;
        let is_linked = made.metadata().is_ok_and(|made| (made.dev(), made.ino()) == name);
        if !is_linked {
            like(&made, &found).and_then(|()| made.sync_all()).map_err(failed(to))?;
        }
        return Ok(());
    }
    let target = File::options().write(true).create_new(true).open(to).map_err(failed(to))?;
    let read = hash(&source, reporter, true, |bytes, at| {
        let is_hole = bytes.len() == BLOCK && bytes.iter().all(|byte| *byte == 0);
        if is_hole { Ok(()) } else { target.write_all_at(bytes, at) }
    })?;
    let (digest, length) = read.map_err(|error| match error {
        Side::Read(error) => failed(from)(error),
        Side::Written(error) => failed(to)(error),
    })?;
    target
        .set_len(length)
        .and_then(|()| like(&target, &found))
        .and_then(|()| target.sync_all())
        .map_err(failed(to))?;
    let copy = File::open(to).map_err(failed(to))?;
    match hash(&copy, reporter, false, |_, _| Ok(()))? {
        Ok(there) if there == (digest, length) => Ok(()),
        Ok(_) => Err(MoveError::Differs { path: to.to_owned() }.into()),
        Err(Side::Read(error) | Side::Written(error)) => Err(failed(to)(error).into()),
    }
}

/// Whether a file is one of weights, by its place in Hugging Face's layout.
fn is_blob(path: &Path) -> bool {
    let is_whole = |name: &str| name.bytes().all(|byte| byte.is_ascii_hexdigit());
    path.parent().is_some_and(|parent| parent.ends_with("blobs"))
        && path.file_name().and_then(|name| name.to_str()).is_some_and(is_whole)
}

/// Which file could not be used.
enum Side {
    Read(io::Error),
    Written(io::Error),
}

/// Reads a file to its end and hands each block on, with its place; gives hash and length.
fn hash(
    file: &File,
    reporter: &Reporter,
    counts: bool,
    mut each: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> Result<Result<(blake3::Hash, u64), Side>, StepError> {
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; BLOCK];
    loop {
        reporter.check()?;
        let mut filled = 0;
        while filled < BLOCK {
            match (&*file).read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Err(Side::Read(error))),
            }
        }
        if filled == 0 {
            return Ok(Ok((hasher.finalize(), hasher.count())));
        }
        let at = hasher.count();
        hasher.update(&block[..filled]);
        if let Err(error) = each(&block[..filled], at) {
            return Ok(Err(Side::Written(error)));
        }
        if counts {
            reporter.advance(filled as u64)?;
        }
    }
}

/// Gives a file or directory the owner, mode and time of another; the owner where we may.
fn like(made: &File, found: &fs::Metadata) -> io::Result<()> {
    let is = made.metadata()?;
    if (is.uid(), is.gid()) != (found.uid(), found.gid()) {
        let _ = std::os::unix::fs::fchown(made, Some(found.uid()), Some(found.gid()));
    }
    made.set_permissions(found.permissions())?;
    made.set_modified(found.modified()?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, SystemTime};

    use super::*;

    /// Another file system than the one temporary directories are on, if there is one.
    fn elsewhere() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
    }

    #[test]
    fn a_copy_has_the_bytes_links_modes_times_and_holes() {
        let (from, to) = (tempfile::tempdir().unwrap(), elsewhere());
        let (from, to) = (from.path().join("a b"), to.path().join("new one"));
        let blob = "hub/models--a--b/blobs/0123abcdef";
        for directory in ["hub/models--a--b/blobs", "hub/models--a--b/snapshots/1", "sealed"] {
            fs::create_dir_all(from.join(directory)).unwrap();
        }
        let bytes: Vec<u8> = (0..=250).cycle().take(3 * BLOCK + 7).collect();
        fs::write(from.join(blob), &bytes).unwrap();
        symlink("../../blobs/0123abcdef", from.join("hub/models--a--b/snapshots/1/m")).unwrap();
        symlink("nowhere", from.join("dangling")).unwrap();
        fs::write(from.join("tool"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(from.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::hard_link(from.join("tool"), from.join("tool-too")).unwrap();
        let sparse = File::create(from.join("sparse")).unwrap();
        sparse.set_len(64 << 20).unwrap();
        sparse.write_all_at(b"end", (64 << 20) - 3).unwrap();
        fs::write(from.join("empty"), "").unwrap();
        fs::write(from.join("sealed/x"), "x").unwrap();
        fs::set_permissions(from.join("sealed"), fs::Permissions::from_mode(0o555)).unwrap();
        let then = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
        for name in [blob, "tool", "sealed"] {
            File::open(from.join(name)).unwrap().set_modified(then).unwrap();
        }

        copy(&from, &to, &Reporter::silent()).unwrap();
        assert_eq!(fs::read(to.join("hub/models--a--b/snapshots/1/m")).unwrap(), bytes);
        assert_eq!(fs::read_link(to.join("dangling")).unwrap(), Path::new("nowhere"));
        let of = |name: &str| to.join(name).metadata().unwrap();
        for name in [blob, "tool", "sealed"] {
            assert_eq!(of(name).modified().unwrap(), then, "{name}");
        }
        assert_eq!(of("tool").mode() & 0o777, 0o755);
        assert_eq!((of("tool").ino(), of("tool").nlink()), (of("tool-too").ino(), 2));
        assert_eq!(of("sparse").len(), 64 << 20);
        assert!(of("sparse").blocks() * 512 < 4 << 20, "{}", of("sparse").blocks());
        assert_eq!(of("empty").len(), 0);
        assert_eq!(of("sealed").mode() & 0o777, 0o555);
        assert_eq!(fs::read(to.join("sealed/x")).unwrap(), b"x");
        for directory in [&from, &to] {
            fs::set_permissions(directory.join("sealed"), fs::Permissions::from_mode(0o755))
                .unwrap();
        }
    }

    #[test]
    fn what_vanishes_on_the_way_is_left_out_and_all_else_is_copied() {
        let (from, to) = (tempfile::tempdir().unwrap(), elsewhere());
        let (from, to) = (from.path().to_owned(), to.path().join("new"));
        for directory in ["1-copied", "3-gone/below", "4-stays"] {
            fs::create_dir_all(from.join(directory)).unwrap();
        }
        for name in ["1-copied/x", "2-first", "3-gone/below/x", "4-stays/x", "5-gone", "7-last"] {
            fs::write(from.join(name), name).unwrap();
        }
        symlink("7-last", from.join("6-gone")).unwrap();
        // The walk knows their names by then, and what kind each is.
        let (below, first) = (from.clone(), to.join("2-first"));
        let remove = move |_| {
            if first.exists() && below.join("5-gone").exists() {
                fs::remove_dir_all(below.join("1-copied")).unwrap();
                fs::remove_dir_all(below.join("3-gone")).unwrap();
                fs::remove_file(below.join("5-gone")).unwrap();
                fs::remove_file(below.join("6-gone")).unwrap();
            }
        };
        let reporter = Reporter::new(std::sync::Arc::new(remove), std::sync::Arc::default());

        copy(&from, &to, &reporter).unwrap();
        assert!(!from.join("3-gone").exists(), "it was removed on the way");
        for name in ["1-copied/x", "2-first", "4-stays/x", "7-last"] {
            assert_eq!(fs::read_to_string(to.join(name)).unwrap(), name);
        }
        for name in ["3-gone/below", "5-gone", "6-gone"] {
            assert!(to.join(name).symlink_metadata().is_err(), "{name}");
        }
    }

    #[test]
    fn a_copy_that_is_interrupted_says_so() {
        let (from, to) = (tempfile::tempdir().unwrap(), elsewhere());
        fs::write(from.path().join("x"), "x").unwrap();
        let stopped = Reporter::new(
            std::sync::Arc::new(|_| {}),
            std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true)),
        );
        assert!(copy(from.path(), &to.path().join("new"), &stopped).is_err());
    }
}
