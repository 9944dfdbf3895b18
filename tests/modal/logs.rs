//! What Modal shows of an app's containers.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use super::Remote;

#[test]
fn the_logs_of_a_model_are_those_of_its_app() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    project.run("logs tiny").exits(1).says(&["tiny", "has no log yet"]);
    project.apply("--yes").ran();
    let all = project.run("logs tiny").exits(0).stdout;
    assert!(all.lines().any(|line| line.trim() == "starting"), "{all}");
    assert!(!all.contains('\u{1b}'), "{all:?}");
    let last = project.run("logs tiny -n 1").exits(0).stdout;
    assert_eq!(last.lines().count(), 1, "{last}");
    assert_eq!(project.run("logs tiny -n 0").exits(0).stdout, "");
    // Steps have logs of their own, as ever.
    project.run("logs deploy:tiny").exits(0).says(&["Created Function serve"]);

    let mut following = project.command("logs tiny -f").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().trim() == "starting"));
    let id = nix::unistd::Pid::from_raw(i32::try_from(following.id()).unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(following.wait().unwrap().code(), Some(0));
}
