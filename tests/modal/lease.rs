//! Two machines at once.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread;

use super::Remote;
use super::support::eventually;

/// What another machine would have put there.
const HOLDER: &str = "{'id': 'other', 'host': 'elsewhere', 'pid': 7, 'command': 'apply', \
                      'run': 'https://ci.example/7', 'since': '2026-11-28T08:00:00Z', 'beat': 0}";

/// Runs a line of Python with the client, as another machine would.
fn elsewhere(remote: &Remote, line: &str) {
    let program = format!(
        "import modal\nd = modal.Dict.from_name('goatbuild-table-4c19d2-lease', \
         environment_name='goat', create_if_missing=True)\n{line}"
    );
    remote.python(&["-c", &program]);
}

#[test]
fn another_machine_s_lease_is_waited_for_and_named() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    elsewhere(&remote, &format!("d.put('lease', {HOLDER})"));
    remote.modal.calls();
    project.run("apply --yes --lock-timeout 1").exits(75).says(&[
        "`apply` on elsewhere, process 7",
        "https://ci.example/7",
        "goatbuild unlock",
    ]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
    project.run("unlock").exits(64).says(&["the lease is `apply` on elsewhere"]);

    // Whoever waits goes on once it is given back, and gives its own back, too.
    remote.modal.calls();
    let mut waiting = project.command("apply --yes --only image:tiny");
    let mut waiting = waiting.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("waiting for another goatbuild")));
    elsewhere(&remote, "d.pop('lease')");
    lines.for_each(drop);
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
    project.run("unlock").exits(0).says(&["nobody has the lease"]);

    elsewhere(&remote, &format!("d.put('lease', {HOLDER})"));
    project.run("unlock --yes").exits(0).says(&["broken"]);
    project.run("apply --yes --only weights:acme/tiny").exits(0);

    // To destroy something is to change it, too.
    project.apply("--yes").ran();
    elsewhere(&remote, &format!("d.put('lease', {HOLDER})"));
    remote.modal.calls();
    project
        .run("destroy tiny --yes --lock-timeout 1")
        .exits(75)
        .says(&["`apply` on elsewhere, process 7"]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
    assert!(project.read("litellm.yaml").contains("tiny"));
    project.run("unlock --yes").exits(0);
    project.run("destroy tiny --yes").exits(0);
    assert_eq!(remote.modal.changes(), ["AppStop"]);
    project.run("unlock").exits(0).says(&["nobody has the lease"]);
}

#[test]
fn of_two_machines_that_apply_at_once_one_deploys() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    project.run("lock").exits(0);
    // Another machine has a checkout and a cache of its own.
    let second = project.root().with_file_name("second");
    let copied = Command::new("cp").arg("-a").args([&project.root(), &second]).status().unwrap();
    assert!(copied.success());
    remote.modal.calls();
    let (here, there) = thread::scope(|scope| {
        let here = scope.spawn(|| project.apply("--yes --lock-timeout 300"));
        let there = scope.spawn(|| project.apply("--yes --lock-timeout 300 -C ../second"));
        (here.join().unwrap(), there.join().unwrap())
    });
    let deploys = |ran: &[String]| ran.iter().filter(|id| *id == "deploy:tiny").count();
    assert_eq!(deploys(&here.ran()) + deploys(&there.ran()), 1, "{here:?} {there:?}");
    let published = remote
        .modal
        .calls()
        .into_iter()
        .filter(|call| call["rpc"] == "AppPublish" && call["state"] == "APP_STATE_DEPLOYED");
    assert_eq!(published.count(), 1);
    // Each has its own gateway file, which leads to the same address.
    let addresses = [project.read("litellm.yaml"), project.read("../second/litellm.yaml")];
    assert!(addresses[0].contains("tiny-local") && addresses[0] == addresses[1], "{addresses:?}");
}

#[test]
fn an_interruption_at_a_terminal_gives_the_lease_back_and_stops_what_runs() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    let mut command = project.command("apply --yes");
    let mut child = command.process_group(0).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("start weights:")));
    thread::spawn(move || lines.for_each(drop));
    eventually("Modal runs something", || remote.modal.has_been_asked("FunctionMap"));
    // A terminal's Ctrl-C is for all processes of the group.
    let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    project.run("unlock").exits(0).says(&["nobody has the lease"]);
    let calls = remote.modal.calls();
    let of = |rpc: &str| calls.iter().filter(|call| call["rpc"] == rpc).count();
    assert_eq!(of("AppCreate"), of("AppClientDisconnect"), "{calls:?}");
    project.apply("--yes").ran();
}
