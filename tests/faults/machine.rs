//! What the machine refuses: space, permission, namespaces, a port, the lock.

use std::process::Command;

use super::{built, downloaded};
use crate::support::project::{Project, Ran, eventually, ran};
use crate::support::{installed, peers};

/// Runs a script as root of a namespace of its own; `$goatbuild` is the binary.
///
/// `None`, said aloud, where the machine does not allow that.
pub(super) fn unshared(project: &Project, flags: &[&str], script: &str) -> Option<Ran> {
    let probe = Command::new("unshare").args(flags).arg("true").status();
    if !probe.is_ok_and(|status| status.success()) {
        peers::skipped("unshare", &format!("`unshare {}` is refused here", flags.join(" ")));
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(flags).args(["sh", "-ec", script]);
    project.prepare(&mut command);
    command.env("goatbuild", installed::GOATBUILD);
    Some(ran(&mut command))
}

#[test]
fn a_full_disk_is_named_and_the_next_apply_completes() {
    let Some(project) = downloaded() else { return };
    let Some(output) = unshared(
        &project,
        &["--mount"],
        r#"
        mkdir ../downloads && cp -r cache/wheels ../downloads
        mount -t tmpfs -o size=3m tmpfs cache
        cp -r ../downloads/wheels cache
        status=0; "$goatbuild" apply --only wheels:tiny/pip || status=$?
        echo "first $status"
        find cache -name '.part-*' | sed 's/^/left /'
        mount -o remount,size=300m cache
        "$goatbuild" apply --only wheels:tiny/pip
        "$goatbuild" apply --only wheels:tiny/pip
        "#,
    ) else {
        return;
    };
    let output = output.exits(0).tells(&[
        "No space left on device",
        "a disk is full",
        "wheels:tiny/pip failed",
    ]);
    let output = output.ran_nothing();
    assert!(output.stdout.contains("first 1"), "{output:?}");
    assert!(!output.stdout.contains("left"), "{output:?}");
}

#[test]
fn a_full_disk_is_no_broken_layer() {
    let Some(project) = built() else { return };
    let script = r#"
        mkdir ../small && mount -t tmpfs -o size=200k tmpfs ../small
        GOATBUILD_STATE_DIR=$PWD/../small "$goatbuild" apply --offline
        "#;
    let Some(output) = unshared(&project, &["--mount"], script) else { return };
    let output =
        output.fails(1, &["goatbuild::oci::file", "No space left on device", "a disk is full"]);
    assert!(!output.stderr.contains("broken or hostile"), "{}", output.stderr);
    assert!(!output.stderr.contains("looking for damaged"), "{}", output.stderr);
}

#[test]
fn a_cache_that_is_read_only_is_named() {
    let Some(project) = built() else { return };
    let script = r#"
        mount --bind cache cache && mount -o remount,bind,ro cache
        "$goatbuild" apply
        "#;
    let Some(output) = unshared(&project, &["--mount"], script) else { return };
    output.fails(1, &["cache", "ead-only", "help:"]);
    assert_eq!(project.servers(), 0);
}

#[test]
fn without_user_namespaces_check_and_apply_say_so_before_any_download() {
    let project = Project::written();
    let refuse = "echo 0 > /proc/sys/user/max_user_namespaces";
    let flags = ["--user", "--map-root-user"];
    let script = format!("{refuse}; \"$goatbuild\" apply");
    let Some(output) = unshared(&project, &flags, &script) else { return };
    output.fails(1, &["this machine can't run images", "user.max_user_namespaces=15000"]);
    assert!(!project.path("goatbuild.lock").exists() && !project.path("cache/debs").exists());
    let output = unshared(&project, &flags, &format!("{refuse}; \"$goatbuild\" check"));
    let output = output.expect("it worked before");
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout.contains("✗ user namespaces"), "{output:?}");
}

#[test]
fn a_port_of_another_program_is_left_alone_and_nothing_is_stopped() {
    let Some(project) = built() else { return };
    project.run(&["apply"]).exits(0);
    let before = (project.serving(), project.read("litellm.yaml"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    project.append("specs/tiny.toml", &format!("\n[serve]\nport = {port}\n"));
    project
        .run(&["apply"])
        .fails(1, &[&format!("port {port} is in use by another program"), "nothing was stopped"]);
    assert_eq!((project.serving(), project.read("litellm.yaml")), before);
    assert_eq!(project.servers(), 1);
    drop(taken);
    project.run(&["apply"]).exits(0);
    assert_eq!(project.serving().expect("it serves").1, port);
}

#[test]
fn a_server_that_does_not_start_leaves_the_old_one_running() {
    let Some(project) = built() else { return };
    project.run(&["apply"]).exits(0);
    let (_, port) = project.serving().expect("it serves");
    let entry = project.read("litellm.yaml");
    project.serve_env(&[("MODE", "crash")]);
    let output = project.run(&["apply"]);
    output.fails(
        1,
        &["no kernel image is available", "the old server runs again", "goatbuild logs tiny"],
    );
    assert_eq!(project.serving().expect("it serves").1, port);
    assert_eq!((project.servers(), project.read("litellm.yaml")), (1, entry));
}

#[test]
fn of_two_applies_the_second_waits_says_for_whom_and_finds_nothing_to_do() {
    let Some(project) = built() else { return };
    project.serve_env(&[("START_SECONDS", "2")]);
    let mut first = project.start(&["apply", "--json"]);
    assert!(first.until_started("deploy:tiny"));
    let holder = format!("`apply`, process {}", first.pid());
    let output = project.run(&["apply", "--lock-timeout", "0"]);
    output.fails(75, &["another goatbuild is at work here", &holder, "--lock-timeout"]);
    let output = project.run(&["apply"]);
    output.ran_nothing().tells(&["waiting for another goatbuild", &holder]);
    first.finish().exits(0);
    eventually("one server", || project.servers() == 1);
}
