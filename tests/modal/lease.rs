//! Two machines at once.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;

use super::Remote;
use super::support::hubbed::SPEC;
use super::support::project::{Project, Ran, ran};
use super::support::{eventually, peers};

/// What another machine would have put there.
const HOLDER: &str = "{'id': 'other', 'host': 'elsewhere', 'pid': 7, 'command': 'apply', \
                      'run': 'https://ci.example/7', 'since': '2026-11-28T08:00:00Z', 'beat': 0}";

/// Another process namespace on a machine of this name: a container. None where that is refused.
fn contained(project: &Project, arguments: &str) -> Option<Ran> {
    let flags = ["-U", "-r", "-p", "-f", "--mount-proc"];
    let probe = Command::new("unshare").args(flags).arg("true").status();
    if !probe.is_ok_and(|status| status.success()) {
        peers::skipped("unshare", "process namespaces are refused here");
        return None;
    }
    let inside = project.command(arguments);
    let mut command = Command::new("unshare");
    command.args(flags).arg(inside.get_program()).args(inside.get_args());
    command.current_dir(inside.get_current_dir().unwrap()).stdin(Stdio::null());
    for (name, value) in inside.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Some(ran(&mut command))
}

/// Starts an apply, and waits until it begins a step.
fn working(project: &Project, step: &str) -> Child {
    let mut command = project.command("apply --yes");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(&format!("start {step}:"))));
    child
}

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

/// Gives another machine a checkout and a cache of its own.
fn copy(project: &Project) {
    let second = project.root().with_file_name("second");
    let copied = Command::new("cp").arg("-a").args([&project.root(), &second]).status().unwrap();
    assert!(copied.success());
}

#[test]
fn of_two_machines_that_apply_at_once_one_deploys() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    project.run("lock").exits(0);
    copy(project);
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
fn a_holder_in_another_process_namespace_is_not_taken_for_dead() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    project.run("lock").exits(0);
    copy(project);
    // As this process would have put it there: alive, and not to be seen from a container.
    let me = std::process::id();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap();
    let place = format!("{} {}", boot.trim(), namespace.display());
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let of = |pid: u32, place: &str| {
        HOLDER
            .replace("'elsewhere'", &format!("'{host}'"))
            .replace("'pid': 7", &format!("'pid': {pid}{place}"))
    };
    elsewhere(&remote, &format!("d.put('lease', {})", of(me, &format!(", 'place': '{place}'"))));
    let apply = "apply --yes --only weights:acme/tiny --lock-timeout 4";
    let held = format!("`apply` on {host}, process {me}");
    if let Some(refused) = contained(project, &format!("{apply} -C ../second")) {
        refused.exits(75).says(&[&held]);
    }
    // One that said no more than its machine's name may be anywhere.
    let gone = 4_194_304;
    elsewhere(&remote, &format!("d.put('lease', {})", of(gone, "")));
    project.run(apply).exits(75).says(&[&format!("process {gone}")]);
    // One that would be seen from here, and isn't, is dead.
    elsewhere(&remote, &format!("d.put('lease', {})", of(gone, &format!(", 'place': '{place}'"))));
    project.run(apply).exits(0);
}

#[test]
fn whoever_has_a_lease_that_is_broken_is_told_and_fails() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    project.run("lock").exits(0);
    let mut child = working(project, "weights");
    elsewhere(&remote, &format!("d.put('lease', {HOLDER})"));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    for words in ["goatbuild::lease::broken", "`apply` on elsewhere, process 7", "has it now"] {
        assert!(said.contains(words), "{said}");
    }
    let calls = remote.modal.calls();
    let deployed = calls.iter().any(|call| call["state"] == "APP_STATE_DEPLOYED");
    assert!(!deployed, "{calls:?}");
    // It is not given back in the other's name.
    project.run("unlock").exits(64).says(&["the lease is `apply` on elsewhere"]);
    project.run("unlock --yes").exits(0);
    // It is at work for as long as the client takes to start.
    project.append(SPEC, "\n[env]\nANSWER_SECONDS = \"6\"\n");
    let mut child = working(project, "deploy");
    elsewhere(&remote, "d.pop('lease')");
    said.clear();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("nobody has it now"), "{said}");
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
