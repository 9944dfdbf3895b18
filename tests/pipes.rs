//! Output that nobody reads, or that has no room: `goatbuild plan | head -1`.

#![cfg(target_os = "linux")]

use crate::support;

use std::process::{Command, Stdio};

use support::project::Project;

/// Runs a command whose output nobody reads, and gives its exit code and what it still could say.
fn unread(mut command: Command, stderr_too: bool) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    if stderr_too {
        command.stderr(writer.try_clone().unwrap());
    } else {
        command.stderr(Stdio::piped());
    }
    let child = command.stdout(writer).spawn().unwrap();
    let ended = child.wait_with_output().unwrap();
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[test]
fn a_reader_that_has_had_enough_is_no_mistake() {
    let Some(project) = Project::applied() else { return };
    for arguments in [
        "plan",
        "plan --json",
        "plan --format markdown",
        "graph",
        "graph --format svg",
        "show tiny",
        "why deploy:tiny",
        "status",
        "logs tiny",
        "check",
        "image inspect tiny",
        "image export tiny -",
        "gc --dry-run",
        "completions bash",
        "--help",
    ] {
        let (code, said) = unread(project.command(arguments), false);
        assert_eq!(code, Some(0), "{arguments}: {said}");
        assert!(!said.contains("panic") && !said.contains("roken pipe"), "{arguments}: {said}");
        let (code, _) = unread(project.command(arguments), true);
        assert_eq!(code, Some(0), "{arguments}");
    }
}

#[test]
fn what_was_begun_is_finished_though_nobody_reads_of_it() {
    let Some(project) = Project::new() else { return };
    // Steps run programs of their own, and talk to them through pipes.
    for (arguments, stderr_too) in [("apply --json", false), ("apply --replace deploy:tiny", true)]
    {
        let before = project.served("tiny").map(|_| project.instance("tiny"));
        let (code, said) = unread(project.command(arguments), stderr_too);
        assert_eq!(code, Some(0), "{arguments}: {said}");
        assert!(project.ask("tiny").is_some(), "{arguments}");
        assert_ne!(Some(project.instance("tiny")), before);
    }
    let plan = project.plan("");
    assert_eq!(plan.ids("fresh").len(), plan.0["steps"].as_array().unwrap().len(), "{}", plan.0);
}

#[test]
fn following_a_log_ends_with_its_reader() {
    let Some(project) = Project::applied() else { return };
    let mut command = project.command("logs --follow tiny");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    // Each question is a line of the server's log, which has no reader.
    let began = std::time::Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(began.elapsed().as_secs() < 30, "it follows on");
        assert!(project.ask("tiny").is_some());
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_full_disk_is_told() {
    let Some(project) = Project::new() else { return };
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = project.command("graph --format svg");
    let ended = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("standard output can't be written: No space left"), "{said}");
    assert!(said.contains("goatbuild::output"), "{said}");
}
