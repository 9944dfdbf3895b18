//! What a disk can do: how much room it has, and the same bytes under two names.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Free bytes for a user like us, where the system tells.
pub fn available(directory: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(directory).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Makes `to` the same bytes as `theirs` without copying them, where the file system can.
pub fn shared(theirs: &Path, to: &Path) -> io::Result<Option<&'static str>> {
    if cloned(theirs, to)? {
        return Ok(Some("cloned from"));
    }
    // A container may read the volume as another user: what it could not read has to be copied.
    let is_readable =
        fs::metadata(theirs).is_ok_and(|found| found.permissions().mode() & 0o444 == 0o444);
    Ok((is_readable && fs::hard_link(theirs, to).is_ok()).then_some("linked to"))
}

/// Makes a copy that shares its blocks with the original until one of them is written.
#[cfg(target_os = "linux")]
fn cloned(theirs: &Path, to: &Path) -> io::Result<bool> {
    let Ok(from) = File::open(theirs) else { return Ok(false) };
    let made = File::create(to)?;
    if rustix::fs::ioctl_ficlone(&made, &from).is_ok() {
        made.set_permissions(fs::Permissions::from_mode(0o644))?;
        made.sync_data()?;
        return Ok(true);
    }
    fs::remove_file(to)?;
    Ok(false)
}

#[cfg(not(target_os = "linux"))]
fn cloned(_: &Path, _: &Path) -> io::Result<bool> {
    Ok(false)
}
