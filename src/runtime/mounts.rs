//! Mounts, one call each, with failures that say which one was refused.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};

use super::messages::Failure;

/// Where the host's root is seen while the sandbox is made.
pub(super) const HOST: &str = "/run/.host";

pub(super) fn tmpfs(target: &str) -> Result<(), Failure> {
    let mode = if target == "/root" { "mode=0700" } else { "mode=1777" };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(mode))
        .map_err(Failure::setup(format!("mounting a tmpfs on {target}")))
}

/// Binds with everything mounted below: the kernel refuses to show what a mount hides.
pub(super) fn bind(source: &Path, target: &Path) -> Result<(), Failure> {
    mount_or(target, Some(source), MsFlags::MS_BIND | MsFlags::MS_REC)
}

/// Makes the mount at `target` read-only, and keeps the flags that the kernel insists on.
pub(super) fn read_only(target: impl AsRef<Path>) -> Result<(), Failure> {
    let target = target.as_ref();
    let kept = statvfs(target)
        .map_err(Failure::setup(format!("inspecting {}", target.display())))?
        .flags();
    let flags = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ]
    .into_iter()
    .filter(|(kept_flag, _)| kept.contains(*kept_flag))
    .fold(MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, |all, (_, flag)| all | flag);
    mount_or(target, None, flags)
}

pub(super) fn mount_or(
    target: &Path,
    source: Option<&Path>,
    flags: MsFlags,
) -> Result<(), Failure> {
    mount(source, target, None::<&str>, flags, None::<&str>).map_err(Failure::setup(match source {
        Some(source) => format!("binding {} onto {}", source.display(), target.display()),
        None => format!("changing the mount {}", target.display()),
    }))
}
