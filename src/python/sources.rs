//! The sources of a project's own package: what belongs to them, and private copies of them.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use miette::Diagnostic;
use thiserror::Error;
use walkdir::{DirEntry, WalkDir};

use crate::bounded;
use crate::digest::hex;

/// Directories that hold no sources wherever they are: version control's, environments, and what
/// Python and its tools leave behind.
const LEFT_OUT: [&str; 14] = [
    ".git",
    ".hg",
    ".svn",
    ".bzr",
    ".venv",
    "venv",
    ".tox",
    ".nox",
    ".eggs",
    "__pycache__",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "node_modules",
];
/// Directories at the top that builds are made in.
const BUILT: [&str; 2] = ["build", "dist"];
/// Endings of what is left behind by building or running.
const ENDINGS: [&str; 4] = [".pyc", ".pyo", ".egg-info", ".swp"];

/// Why a directory's files can't be a package's sources.
#[derive(Debug, Error, Diagnostic)]
pub enum SourcesError {
    /// A link would bring something else along, or nothing.
    #[error("{} is a link to {}, outside of its package", path.display(), to.display())]
    #[diagnostic(
        code(goatbuild::build::link),
        help(
            "what is built is what lies in the package's directory: put the file there in place of the link"
        )
    )]
    Link {
        /// The link, in the project.
        path: PathBuf,
        /// What it says.
        to: PathBuf,
    },
    /// Something that has no bytes of its own.
    #[error("{} is {what}, and no source", path.display())]
    #[diagnostic(code(goatbuild::build::special), help("move it out of the package's directory"))]
    Special {
        /// What it is about, in the project.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// An edit came between.
    #[error("{} was changed while its package was built", path.display())]
    #[diagnostic(code(goatbuild::build::changed), help("apply again: the next plan sees the edit"))]
    Changed {
        /// The file, in the project.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{} can't be read: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::build::unreadable),
        help("check its permissions, and that it is a file with a name in UTF-8")
    )]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// One entry of a package's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEntry {
    /// A file: the first 128 bits of BLAKE3 over its bytes in hexadecimal, and whether it can be
    /// executed.
    File {
        /// Of its bytes.
        digest: String,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A link to another entry, as it is written.
    Link(PathBuf),
}

/// A package's sources, by their path in its directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageSources {
    root: PathBuf,
    /// With `/` between parts.
    pub entries: BTreeMap<String, SourceEntry>,
}

impl PackageSources {
    /// Reads all files of a directory that belong to a package's sources.
    pub fn of(root: &Path) -> Result<Self, SourcesError> {
        let mut entries = BTreeMap::new();
        let wanted = |entry: &DirEntry| entry.depth() == 0 || !is_left_out(entry);
        for found in WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(wanted) {
            let found = found.map_err(|error| SourcesError::Unreadable {
                path: error.path().unwrap_or(root).to_owned(),
                source: error.into(),
            })?;
            if found.file_type().is_dir() {
                continue;
            }
            let path = found.path();
            let inside = path.strip_prefix(root).unwrap_or(path);
            let name = inside.to_str().ok_or_else(|| SourcesError::Unreadable {
                path: path.to_owned(),
                source: io::Error::new(io::ErrorKind::InvalidData, "its name is not UTF-8"),
            })?;
            let entry = if found.file_type().is_symlink() {
                let unreadable = |source| SourcesError::Unreadable { path: path.into(), source };
                let to = fs::read_link(path).map_err(unreadable)?;
                if !stays_inside(inside, &to) {
                    return Err(SourcesError::Link { path: path.to_owned(), to });
                }
                SourceEntry::Link(to)
            } else if let Some(what) = bounded::special(found.file_type()) {
                return Err(SourcesError::Special { path: path.to_owned(), what });
            } else {
                read(path, io::sink())?
            };
            entries.insert(name.to_owned(), entry);
        }
        Ok(Self { root: root.to_owned(), entries })
    }

    /// Copies all of them into an empty directory, each with this time. Fails where any is another
    /// than it was.
    ///
    /// `reversed` makes the copies in another order, and so lets a directory list them in another:
    /// for who wants to see whether that makes a difference.
    pub fn copy(&self, into: &Path, seconds: u64, reversed: bool) -> Result<(), SourcesError> {
        let all = self.entries.iter();
        let order: Vec<_> = if reversed { all.rev().collect() } else { all.collect() };
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        for (name, entry) in order {
            let (from, to) = (self.root.join(name), into.join(name));
            let unwritable = |source| SourcesError::Unreadable { path: to.clone(), source };
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(unwritable)?;
            }
            let copied = match entry {
                SourceEntry::Link(target) => {
                    symlink(target, &to).map_err(unwritable)?;
                    fs::read_link(&from).ok().map(SourceEntry::Link)
                }
                SourceEntry::File { executable, .. } => {
                    let mut file = File::create(&to).map_err(unwritable)?;
                    let copied = read(&from, &mut file).ok();
                    let mode = if *executable { 0o755 } else { 0o644 };
                    file.set_permissions(Permissions::from_mode(mode)).map_err(unwritable)?;
                    file.set_modified(time).map_err(unwritable)?;
                    copied
                }
            };
            if copied.as_ref() != Some(entry) {
                return Err(SourcesError::Changed { path: from });
            }
        }
        let directories = WalkDir::new(into).contents_first(true).into_iter().flatten();
        for directory in directories.filter(|entry| entry.file_type().is_dir()) {
            // What can't be told when a directory was made is told otherwise.
            let _ = File::open(directory.path()).and_then(|opened| opened.set_modified(time));
        }
        Ok(())
    }
}

