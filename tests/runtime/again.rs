//! All tests of the runtime once more, as others and elsewhere. Only root can make these surroundings.

use std::process::Command;

use super::fixture::supervisor;
use super::{SURROUNDINGS, Surroundings};
use crate::support::peers::skipped;

/// Who runs all other tests once more, and what /proc looks like to them.
#[derive(Clone, Copy, PartialEq)]
enum Again {
    /// A user without any rights.
    User,
    /// The same, and parts of /proc are masked.
    MaskedUser,
    /// A user without any rights where there are no more pid namespaces.
    SharedUser,
    /// Root with the capabilities that container engines leave, and parts of /proc are masked.
    Container,
}

/// Only root can make these environments; for anyone else the first run is the test.
fn again(environment: Again) {
    if !nix::unistd::geteuid().is_root() {
        skipped("another user", "only root can become one");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path();
    let (tests, supervisor_copy) = (place.join("tests"), place.join("goatbuild"));
    std::fs::copy(std::env::current_exe().expect("this binary"), &tests).expect("a copy");
    std::fs::copy(supervisor(), &supervisor_copy).expect("a copy");
    let owner = (environment != Again::Container).then_some(65534);
    std::os::unix::fs::chown(place, owner, owner).expect("chown");
    // The kernel must then refuse a fresh procfs: otherwise this would test nothing.
    let mask = "mount --bind /dev/null /proc/interrupts && ! unshare -Urpf --mount-proc true && ";
    // Only in a user namespace that this makes: the limit of the machine stays as it is.
    let limit = "unshare --user --map-root-user sh -c 'echo 0 > /proc/sys/user/max_pid_namespaces \
                 && ! unshare -Urp true && exec unshare --user --map-user=1000 \
                 --map-group=1000 \"$@\"' -- ";
    let (mask, limit, surroundings) = match environment {
        Again::User => ("", "", None),
        Again::MaskedUser | Again::Container => (mask, "", Some(Surroundings::Masked)),
        Again::SharedUser => ("", limit, Some(Surroundings::Shared)),
    };
    let identity = match environment {
        Again::User | Again::MaskedUser | Again::SharedUser => {
            "--reuid 65534 --regid 65534 --clear-groups"
        }
        Again::Container => {
            "--inh-caps=-all --bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,\
             +setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,\
             +audit_write,+setfcap"
        }
    };
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg(format!(
            "{mask}exec setpriv {identity} {limit} \"$0\" --test-threads=2 runtime:: --skip {AGAIN}"
        ))
        .arg(&tests)
        .current_dir(place)
        .env("TMPDIR", place)
        .env("GOATBUILD_TEST_SUPERVISOR", &supervisor_copy);
    if let Some(surroundings) = surroundings {
        command.env(SURROUNDINGS, format!("{surroundings:?}"));
    }
    let output = command.output().expect("unshare");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    // All of them but what runs them again.
    let listed = Command::new(&tests).args(["--list", "runtime::", "--skip", AGAIN]).output();
    let listed = String::from_utf8(listed.expect("a list").stdout).expect("text");
    let all = listed.lines().filter(|line| line.ends_with(": test")).count();
    let ran = text.lines().filter(|line| line.ends_with(" ... ok")).count();
    let left = text.lines().filter(|line| line.contains(" ... ignored")).count();
    assert!(ran + left == all && left == 3 && ran > 5, "{ran} of {all}: {text}");
}

/// What the names of those that run the others begin with.
const AGAIN: &str = "runtime::again::";

#[test]
fn all_of_it_works_for_an_ordinary_user() {
    again(Again::User);
}

#[test]
fn all_of_it_works_for_an_ordinary_user_where_proc_is_masked() {
    again(Again::MaskedUser);
}

#[test]
fn all_of_it_works_for_an_ordinary_user_where_no_pid_namespace_is_to_be_had() {
    again(Again::SharedUser);
}

#[test]
fn all_of_it_works_for_root_in_an_unprivileged_container() {
    again(Again::Container);
}
