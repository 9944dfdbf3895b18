//! The directory of all flattened images, which nobody but its owner may look into.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use nix::unistd::geteuid;
use rustix::fs::OFlags;
use walkdir::WalkDir;

/// Set-user and set-group.
const SET_IDS: u32 = 0o6000;

/// All that others may do.
const OTHERS: u32 = 0o077;

/// The sticky bit, which means nothing to a directory that is its owner's alone: not all of it was gone
/// through yet.
const UNFINISHED: u32 = 0o1000;

/// Opens what a name stands for, whatever that is: no link is followed, and nothing is read.
#[cfg(target_os = "linux")]
const AS_IT_IS: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW);

/// The same, as far as there is such a thing.
#[cfg(not(target_os = "linux"))]
const AS_IT_IS: OFlags = OFlags::NONBLOCK.union(OFlags::NOFOLLOW);

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

/// Whether nobody else can look into it, and it was gone through if anybody could. Somebody else's directory is theirs to close.
pub(super) fn is_closed(roots: &Path) -> bool {
    roots.metadata().is_ok_and(|found| {
        found.mode() & (OTHERS | UNFINISHED) == 0 || found.uid() != geteuid().as_raw()
    })
}

/// Closes one that an earlier version made: there, files of images kept their set-user bits, and so
/// were a way for others to become its owner.
///
/// What was left open is closed first, and then gone through once; until that is done, it is marked, so
/// that a kill leaves nothing undone. What can't be opened or changed there is left as it is: nobody
/// else gets to it any more, and it keeps no server from starting.
pub(super) fn close(roots: &Path) -> io::Result<()> {
    if is_closed(roots) {
        return Ok(());
    }
    std::fs::set_permissions(roots, Permissions::from_mode(0o700 | UNFINISHED))?;
    let all = WalkDir::new(roots).min_depth(1).follow_links(false);
    for found in all.into_iter().filter_map(Result::ok) {
        let _ = take_set_ids(found.path());
    }
    std::fs::set_permissions(roots, Permissions::from_mode(0o700))
}

/// Takes these bits from a file or a directory of ours.
fn take_set_ids(path: &Path) -> io::Result<()> {
    let flags = AS_IT_IS.bits().cast_signed();
    let opened = File::options().read(true).custom_flags(flags).open(path)?;
    let found = opened.metadata()?;
    let is_ours = found.uid() == geteuid().as_raw();
    if !is_ours || found.mode() & SET_IDS == 0 || !(found.is_file() || found.is_dir()) {
        return Ok(());
    }
    // What was looked at, whatever has its name by now.
    let same = format!("/proc/self/fd/{}", opened.as_raw_fd());
    let mode = found.mode() & 0o7777 & !SET_IDS;
    std::fs::set_permissions(same, Permissions::from_mode(mode))
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
        // Neither what can't be read nor what lies elsewhere matters.
        let hidden = roots.join("sha256-00/hidden");
        std::fs::create_dir(&hidden).expect("a directory");
        set(&hidden, 0o000);
        let elsewhere = state.path().join("elsewhere");
        std::fs::write(&elsewhere, "").expect("a program");
        set(&elsewhere, 0o4755);
        std::os::unix::fs::symlink(&elsewhere, bin.join("link")).expect("a link");
        set(&bin, 0o3777);
        set(&roots, 0o755);
        assert!(!is_closed(&roots));
        close(&roots).expect("closes");
        assert!(is_closed(&roots));
        let found = ["su", "wall", "sh"].map(|name| mode(&bin.join(name)));
        assert_eq!(found, [0o755, 0o711, 0o755]);
        assert_eq!([mode(&bin), mode(&roots)], [0o1777, 0o700]);
        assert_eq!([mode(&hidden), mode(&elsewhere)], [0o000, 0o4755]);
        set(&hidden, 0o700);
        // One that was killed is done again.
        set(&bin.join("su"), 0o4755);
        set(&roots, 0o1700);
        assert!(!is_closed(&roots));
        close(&roots).expect("closes");
        assert_eq!([mode(&bin.join("su")), mode(&roots)], [0o755, 0o700]);
        make(&roots).expect("is there");
        make(&state.path().join("another/roots")).expect("makes");
        assert!(is_closed(&state.path().join("another/roots")));
    }
}
