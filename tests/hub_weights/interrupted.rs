//! `kill -9` in the middle of a download.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::support::double::{Content, Fault};
use super::support::hub::COMMIT;
use super::{Hubbed, WEIGHTS};

/// Blocks of a MiB are kept; what was on its way when the process died is not.
const SIZE: u64 = 48 << 20;

#[test]
fn a_killed_download_is_taken_up_and_nothing_is_fetched_twice() {
    let Some(hubbed) = Hubbed::new() else { return };
    let content = Content::noise(9, usize::try_from(SIZE).unwrap());
    hubbed.hub.large("acme/tiny", "model.safetensors", &content);
    hubbed.hub.fault("cdn/", usize::MAX, Fault::Slow(1 << 18, Duration::from_millis(10)));
    for turn in 1..=2 {
        let mut command = hubbed.project.command(&format!("apply --only {WEIGHTS}"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut apply = command.spawn().unwrap();
        let began = Instant::now();
        while hubbed.hub.sent("cdn/") < turn * SIZE / 3 {
            assert!(began.elapsed() < Duration::from_secs(60), "{}", hubbed.hub.sent("cdn/"));
            std::thread::sleep(Duration::from_millis(5));
        }
        apply.kill().unwrap();
        assert_eq!(apply.wait().unwrap().signal(), Some(9), "it is not done before");
        assert!(!hubbed.blobs().contains(&content.sha256()), "unfinished, under its final name");
        let receipts = fs::read_dir(hubbed.volume().join(".goatbuild"));
        assert_eq!(receipts.map_or(0, Iterator::count), 0);
        assert_eq!(hubbed.project.plan("").step(WEIGHTS)["action"], "run");
    }
    hubbed.hub.clear_faults();
    hubbed.place().exits(0);
    assert_eq!(fs::read(hubbed.file(COMMIT, "model.safetensors")).unwrap(), content.bytes());
    // Each kill loses what its connections carried: eight blocks, and what the double had already
    // handed to the system.
    let sent = hubbed.hub.sent("cdn/");
    assert!(sent < SIZE + 2 * (16 << 20), "{sent} bytes for {SIZE}");
    let (fetched, reused) = hubbed.bytes();
    assert!(reused > SIZE / 4, "{fetched} fetched and {reused} reused");
}

#[test]
fn an_interrupt_ends_a_wait_that_the_hub_asked_for() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.run("lock").exits(0);
    hubbed.hub.forget_requests();
    hubbed.hub.fault("resolve", usize::MAX, Fault::Status(503, "retry-after: 200"));
    let mut command = hubbed.project.command(&format!("apply --only {WEIGHTS}"));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut apply = command.spawn().unwrap();
    let mut stderr = BufReader::new(apply.stderr.take().unwrap());
    let (mut said, patience) = (String::new(), "the hub asks for 200 s of patience");
    while !said.contains(patience) {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
    }
    let began = Instant::now();
    let pid = nix::unistd::Pid::from_raw(apply.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    stderr.read_to_string(&mut said).unwrap();
    let status = apply.wait().unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(status.code(), Some(130), "{said}");
    assert_eq!(said.matches(patience).count(), 1, "{said}");
}