/// Whether an entry, and all below it, is none of a package's sources.
fn is_left_out(entry: &DirEntry) -> bool {
    let Some(name) = entry.file_name().to_str() else { return false };
    let is_directory = entry.file_type().is_dir();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
        || LEFT_OUT.contains(&name) && (is_directory || name == ".git")
        || entry.depth() == 1 && is_directory && BUILT.contains(&name)
}

/// Whether what a link at `path` says leads to something below the package's directory.
fn stays_inside(path: &Path, to: &Path) -> bool {
    let mut depth = path.components().count() - 1;
    for part in to.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// Reads a file, and hands its bytes on.
fn read(path: &Path, mut to: impl io::Write) -> Result<SourceEntry, SourcesError> {
    let unreadable = |source| SourcesError::Unreadable { path: path.to_owned(), source };
    let mut file = bounded::open(path).map_err(unreadable)?;
    let executable = file.metadata().map_err(unreadable)?.permissions().mode() & 0o100 != 0;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = file.read(&mut buffer).map_err(unreadable)?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        to.write_all(&buffer[..length]).map_err(unreadable)?;
    }
    let digest = hex(&hasher.finalize().as_bytes()[..16]);
    Ok(SourceEntry::File { digest, executable })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for path in [
            "pyproject.toml",
            "src/pkg/__init__.py",
            "src/pkg/build/made.py",
            "src/pkg/__pycache__/x.cpython-311.pyc",
            "src/pkg.egg-info/PKG-INFO",
            "src/pkg/stray.pyc",
            "build/lib/pkg/__init__.py",
            "dist/pkg-1.tar.gz",
            ".git/HEAD",
            ".venv/bin/python",
        ] {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "text").unwrap();
        }
        directory
    }

    #[test]
    fn what_tools_leave_behind_is_no_source() {
        let directory = package();
        let sources = PackageSources::of(directory.path()).unwrap();
        let names: Vec<&String> = sources.entries.keys().collect();
        assert_eq!(names, ["pyproject.toml", "src/pkg/__init__.py", "src/pkg/build/made.py"]);
    }

    #[test]
    fn a_copy_has_the_same_bytes_and_none_of_the_times() {
        let directory = package();
        let script = directory.path().join("run.sh");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&script, Permissions::from_mode(0o700)).unwrap();
        symlink("src/pkg/__init__.py", directory.path().join("linked.py")).unwrap();
        let sources = PackageSources::of(directory.path()).unwrap();
        for reversed in [false, true] {
            let copy = tempfile::tempdir().unwrap();
            sources.copy(copy.path(), 315_532_800, reversed).unwrap();
            let copied = PackageSources::of(copy.path()).unwrap();
            assert_eq!(copied.entries, sources.entries);
            let file = copy.path().join("run.sh").metadata().unwrap();
            assert_eq!(file.permissions().mode() & 0o777, 0o755);
            assert_eq!(file.modified().unwrap(), UNIX_EPOCH + Duration::from_secs(315_532_800));
            let inner = copy.path().join("src/pkg").metadata().unwrap();
            assert_eq!(inner.modified().unwrap(), file.modified().unwrap());
        }
        fs::write(directory.path().join("pyproject.toml"), "other").unwrap();
        let copy = tempfile::tempdir().unwrap();
        let error = sources.copy(copy.path(), 0, false).unwrap_err();
        assert!(matches!(error, SourcesError::Changed { .. }), "{error}");
    }

    #[test]
    fn links_that_lead_out_and_what_has_no_bytes_are_refused_by_name() {
        for (link, to, refused) in [
            ("a.py", "/etc/passwd", true),
            ("a.py", "../outside.py", true),
            ("src/a.py", "../pyproject.toml", false),
            ("src/a.py", "../../outside.py", true),
            ("src/a.py", "./pkg/../pkg/__init__.py", false),
        ] {
            let directory = package();
            symlink(to, directory.path().join(link)).unwrap();
            let found = PackageSources::of(directory.path());
            assert_eq!(matches!(found, Err(SourcesError::Link { .. })), refused, "{link} → {to}");
        }
        let directory = package();
        nix::unistd::mkfifo(&directory.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = PackageSources::of(directory.path()).unwrap_err();
        assert!(error.to_string().ends_with("fifo is a FIFO, and no source"), "{error}");
    }
}
