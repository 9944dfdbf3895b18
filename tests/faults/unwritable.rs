//! A cache that belongs to somebody else, or lies on a read-only disk: looking works as without one.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::support::hubbed::Hubbed;
use crate::support::installed;
use crate::support::peers::skipped;
use crate::support::project::{Project, Ran, ran};

/// What only looks.
const LOOKS: [&str; 8] = [
    "plan --offline",
    "status",
    "why image:tiny --offline",
    "show tiny",
    "graph --offline",
    "logs",
    "check",
    "gc --dry-run",
];

/// Checks what all that only looks says, and what an apply does.
#[track_caller]
fn looks(run: &dyn Fn(&str) -> Ran, words: &[&str]) {
    for command in LOOKS {
        let ran = run(command);
        assert!(!ran.stderr.contains("goatbuild::store"), "{command}: {}", ran.stderr);
        if command.starts_with("logs") {
            // Nothing is served, which it may say.
            continue;
        }
        let ran = ran.exits(0);
        if !command.starts_with("show") {
            ran.tells(words).tells(&["going on without it"]);
        }
    }
    for command in ["apply --offline", "destroy tiny --yes"] {
        let ran = run(command);
        assert!(ran.code != 0, "{command}: {}", ran.stderr);
        ran.tells(words);
    }
}

#[test]
fn a_cache_of_somebody_else_is_looked_past_and_an_apply_says_whose_it_is() {
    let Some(project) = Project::new() else { return };
    if !nix::unistd::geteuid().is_root() {
        skipped("another user", "only root can become one");
        return;
    }
    let parent = project.root().parent().expect("a parent").to_owned();
    set_permissions(&parent, Permissions::from_mode(0o755)).expect("readable");
    let state = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::chown(state.path(), Some(65534), Some(65534)).expect("chown");
    let mut can = Command::new(installed::GOATBUILD);
    if can.arg("--version").uid(65534).gid(65534).output().is_err() {
        skipped("another user", "who can't reach this program");
        return;
    }
    let run = |words: &str| {
        let mut command = project.command(words);
        command.env("GOATBUILD_STATE_DIR", state.path()).env("HOME", state.path());
        ran(command.uid(65534).gid(65534))
    };
    looks(&run, &["cache", "belongs to root", "may not write there"]);
    run("apply --offline").tells(&["goatbuild::store::not_ours", "run goatbuild as root"]);
}

/// Runs something where the cache is on a read-only disk, which root can mount.
fn read_only(project: &Project, words: &str) -> Option<Ran> {
    if !nix::unistd::geteuid().is_root() {
        skipped("a read-only disk", "only root can mount one");
        return None;
    }
    let inner = project.command(words);
    let mut command = Command::new("unshare");
    let mount = "mount --bind cache cache && mount -o remount,ro,bind cache && exec \"$@\"";
    command.args(["--mount", "sh", "-c", mount, "sh"]).arg(inner.get_program());
    project.prepare(command.args(inner.get_args()));
    Some(ran(&mut command))
}

#[test]
fn a_cache_on_a_read_only_disk_is_looked_past() {
    let Some(project) = Project::new() else { return };
    let Some(_) = read_only(&project, "--version") else { return };
    let run = |words: &str| read_only(&project, words).expect("it was before");
    looks(&run, &["cache", "is on a file system that is read-only"]);
}

#[test]
fn a_lock_is_completed_beside_a_cache_that_nobody_may_write() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.revision(Some("main"));
    let Some(planned) = read_only(&hubbed.project, "plan") else { return };
    planned.exits(0).tells(&["going on without it", "lock: hf:acme/tiny@main: locked 01234567"]);
    assert!(hubbed.project.read("goatbuild.lock").contains("[hub.\"acme/tiny@main\"]"));
}
