//! A standalone Python becomes a layer.
//!
//! The archive is pinned by its digest, so the order of its entries is as fixed as their content.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use ::tar::{Archive, Entry, EntryType};
use flate2::bufread::MultiGzDecoder;

use super::error::WheelError;
use super::tar::{self, EntryKind};
use super::{INTERPRETER, Layer};
use crate::event::Reporter;
use crate::oci::GzipBlocks;

/// The one directory in the archives.
const TOP: &str = "python/";

/// Writes the layer of a Python to `out`; its files are at [`INTERPRETER`].
///
/// Modes, owners and times are as in the layers of wheels. Compiled files are left out: they carry
/// the time of their source, which is another one here.
pub fn interpreter_layer(
    archive: &Path,
    epoch: u64,
    out: &mut impl Write,
    reporter: &Reporter,
) -> Result<Layer, WheelError> {
    let unread = |source| WheelError::Read { path: archive.to_owned(), source };
    let unwritten = |source| WheelError::Write { source };
    let file = File::open(archive).map_err(unread)?;
    let inflated = MultiGzDecoder::new(BufReader::with_capacity(1 << 18, file));
    let mut layer = GzipBlocks::new(out);
    let mut open = BTreeSet::new();
    for entry in Archive::new(inflated).entries().map_err(unread)? {
        let mut entry = entry.map_err(unread)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let wrong = |reason: &str| WheelError::Interpreter {
            path: archive.to_owned(),
            entry: name.clone(),
            reason: reason.to_owned(),
        };
        let inner = name.trim_start_matches("./").trim_end_matches('/');
        if inner == TOP.trim_end_matches('/') {
            continue;
        }
        let inner = inner.strip_prefix(TOP).ok_or_else(|| wrong("is not below `python`"))?;
        if inner.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(wrong("is no plain path"));
        }
        if inner.split('/').any(|part| part == "__pycache__") {
            continue;
        }
        let link = link(&entry).map_err(|reason| wrong(&reason))?;
        let path = format!("{INTERPRETER}/{inner}");
        for directory in directories(&path) {
            if open.insert(directory.to_owned()) {
                tar::header(&mut layer, directory, EntryKind::Directory, false, epoch)
                    .map_err(unwritten)?;
            }
        }
        let size = entry.size();
        let kind = match (&link, entry.header().entry_type()) {
            (Some(target), _) => {
                let depth = inner.matches('/').count();
                if !stays_inside(target, depth) {
                    return Err(wrong("links out of its directory"));
                }
                EntryKind::Symlink(target)
            }
            (None, EntryType::Directory) => {
                if open.insert(path.clone()) {
                    tar::header(&mut layer, &path, EntryKind::Directory, false, epoch)
                        .map_err(unwritten)?;
                }
                continue;
            }
            (None, EntryType::Regular) => EntryKind::File(size),
            (None, _) => return Err(wrong("is neither file, directory nor symbolic link")),
        };
        let executable = entry.header().mode().map_err(unread)? & 0o111 != 0;
        tar::header(&mut layer, &path, kind, executable, epoch).map_err(unwritten)?;
        if let EntryKind::File(size) = kind {
            copy(&mut entry, &mut layer, reporter)
                .and_then(|()| layer.write_all(tar::padding(size)))
                .map_err(unwritten)?;
        }
        reporter.check()?;
    }
    if open.is_empty() {
        return Err(WheelError::Interpreter {
            path: archive.to_owned(),
            entry: TOP.to_owned(),
            reason: "is missing".to_owned(),
        });
    }
    tar::end(&mut layer).map_err(unwritten)?;
    layer.finish().map(|(_, layer)| layer).map_err(unwritten)
}

fn link(entry: &Entry<'_, impl Read>) -> Result<Option<String>, String> {
    if entry.header().entry_type() != EntryType::Symlink {
        return Ok(None);
    }
    let target = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
    String::from_utf8(target).map(Some).map_err(|_| "links to a name that is no text".to_owned())
}

