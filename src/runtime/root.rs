//! The mount points that a root needs.

use std::io;
use std::path::{Path, PathBuf};

use super::RuntimeError;

/// Directories that are mounted over, or mounted into, in every sandbox.
const DIRECTORIES: [&str; 7] = ["dev", "etc", "proc", "root", "run", "sys", "tmp"];

/// Files that the host's are bound onto.
pub(super) const FILES: [&str; 2] = ["etc/resolv.conf", "etc/hosts"];

/// Creates the mount points that a sandbox needs in the flattened `root`.
///
/// To be called before the root is made read-only; a root that has them all isn't written to. A
/// symbolic link in place of one of the files is replaced: it would point into what is mounted
/// over it.
pub fn prepare_root(root: &Path) -> Result<(), RuntimeError> {
    let failed =
        |path: PathBuf| |source| RuntimeError::Path { path, purpose: "a mount point", source };
    for directory in DIRECTORIES {
        let path = root.join(directory);
        make_directory(&path).map_err(failed(path))?;
    }
    for file in FILES {
        let path = root.join(file);
        make_file(&path).map_err(failed(path))?;
    }
    Ok(())
}

/// Makes one real directory; the parent must exist. Never follows a link out of the root.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if path.symlink_metadata().is_ok_and(|found| found.is_dir()) => {
            drop(error);
            Ok(())
        }
        other => other,
    }
}

/// Makes one empty regular file, unless there is a regular file already.
fn make_file(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_file() => return Ok(()),
        Ok(found) if found.is_symlink() => std::fs::remove_file(path)?,
        _ => {}
    }
    std::fs::OpenOptions::new().write(true).create_new(true).open(path).map(drop).or_else(|error| {
        // Two sandboxes of one root may start at the same time.
        if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dangling_link_becomes_a_file_and_a_second_call_changes_nothing() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("etc")).expect("etc");
        std::os::unix::fs::symlink("/run/resolve/stub", root.path().join("etc/resolv.conf"))
            .expect("a link");
        prepare_root(root.path()).expect("prepares");
        let made = root.path().join("etc/resolv.conf").symlink_metadata().expect("exists");
        assert!(made.is_file());
        prepare_root(root.path()).expect("prepares again");
    }

    #[test]
    fn a_directory_that_is_a_link_is_refused() {
        let root = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink("/etc", root.path().join("etc")).expect("a link");
        let error = prepare_root(root.path()).expect_err("would leave the root");
        assert!(error.to_string().contains("etc"), "{error}");
    }
}
