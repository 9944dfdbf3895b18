//! The uv that is installed, and what becomes of one that is no use.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use goatbuild::fetch::sha256_of;

use super::downloaded;
use super::server::{Answer, Server};
use super::wheels::wheel_of;
use crate::support::project::{Project, Ran};
use crate::support::{installed, peers};

/// The oldest that goatbuild takes, and the one that it fetches where there is none.
const VERSIONS: [&str; 2] = ["0.8.0", "0.13.9"];

/// An index on loopback that has these versions of two packages, beside pip.
fn index(versions: &[&str]) -> Server {
    let server = Server::start();
    offer(&server, versions);
    server
}

pub(super) fn offer(server: &Server, versions: &[&str]) {
    for name in ["good", "other", "pip"] {
        let mut links = String::new();
        for version in versions {
            let bytes = wheel_of(name, version, &[]);
            let sha256 = sha256_of(&mut bytes.as_slice()).expect("a digest").hex();
            let file = format!("{name}-{version}-py3-none-any.whl");
            let _ = writeln!(links, "<a href=\"/files/{file}#sha256={sha256}\">{file}</a>");
            server.on(&format!("/files/{file}"), [Answer::Body(bytes)]);
        }
        server.on(&format!("/simple/{name}/"), [Answer::Body(links.into_bytes())]);
    }
}

/// Locks with the uv of this `PATH` alone, and asks the index for everything.
fn lock(project: &mut Project, server: &Server, path: &str) -> Ran {
    project.variable("PATH", path);
    project.variable("UV_DEFAULT_INDEX", &server.url("/simple"));
    project.variable("UV_NO_CACHE", "1");
    project.run(&["lock"])
}

fn requires(project: &Project, requirements: &str) {
    let image = format!(
        "base = {{ debian = \"bookworm\", packages = [\"python3\"] }}\nrequirements = [{requirements}]\n"
    );
    project.write("images/tiny.toml", &image);
}

/// A project that has no lock of its wheels.
fn unlocked() -> Option<Project> {
    let project = downloaded()?;
    fs::remove_file(project.path("images/tiny.pylock.toml")).expect("removes");
    requires(&project, "\"good\"");
    Some(project)
}

/// What the fetched one locks.
fn expected(server: &Server) -> Option<String> {
    let mut project = unlocked()?;
    lock(&mut project, server, installed::bare_path()).exits(0);
    Some(project.read("images/tiny.pylock.toml"))
}

#[test]
fn whichever_uv_is_installed_locks_the_same_and_none_is_fetched() {
    let server = index(&["1.0"]);
    let Some(expected) = expected(&server) else { return };
    assert!(expected.contains("good-1.0-py3-none-any.whl"), "{expected}");
    for version in VERSIONS {
        let requirement = format!("uv=={version}");
        let Some(venv) = peers::venv(&requirement.replace("==", "-"), &[&requirement]) else {
            continue;
        };
        let path = installed::path_with_uv(&venv.join("bin/uv"));
        let Some(mut project) = unlocked() else { return };
        fs::remove_dir_all(project.path("cache/tools")).expect("removes");
        let output = lock(&mut project, &server, &path);
        let output = output.exits(0);
        assert!(!output.stderr.contains("uv"), "{output:?}");
        assert_eq!(project.read("images/tiny.pylock.toml"), expected, "{version}");
        assert!(!project.path("cache/tools").exists());
        assert_eq!(server.requests("/simple/uv/").len(), 0);

        // Another one keeps what this one locked.
        offer(&server, &["1.0", "2.0"]);
        requires(&project, "\"good\", \"other\"");
        lock(&mut project, &server, &path).exits(0);
        let kept = project.read("images/tiny.pylock.toml");
        let Some(mut project) = unlocked() else { return };
        project.write("images/tiny.pylock.toml", &expected);
        requires(&project, "\"good\", \"other\"");
        lock(&mut project, &server, installed::bare_path()).exits(0);
        assert_eq!(project.read("images/tiny.pylock.toml"), kept, "{version}");
        for file in ["good-1.0-py3", "pip-1.0-py3", "other-2.0-py3"] {
            assert!(kept.contains(file), "no {file} in {kept}");
        }
        offer(&server, &["1.0"]);
    }
}

/// A double of a uv: it does this, whatever it is asked.
fn double(directory: &Path, script: &str, mode: u32) -> String {
    let program = directory.join("uv");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("writes");
    fs::set_permissions(&program, fs::Permissions::from_mode(mode)).expect("a mode");
    format!("{}:{}", directory.display(), installed::bare_path())
}

#[test]
fn a_uv_that_is_no_use_is_named_and_done_without() {
    let server = index(&["1.0"]);
    let Some(expected) = expected(&server) else { return };
    let cases = [
        ("echo 'uv 0.7.22 (3fa7b08a7 2025-07-16)'", 0o755, "0.7.22 is older than 0.8.0"),
        ("exit 1", 0o755, "`uv --version` failed (exit status: 1)"),
        ("kill -9 $$", 0o755, "`uv --version` failed (signal: 9"),
        ("echo 'universal viewer 3.1'", 0o755, "it does not say which version it is"),
        ("exec sleep 60", 0o755, "it did not say its version within 10 s"),
        ("echo 'uv 99.0.0'", 0o644, "ermission denied"),
        // A version manager's, which knows one in the project alone.
        ("[ \"$PWD\" = / ] && exit 126; echo 'uv 99.0.0'", 0o755, "(exit status: 126)"),
    ];
    for (script, mode, reason) in cases {
        let directory = tempfile::tempdir().expect("a directory");
        let Some(mut project) = unlocked() else { return };
        let output = lock(&mut project, &server, &double(directory.path(), script, mode));
        output.exits(0).tells(&["the uv on PATH is not used: ", reason]);
        assert_eq!(project.read("images/tiny.pylock.toml"), expected, "{script}");
    }
}
