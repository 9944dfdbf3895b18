//! The file that `-o` names: what may be replaced there, asked before anything is worked out.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, Report};
use thiserror::Error;

use crate::workspace;

/// So much of a file tells what it is.
const HEAD: u64 = 512;

/// Why nothing is written there.
#[derive(Debug, Error, Diagnostic)]
enum OutError {
    /// Something else is there.
    #[error("{} is there, and is no {kind}", file.display())]
    #[diagnostic(
        code(goatbuild::usage::overwrites),
        help(
            "nothing was changed; `-o` replaces what it wrote itself: name another file, or remove this one first"
        )
    )]
    Taken { file: PathBuf, kind: &'static str },
    /// Its directory is not there.
    #[error("there is no directory {}", directory.display())]
    #[diagnostic(
        code(goatbuild::usage::no_directory),
        help("make it first, or name a file in another directory")
    )]
    NoDirectory { directory: PathBuf },
}

/// Fails unless a `kind` of file can be written there without losing anything: to a new name in a
/// directory that is there, or over an empty file or one whose beginning `is_ours`.
pub(crate) fn may_write(
    file: &Path,
    kind: &'static str,
    is_ours: impl Fn(&str) -> bool,
) -> Result<(), Report> {
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        return Err(OutError::NoDirectory { directory: directory.to_owned() }.into());
    }
    let taken = || OutError::Taken { file: file.to_owned(), kind };
    match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Ok(found) if !found.is_file() => return Err(taken().into()),
        _ => {}
    }
    let mut head = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    read.map_err(|source| workspace::unreadable(file.to_owned(), source))?;
    let head = String::from_utf8_lossy(&head);
    if head.is_empty() || is_ours(&head) { Ok(()) } else { Err(taken().into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_empty_or_ours_is_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        for (name, text) in [("empty", ""), ("ours", "{1"), ("spec.toml", "image = 1")] {
            std::fs::write(path(name), text).expect("a file");
        }
        std::fs::create_dir(path("directory")).expect("a directory");
        let told = |name: &str| {
            let written = may_write(&path(name), "saved plan", |head| head.starts_with('{'));
            let code = |error: Report| error.code().map(|code| code.to_string());
            written.err().and_then(code).unwrap_or_default()
        };
        for name in ["empty", "ours", "new"] {
            assert_eq!(told(name), "", "{name}");
        }
        for name in ["spec.toml", "directory"] {
            assert_eq!(told(name), "goatbuild::usage::overwrites", "{name}");
        }
        assert_eq!(told("none/new"), "goatbuild::usage::no_directory");
        assert!(may_write(Path::new("/dev/null"), "saved plan", |_| true).is_err());
    }
}
