//! The directory of all flattened images, which nobody but its owner may look into.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use walkdir::WalkDir;

/// Set-user and set-group.
const SET_IDS: u32 = 0o6000;

/// All that others may do.
const OTHERS: u32 = 0o077;

/// Makes the directory, unless it is there.
pub(super) fn make(roots: &Path) -> io::Result<()> {
    if let Some(parent) = roots.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(roots) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Whether nobody else can look into it. Somebody else's directory is theirs to close.
pub(super) fn is_closed(roots: &Path) -> bool {
    roots.metadata().is_ok_and(|found| {
        found.mode() & OTHERS == 0 || found.uid() != nix::unistd::geteuid().as_raw()
    })
}

/// Closes one that an earlier version made: there, files of images kept their set-user bits, and so
/// were a way for others to become its owner.
///
/// What was left open is gone through once, and closed last, so that a kill leaves nothing undone.
pub(super) fn close(roots: &Path) -> io::Result<()> {
    if is_closed(roots) {
        return Ok(());
    }
    for found in WalkDir::new(roots).min_depth(1).follow_links(false) {
        let found = found?;
        let mode = found.metadata()?.mode();
        if mode & SET_IDS != 0 && !found.path_is_symlink() {
            let mode = mode & 0o7777 & !SET_IDS;
            std::fs::set_permissions(found.path(), Permissions::from_mode(mode))?;
        }
    }
    std::fs::set_permissions(roots, Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_that_others_could_look_into_are_closed_and_their_programs_are_nobody_elses() {
        let state = tempfile::tempdir().expect("a directory");
        let roots = state.path().join("roots");
        let bin = roots.join("sha256-00/bin");
        std::fs::create_dir_all(&bin).expect("a root");
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("changes");
        };
        let mode = |path: &Path| path.metadata().expect("exists").mode() & 0o7777;
        for (name, mode) in [("su", 0o4755), ("wall", 0o2711), ("sh", 0o755)] {
            std::fs::write(bin.join(name), "").expect("a program");
            set(&bin.join(name), mode);
        }
        set(&bin, 0o3777);
        set(&roots, 0o755);
        assert!(!is_closed(&roots));
        close(&roots).expect("closes");
        assert!(is_closed(&roots));
        let found = ["su", "wall", "sh"].map(|name| mode(&bin.join(name)));
        assert_eq!(found, [0o755, 0o711, 0o755]);
        assert_eq!([mode(&bin), mode(&roots)], [0o1777, 0o700]);
        make(&roots).expect("is there");
        make(&state.path().join("another/roots")).expect("makes");
        assert!(is_closed(&state.path().join("another/roots")));
    }
}