/// Whether a relative link from `depth` directories down leads to something in the same tree.
fn stays_inside(target: &str, depth: usize) -> bool {
    let mut depth = depth;
    !target.starts_with('/')
        && target.split('/').all(|part| match part {
            "" | "." => true,
            ".." => depth.checked_sub(1).map(|above| depth = above).is_some(),
            _ => {
                depth += 1;
                true
            }
        })
}

/// The directories that a path lies in, from [`INTERPRETER`] down.
fn directories(path: &str) -> impl Iterator<Item = &str> {
    let below = path.match_indices('/').map(|(slash, _)| &path[..slash]);
    below.filter(|directory| directory.len() >= INTERPRETER.len())
}

fn copy(entry: &mut impl Read, out: &mut impl Write, reporter: &Reporter) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = entry.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..read])?;
        reporter.advance(read as u64).map_err(io::Error::other)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, EntryType, &str, u32)]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let encoder = flate2::write::GzEncoder::new(&file, flate2::Compression::fast());
        let mut builder = ::tar::Builder::new(encoder);
        for (path, kind, content, mode) in entries {
            let mut header = ::tar::Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            header.set_mtime(1_700_000_000);
            header.set_uid(1000);
            if *kind == EntryType::Symlink {
                header.set_size(0);
                builder.append_link(&mut header, path, content).unwrap();
            } else {
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, path, content.as_bytes()).unwrap();
            }
        }
        builder.into_inner().unwrap().finish().unwrap();
        file
    }

    fn entries(archive: &Path) -> Result<Vec<String>, WheelError> {
        let mut bytes = Vec::new();
        let made = interpreter_layer(archive, 7, &mut bytes, &Reporter::silent())?;
        assert_eq!(made.size, bytes.len() as u64);
        let mut layer = Archive::new(MultiGzDecoder::new(&bytes[..]));
        let words = layer.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (7, 0));
            let link = entry.link_name().unwrap().map(|link| format!(" → {}", link.display()));
            let path = entry.path().unwrap().display().to_string();
            format!("{:o} {path}{}", header.mode().unwrap(), link.unwrap_or_default())
        });
        Ok(words.collect())
    }

    #[test]
    fn what_is_installed_lies_below_one_directory_with_plain_modes() {
        let file = archive(&[
            ("python/bin/python3.12", EntryType::Regular, "ELF", 0o775),
            ("python/bin/python3", EntryType::Symlink, "python3.12", 0o777),
            ("python/lib/python3.12/os.py", EntryType::Regular, "import abc", 0o600),
            ("python/lib/python3.12/__pycache__/os.pyc", EntryType::Regular, "x", 0o644),
        ]);
        insta::assert_snapshot!(entries(file.path()).unwrap().join("\n"), @r"
        755 opt/goatbuild-python/
        755 opt/goatbuild-python/bin/
        755 opt/goatbuild-python/bin/python3.12
        777 opt/goatbuild-python/bin/python3 → python3.12
        755 opt/goatbuild-python/lib/
        755 opt/goatbuild-python/lib/python3.12/
        644 opt/goatbuild-python/lib/python3.12/os.py
        ");
    }

    #[test]
    fn entries_that_no_build_has_are_refused() {
        for bad in [
            ("elsewhere/x", EntryType::Regular, "x"),
            ("python/bin/up", EntryType::Symlink, "../../etc/passwd"),
            ("python/abs", EntryType::Symlink, "/etc/passwd"),
            ("python/dev", EntryType::Fifo, ""),
        ] {
            let file = archive(&[(bad.0, bad.1, bad.2, 0o644)]);
            let outcome = entries(file.path());
            assert!(matches!(outcome, Err(WheelError::Interpreter { .. })), "{bad:?} {outcome:?}");
        }
        assert!(entries(archive(&[]).path()).is_err());
    }
}
