//! Files that are there as a whole or not at all, after a kill and after a power cut.
//!
//! Whatever another run relies on gets its name here and nowhere else: first its bytes are on disk,
//! then it has its name, and then the name is on disk too.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// What the names of unfinished files begin with, but in stores with a prefix of their own.
pub const TEMPORARY: &str = ".goatbuild-part-";

/// Writes a file, and makes the directories above it. A reader sees the old bytes or the new ones.
///
/// `mode` is what its permissions are before the user's mask.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = parent(path);
    fs::create_dir_all(directory)?;
    let mut file = Unfinished::begin(directory, TEMPORARY, mode)?;
    file.write_all(bytes)?;
    file.finish(path)
}

/// A file that is written bit by bit. Dropping it removes it.
#[derive(Debug)]
pub struct Unfinished(NamedTempFile);

impl Unfinished {
    /// Begins a file in the directory that its final name is in.
    ///
    /// It is locked, since other commands remove what those that were killed left.
    pub fn begin(directory: &Path, prefix: &str, mode: u32) -> io::Result<Self> {
        loop {
            let permissions = Permissions::from_mode(mode);
            let file =
                Builder::new().prefix(prefix).permissions(permissions).tempfile_in(directory)?;
            // Where nothing can be locked, no other command works either. Who took it for a leftover before
            // that has removed it.
            if file.as_file().lock().is_err() || file.path().exists() {
                return Ok(Self(file));
            }
        }
    }

    /// The file itself, for what else has to be as its reader expects it.
    pub fn as_file(&self) -> &File {
        self.0.as_file()
    }

    /// Gives it its name, which another file may have had.
    pub fn finish(self, path: &Path) -> io::Result<()> {
        self.as_file().sync_all()?;
        self.0.persist(path).map_err(|error| error.error)?;
        sync_directory(parent(path))
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Gives a file or a directory, which is on disk already, its final name.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_directory(parent(to))?;
    if parent(from) == parent(to) { Ok(()) } else { sync_directory(parent(from)) }
}

/// Has a symbolic link lead to `target`, whatever was there. A reader sees the old one or the new one.
///
/// The link is not on disk yet when this returns: trees of them are made at once, and what is written
/// after them says that they are whole.
pub fn link(target: &str, link: &Path) -> io::Result<()> {
    let name = blake3::hash(link.as_os_str().as_encoded_bytes()).to_hex();
    // The same every time, so that whoever makes it after a kill takes away what was left.
    let temporary = parent(link).join(format!("{TEMPORARY}{}", &name[..16]));
    let _ = fs::remove_file(&temporary);
    std::os::unix::fs::symlink(target, &temporary)?;
    fs::rename(temporary, link)
}

/// The directory that a name is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("lists");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries.map(|it| name(it).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_reader_sees_the_old_file_or_the_new_one_and_never_a_part() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("made/file");
        let text = |letter: u8| vec![letter; 1 << 20];
        write(&path, &text(b'0'), 0o644).expect("written");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for letter in b'1'..=b'9' {
                    write(&path, &text(letter), 0o644).expect("written");
                }
            });
            while !writer.is_finished() {
                let found = fs::read(&path).expect("it is there all the time");
                assert!(found == text(found[0]), "a part of it");
            }
        });
        assert_eq!(fs::read(&path).expect("reads"), text(b'9'));
        assert_eq!(names(&directory.path().join("made")), ["file"]);
    }

    #[test]
    fn what_a_killed_writer_leaves_is_swept_and_what_a_living_one_writes_is_not() {
        use crate::leftovers::sweep;
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path();
        let mut file = Unfinished::begin(at, TEMPORARY, 0o600).expect("begins");
        file.write_all(b"half").expect("written");
        fs::write(at.join(".goatbuild-part-killed"), "half").expect("written");
        sweep(at, TEMPORARY);
        assert!(names(at).len() == 1 && names(at)[0].starts_with(TEMPORARY));
        file.finish(&at.join("whole")).expect("finished");
        assert_eq!(names(at), ["whole"]);
        let mode = fs::metadata(at.join("whole")).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(Unfinished::begin(at, TEMPORARY, 0o600).expect("begins"));
        assert_eq!(names(at), ["whole"]);
    }

    #[test]
    fn directories_and_links_get_their_names_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path();
        fs::create_dir_all(at.join("a/.made/sub")).expect("a directory");
        rename(&at.join("a/.made"), &at.join("whole")).expect("renamed");
        for target in ["whole/sub", "whole"] {
            link(target, &at.join("link")).expect("linked");
            assert_eq!(fs::read_link(at.join("link")).expect("a link"), Path::new(target));
        }
        assert_eq!(names(at), ["a", "link", "whole"]);
    }
}
