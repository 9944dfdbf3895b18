//! The layer itself: tar entries in path order, spliced or encoded.

use std::collections::BTreeMap;
use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use super::collision::Owned;
use super::error::WheelError;
use super::inflate::{Inflater, Piece};
use super::install::{Plan, Source};
use super::record::Entry;
use super::tar::{self, EntryKind};
use super::{PREFIX, SPLICED, Scheme};
use crate::event::Reporter;
use crate::oci::{GzipBlocks, Layer};

/// Writes `files` of `plans`, with the directories from [`PREFIX`] down that they need.
pub(super) fn write(
    plans: &[Plan],
    files: &BTreeMap<&str, Owned>,
    scheme: &Scheme,
    inflater: &mut Inflater,
    out: &mut impl Write,
    reporter: &Reporter,
) -> Result<Layer, WheelError> {
    let unwritten = |source| WheelError::Write { source };
    reporter.expect(files.iter().map(|(path, owner)| to_read(&plans[owner.plan], path)).sum());
    let mut layer = GzipBlocks::new(out);
    let mut open = "";
    let mut wrong: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    tar::header(&mut layer, PREFIX, EntryKind::Directory, false, scheme.epoch)
        .map_err(unwritten)?;
    for (path, owner) in files {
        open_directories(&mut layer, open, path, scheme.epoch).map_err(unwritten)?;
        open = path;
        let plan = &plans[owner.plan];
        match &plan.files[*path].source {
            Source::Bytes(bytes) => {
                let kind = EntryKind::File(bytes.len() as u64);
                tar::header(&mut layer, path, kind, owner.executable, scheme.epoch)
                    .and_then(|()| layer.write_all(bytes))
                    .and_then(|()| layer.write_all(tar::padding(bytes.len() as u64)))
                    .map_err(unwritten)?;
            }
            Source::Member(index) => {
                let member = &plan.archive.members[*index];
                let kind = EntryKind::File(member.size);
                tar::header(&mut layer, path, kind, owner.executable, scheme.epoch)
                    .map_err(unwritten)?;
                let recorded = plan.recorded.get(index);
                let mut hasher = recorded.map(|_| Sha256::new());
                let spliced = member.deflated && member.size >= SPLICED;
                if spliced {
                    layer.begin_raw().map_err(unwritten)?;
                }
                inflater.read(&plan.archive, member, reporter, |piece| {
                    if let (Piece::Content(bytes), Some(hasher)) = (&piece, &mut hasher) {
                        hasher.update(bytes);
                    }
                    match piece {
                        Piece::Raw(bytes) if spliced => layer.raw(bytes),
                        Piece::Raw(_) => Ok(()),
                        Piece::Content(bytes) if spliced => {
                            layer.raw_content(bytes);
                            Ok(())
                        }
                        Piece::Content(bytes) => layer.write_all(bytes),
                    }
                    .map_err(unwritten)
                })?;
                if spliced {
                    layer.end_raw(member.crc32, member.size).map_err(unwritten)?;
                }
                layer.write_all(tar::padding(member.size)).map_err(unwritten)?;
                let found = hasher.map(|hasher| Entry::new(&hasher.finalize(), member.size));
                if found.as_ref() != recorded {
                    wrong.entry(&plan.archive.wheel).or_default().push(&member.name);
                }
            }
        }
    }
    for (wheel, members) in wrong {
        reporter.notice(misrecorded(wheel, &members));
    }
    tar::end(&mut layer).map_err(unwritten)?;
    layer.finish().map(|(_, layer)| layer).map_err(unwritten)
}

/// What is told of files that are not what their wheel's RECORD says. They are as they were published,
/// since the wheel as a whole is the one that is locked: selenium 4.1.0 was so (pypa/installer#100), and
/// pip installs such wheels without a word (pypa/pip#4705).
fn misrecorded(wheel: &str, members: &[&str]) -> String {
    let others = match members.len() - 1 {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    format!("{wheel}: its RECORD has another SHA-256 of {}{others}", members[0])
}

/// Writes the files of an empty virtual environment.
pub(super) fn venv(scheme: &Scheme, interpreter: &str, out: &mut impl Write) -> io::Result<Layer> {
    let home = interpreter.rsplit_once('/').map_or("/", |(home, _)| home);
    let python = scheme.python;
    let configuration = format!(
        "home = {home}\ninclude-system-site-packages = false\nversion = {python}\nexecutable = {interpreter}\n"
    );
    let numbered = format!("bin/python{python}");
    let library = format!("lib/python{python}");
    let site = format!("{library}/site-packages");
    let entries = [
        ("", EntryKind::Directory),
        ("/bin", EntryKind::Directory),
        ("/bin/python", EntryKind::Symlink(interpreter)),
        ("/bin/python3", EntryKind::Symlink("python")),
        (&*format!("/{numbered}"), EntryKind::Symlink("python")),
        ("/lib", EntryKind::Directory),
        (&*format!("/{library}"), EntryKind::Directory),
        (&*format!("/{site}"), EntryKind::Directory),
        ("/lib64", EntryKind::Symlink("lib")),
        ("/pyvenv.cfg", EntryKind::File(configuration.len() as u64)),
    ];
    let mut layer = GzipBlocks::new(out);
    for (path, kind) in entries {
        tar::header(&mut layer, &format!("{PREFIX}{path}"), kind, false, scheme.epoch)?;
    }
    layer.write_all(configuration.as_bytes())?;
    layer.write_all(tar::padding(configuration.len() as u64))?;
    tar::end(&mut layer)?;
    layer.finish().map(|(_, layer)| layer)
}

/// Writes the directories of `path` that the entry before, `previous`, was not in.
///
/// Since paths are in byte order, `a-b` may come between `a` and `a/b`, but a directory's content
/// is never interrupted: what a directory holds shares the prefix that ends in its slash.
fn open_directories(
    out: &mut impl Write,
    previous: &str,
    path: &str,
    epoch: u64,
) -> io::Result<()> {
    for (slash, _) in path.match_indices('/').filter(|(slash, _)| *slash > PREFIX.len()) {
        if !previous.starts_with(&path[..=slash]) {
            tar::header(out, &path[..slash], EntryKind::Directory, false, epoch)?;
        }
    }
    Ok(())
}

/// The bytes that will be read for one file.
fn to_read(plan: &Plan, path: &str) -> u64 {
    match plan.files[path].source {
        Source::Bytes(_) => 0,
        Source::Member(index) => plan.archive.members[index].compressed,
    }
}
