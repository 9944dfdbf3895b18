//! Mirrors that are down, slow, wrong, or no longer have what is locked.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use goatbuild::lock::LockFile;

use super::downloaded;
use super::server::{Answer, Server};
use crate::support::project::{Project, free_port};

/// A project whose Debian packages come from this address alone.
fn from(address: &str) -> Option<Project> {
    let mut project = downloaded()?;
    for variable in ["GOATBUILD_DEBIAN_POOL", "GOATBUILD_DEBIAN_SNAPSHOT"] {
        project.variable(variable, address);
    }
    project.variable("GOATBUILD_HTTP_TIMEOUT", "1");
    Some(project)
}

/// Forgets one downloaded package and gives its path on a mirror.
fn forget(project: &Project, package: &str) -> (String, Vec<u8>) {
    let lock = LockFile::parse("", &project.read("goatbuild.lock")).expect("a lock");
    let debian = lock.images["tiny"].debian.as_ref().expect("a base");
    let found = debian.packages.iter().find(|it| it.name == package).expect("it is locked");
    let file = project.path("cache/debs").join(found.sha256.hex());
    let bytes = std::fs::read(&file).expect("it was downloaded");
    std::fs::remove_file(file).expect("removes");
    (format!("/{}", found.path), bytes)
}

const BASE: [&str; 3] = ["apply", "--only", "base:tiny"];

#[test]
fn a_mirror_that_is_down_or_silent_is_tried_again_and_then_named() {
    let dead = format!("http://user:hunter2@127.0.0.1:{}", free_port());
    let Some(project) = from(&dead) else { return };
    forget(&project, "dash");
    let output = project
        .run(&BASE)
        .fails(1, &["dash", "tried 2 time(s)", "onnection refused", "run the command again"]);
    assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);

    let server = Server::start();
    let Some(project) = from(&server.url("")) else { return };
    let (path, _) = forget(&project, "dash");
    server.on(&path, [Answer::Silent]);
    let began = Instant::now();
    project.run(&BASE).fails(1, &["dash", "tried 2 time(s)"]);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(server.requests(&path).len(), 2);
}

#[test]
fn wrong_bytes_of_a_package_are_refused_and_not_kept() {
    let server = Server::start();
    let Some(project) = from(&server.url("")) else { return };
    let (path, mut bytes) = forget(&project, "dash");
    bytes[100] ^= 1;
    server.on(&path, [Answer::Body(bytes)]);
    project.run(&BASE).fails(1, &["dash", "wrong SHA-256"]);
    assert_eq!(project.leftovers(), [] as [PathBuf; 0]);
    forgotten(&project);
}

/// The package is still not there.
#[track_caller]
fn forgotten(project: &Project) {
    let lock = LockFile::parse("", &project.read("goatbuild.lock")).expect("a lock");
    let debian = lock.images["tiny"].debian.as_ref().expect("a base");
    let dash = debian.packages.iter().find(|it| it.name == "dash").expect("it is locked");
    assert!(!project.path("cache/debs").join(dash.sha256.hex()).exists());
}

#[test]
fn an_index_that_nobody_signed_or_that_is_not_there_is_refused() {
    let server = Server::start();
    let Some(project) = from(&server.url("")) else { return };
    let lock = project.read("goatbuild.lock");
    project.edit("images/tiny.toml", "\"python3\"", "\"python3\", \"python3-dev\"");
    server.on("/dists/bookworm/InRelease", [Answer::Body(b"Codename: bookworm\n".to_vec())]);
    project.run(&["apply"]).fails(
        1,
        &[
            "the release file of bookworm is not signed",
            "it carries no signature",
            "use another one",
        ],
    );
    project.edit("images/tiny.toml", "bookworm", "bokworm");
    project.run(&["apply"]).fails(1, &["no mirror has the index of bokworm", "HTTP 404"]);
    assert_eq!(project.read("goatbuild.lock"), lock);
    project.run(&["apply", "--locked"]).fails(65, &["the base of image tiny is not locked"]);
}

/// With Debian's real mirror, since no one else can sign an index.
#[test]
fn what_a_suite_lacks_is_said_with_the_nearest_name_and_nothing_is_locked() {
    let Some(project) = downloaded() else { return };
    let image = project.read("images/tiny.toml");
    let lock = project.read("goatbuild.lock");
    let cases: [(&str, &str, &[&str]); 4] = [
        (
            "\"python3\"",
            "\"python3\", \"pyhton3-dev\"",
            &["no package pyhton3-dev", "did you mean"],
        ),
        ("\"python3\"", "\"coreutils\"", &["the base of image tiny has no Python", "\"python3\""]),
        ("base =", "python = \"3.12\"\nbase =", &["asks for Python 3.12, and its base has 3.11"]),
        (
            "\"python3\"",
            "\"python3\", \"mono-mcs\"",
            &[
                "mono-mcs, postinst, line",
                "libmono-corlib4.5-cil, postinst, line",
                "needed by mono-mcs → ",
            ],
        ),
    ];
    let packages = || std::fs::read_dir(project.path("cache/debs")).map_or(0, Iterator::count);
    let before = packages();
    for (from, to, words) in cases {
        project.write("images/tiny.toml", &image.replace(from, to));
        project.run(&["apply"]).fails(65, words);
    }
    assert_eq!(project.read("goatbuild.lock"), lock);
    assert_eq!(packages(), before);
}

#[test]
fn a_package_that_is_gone_is_locked_anew_unless_the_lock_must_stay() {
    // The lock is older than Debian: it names a version that no source has any more.
    let server = Server::start();
    let Some(mut project) = downloaded() else { return };
    project.variable("GOATBUILD_DEBIAN_SNAPSHOT", &server.url("/snapshot"));
    let (path, _) = forget(&project, "dash");
    let old = path.replace("dash_0.5.12-2", "dash_0.5.11-1");
    assert_ne!(path, old);
    let digest = |lock: &str| {
        let lock = LockFile::parse("", lock).expect("a lock");
        let debian = lock.images["tiny"].debian.clone().expect("a base");
        debian.packages.into_iter().find(|it| it.name == "dash").expect("dash").sha256.hex()
    };
    let right = project.read("goatbuild.lock");
    let stale = right
        .replace(&path[1..], &old[1..])
        .replace("\"0.5.12-2\"", "\"0.5.11-1\"")
        .replace(&digest(&right), &"ab".repeat(32));
    project.write("goatbuild.lock", &stale);

    let output = project.run(&["apply", "--only", "base:tiny", "--locked"]);
    output.fails(1, &["dash 0.5.11-1 is gone from every source", "goatbuild lock --upgrade"]);
    assert_eq!(project.read("goatbuild.lock"), stale);

    let output = project.run(&BASE);
    output.exits(0).tells(&["locking image tiny anew", "dash 0.5.11-1 → 0.5.12-2"]);
    let now = project.read("goatbuild.lock");
    assert_eq!(digest(&now), digest(&right));
}
