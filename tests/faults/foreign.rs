//! Files that are none, or never end, where a project's files are read: told with their names at once.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::project::Project;

/// Puts something else where a file is read.
fn put(path: &Path, what: &str) {
    let _ = std::fs::remove_file(path);
    match what {
        "a FIFO" => mkfifo(path, Mode::S_IRWXU).expect("a FIFO"),
        "a device" => std::os::unix::fs::symlink("/dev/zero", path).expect("a link"),
        "directory" => std::fs::create_dir(path).expect("a directory"),
        // It takes no room, and would take all memory.
        "MiB" => std::fs::File::create(path)
            .and_then(|file| file.set_len(1 << 40))
            .expect("a sparse file"),
        other => panic!("nobody knows {other}"),
    }
}

#[test]
fn what_is_no_file_or_never_ends_is_told_and_not_waited_for() {
    let project = Project::written();
    let cases: [(&str, &str, &str); 6] = [
        ("goatbuild.toml", "check", "spec::unreadable"),
        ("specs/tiny.toml", "check", "spec::unreadable"),
        ("images/tiny.toml", "check", "spec::unreadable"),
        ("goatbuild.lock", "plan", "project::file"),
        ("litellm.yaml", "plan", "gateway::read"),
        ("kept.plan", "apply kept.plan", "project::file"),
    ];
    for (name, command, code) in cases {
        let path = project.path(name);
        let before = std::fs::read(&path).ok();
        for what in ["a FIFO", "a device", "directory", "MiB"] {
            put(&path, what);
            let asked = Instant::now();
            let ran = project.run(command);
            assert!(asked.elapsed() < Duration::from_secs(20), "{name} as {what}");
            assert!(ran.code != 0, "{name} as {what}: {}", ran.stderr);
            ran.tells(&[name, what, code]);
            let _ = std::fs::remove_file(&path);
            let _ = std::fs::remove_dir(&path);
        }
        if let Some(text) = before {
            project.write(name, &text);
        }
    }
}

#[test]
fn weights_stay_in_the_project() {
    let Some(project) = super::downloaded() else { return };
    let outside = tempfile::tempdir().expect("a directory");
    std::fs::write(outside.path().join("key"), "secret").expect("a file");
    let link = project.path("model/link");
    std::os::unix::fs::symlink(outside.path().join("key"), &link).expect("a link");
    let end = outside.path().canonicalize().expect("a path").join("key").display().to_string();
    let words = ["weights::outside", "model/link leads out of the project", &end];
    for command in ["plan --offline", "apply --offline"] {
        let ran = project.run(command);
        assert!(ran.code != 0 && ran.code != 70, "{}", ran.stderr);
        ran.tells(&words);
    }
    std::fs::remove_file(&link).expect("removes");
    mkfifo(&link, Mode::S_IRWXU).expect("a FIFO");
    let ran = project.run("plan --offline");
    assert!(ran.code != 0, "{}", ran.stderr);
    ran.tells(&["weights::special", "model/link is a FIFO"]);
}
