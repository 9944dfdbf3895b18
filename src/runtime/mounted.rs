//! What a running server really has mounted, as the kernel tells.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, open, openat2};

use super::Instance;
use super::instance::descendants;

/// What the server of an instance sees at each of these paths of its own, by device and inode; `None`
/// where that can't be told: it has ended, or the system hides it.
///
/// A directory that was deleted, or renamed, is still the one that was mounted.
pub fn mounted(instance: &Instance, targets: &[&Path]) -> Vec<Option<(u64, u64)>> {
    if targets.is_empty() {
        return Vec::new();
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = server(instance.pid)
        .and_then(|pid| open(of_process(pid, "root"), flags, Mode::empty()).ok());
    targets.iter().map(|target| identity(root.as_ref()?, target)).collect()
}

/// Links in the server's root lead nowhere else.
fn identity(root: &OwnedFd, target: &Path) -> Option<(u64, u64)> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = openat2(root, target, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
    let found = fstat(found).ok()?;
    Some((found.st_dev, found.st_ino))
}

/// The first process below the supervisor that has mounts of its own.
fn server(supervisor: i32) -> Option<i32> {
    let mounts = |pid| std::fs::read_link(of_process(pid, "ns/mnt")).ok();
    let outside = mounts(supervisor)?;
    let is_inside = |pid: i32| mounts(pid).is_some_and(|found| found != outside);
    let init = only_child(supervisor);
    init.and_then(only_child).filter(|pid| is_inside(*pid)).or_else(|| {
        let all = descendants(nix::unistd::Pid::from_raw(supervisor));
        all.into_iter().map(nix::unistd::Pid::as_raw).find(|pid| is_inside(*pid))
    })
}

/// Not every kernel tells; then all processes are asked for their parents.
fn only_child(pid: i32) -> Option<i32> {
    let children = std::fs::read_to_string(of_process(pid, &format!("task/{pid}/children")));
    children.ok()?.split_ascii_whitespace().next()?.parse().ok()
}

fn of_process(pid: i32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}
