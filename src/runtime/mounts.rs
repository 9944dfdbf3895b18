//! Mounts, one call each, with failures that say which one was refused.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

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

/// Makes the mount at `target` read-only, and all that is mounted below it: binding takes both along.
///
/// One after the other, as bubblewrap does: `mount_setattr` would do it at once, and needs Linux 5.12.
pub(super) fn read_only_tree(target: &Path) -> Result<(), Failure> {
    let mounts = std::fs::read(Path::new(HOST).join("proc/self/mountinfo"))
        .map_err(Failure::setup("reading the mounts"))?;
    read_only(target)?;
    // Links in the image may lead elsewhere, and mounts are listed where they are.
    let target = target
        .canonicalize()
        .map_err(Failure::setup(format!("inspecting {}", target.display())))?;
    for point in points(&mounts).filter(|point| *point != target && point.starts_with(&target)) {
        match read_only(&point) {
            // Something else is mounted over it, or over what it is in: nobody gets there.
            Err(_) if is_out_of_reach(&point) => {}
            done => done?,
        }
    }
    Ok(())
}

fn is_out_of_reach(point: &Path) -> bool {
    statvfs(point).is_err_and(|error| error == nix::errno::Errno::ENOENT)
}

/// Where something is mounted, as `/proc/self/mountinfo` lists it.
fn points(mounts: &[u8]) -> impl Iterator<Item = PathBuf> + '_ {
    let of_line = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4).map(unescaped);
    mounts.split(|byte| *byte == b'\n').filter_map(of_line)
}

/// A space, a tab, a line break and a backslash are written in octal: `\040`.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut path = Vec::new();
    let mut rest = text;
    while let Some((first, others)) = rest.split_first() {
        let octal = others.get(..3).and_then(|digits| str::from_utf8(digits).ok());
        let octal = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(byte) = octal.filter(|_| *first == b'\\') {
            path.push(byte);
            rest = &others[3..];
        } else {
            path.push(*first);
            rest = others;
        }
    }
    OsString::from_vec(path).into()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as `proc_pid_mountinfo(5)` has them, and Linux's `mangle` escapes names in them.
    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let mounts = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n\
            37 36 0:5 / /a\\040b/c\\134040\\011\xff rw - tmpfs none rw\n";
        let found: Vec<PathBuf> = points(mounts).collect();
        let odd = OsString::from_vec(b"/a b/c\\040\t\xff".to_vec());
        assert_eq!(found, ["/mnt2".into(), PathBuf::from(odd)]);
    }
}
