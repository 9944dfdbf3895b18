//! Candidates, which go before what is deployed.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::Remote;
use super::drift::deploy_by_hand;
use super::support::eventually;
use super::support::hubbed::SPEC;
use super::support::stages::FETCHED;

const APP: &str = "table-4c19d2-tiny";

const NEXT: &str = "table-4c19d2-tiny-next";

/// What a candidate takes that is not followed by a deployment.
const ALONE: [&str; 3] = ["FunctionCreate", "AppPublish", "AppStop"];

/// A model whose image and weights are there, and whose deployments begin with a candidate.
fn prepared(mode: &str) -> Option<Remote> {
    let remote = Remote::at(&FETCHED)?;
    let project = &remote.hubbed.project;
    project.append(SPEC, &format!("\n[env]\nMODE = \"{mode}\"\n"));
    project.append(SPEC, "\n[serve]\nrollout = \"candidate\"\nmin-containers = 1\n");
    Some(remote)
}

fn mode(remote: &Remote, from: &str, to: &str) {
    let line = |mode: &str| format!("MODE = \"{mode}\"");
    remote.hubbed.project.edit(SPEC, &line(from), &line(to));
}

/// Starts an apply, and waits until it tries out its candidate.
fn trying(remote: &Remote) -> Child {
    let before = remote.modal.starts();
    let mut command = remote.hubbed.project.command("apply --yes");
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("a candidate", || remote.modal.has_been_asked("AppPublish"));
    eventually("its engine starts", || remote.modal.starts() > before);
    child
}

fn signal(child: &Child, signal: Signal) {
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(id, signal).unwrap();
}

#[test]
fn a_candidate_goes_first_and_what_it_fails_at_never_reaches_what_stands() {
    let Some(remote) = prepared("") else { return };
    let project = &remote.hubbed.project;
    project.run("plan").exits(0).says(&["tried out as a candidate first, for one more cold start"]);
    let ran = project.apply("--yes").ran();
    assert_eq!(ran, ["deploy:tiny", "gateway:tiny", "smoke:tiny"]);
    let calls = remote.modal.calls();
    let of = |rpc: &str, field: &str| -> Vec<Value> {
        let calls = calls.iter().filter(|call| call["rpc"] == rpc);
        calls.map(|call| call[field].clone()).collect()
    };
    assert_eq!(of("AppPublish", "app"), [NEXT, APP]);
    assert_eq!(of("AppStop", "app"), [NEXT]);
    assert_eq!(of("FunctionCreate", "min_containers"), [0, 1]);
    assert!(!project.read("litellm.yaml").contains("next"), "{}", project.read("litellm.yaml"));

    // How it is done is no reason to do it.
    project.edit(SPEC, "rollout = \"candidate\"\n", "");
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);
    project.run("plan -o same.plan").exits(0);
    project.edit(SPEC, "[serve]\n", "[serve]\nrollout = \"candidate\"\n");
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);
    project.run("apply same.plan").exits(3).says(&["serve.rollout of tiny"]);

    mode(&remote, "", "mute");
    project.run("apply --yes").exits(1).says(&[
        "goatbuild::smoke::candidate",
        "answered HTTP 500: out of words; the candidate of tiny was stopped, and what stands was not \
         touched",
    ]);
    assert_eq!(remote.modal.changes(), ALONE);
    project.run("logs deploy:tiny").exits(0).says(&["starting mute"]);
    remote.forget();
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed env.MODE", "failed-before"]);
    mode(&remote, "mute", "");
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);

    // A start of its own, which costs.
    project.edit(SPEC, "[engine]", "[hardware]\ngpu = \"H100\"\n\n[engine]");
    project.run("apply --yes --max-cost 1 --max-monthly 3000").exits(3).says(&[
        "deploy:tiny $1.57",
        "smoke:tiny $2.75",
        "this may cost up to $4.32",
    ]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
}

#[test]
fn a_candidate_that_was_left_is_stopped_by_whoever_comes_next() {
    let Some(remote) = prepared("stuck") else { return };
    let project = &remote.hubbed.project;
    // Ctrl-C leaves none, and blames nobody.
    let mut child = trying(&remote);
    signal(&child, Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(remote.modal.changes(), ALONE);
    assert_eq!(project.plan("").why("deploy:tiny"), ["first"]);

    let mut child = trying(&remote);
    signal(&child, Signal::SIGKILL);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    remote.modal.calls();
    let plan = project.plan("");
    assert_eq!(plan.ids("conflict"), [] as [&str; 0], "{}", plan.0);
    project.run("plan").exits(0).says(&["table-4c19d2-tiny-next is up, left of an apply"]);
    project.run("destroy tiny --yes").exits(0).says(&["tiny-next is up", "tiny: stopped"]);
    assert_eq!(remote.modal.changes(), ["AppStop"]);
    project.run("destroy tiny --yes").exits(0).says(&["nothing to destroy"]);

    // So is one of a model that has none any more.
    let mut child = trying(&remote);
    signal(&child, Signal::SIGKILL);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    remote.modal.calls();
    mode(&remote, "stuck", "");
    project.edit(SPEC, "rollout = \"candidate\"\n", "");
    project.run("unlock --yes").exits(0);
    project.apply("--yes").ran();
    assert_eq!(remote.modal.changes(), ALONE);
    let status = project.run("status").exits(0).stdout;
    assert!(!status.contains("next"), "{status}");
}

#[test]
fn a_candidate_that_can_t_be_tried_is_not_deployed() {
    let Some(remote) = prepared("") else { return };
    let project = &remote.hubbed.project;
    let unset = [("MODAL_PROXY_SECRET", "")];
    let only = project.run_with("apply --yes --only deploy:tiny", &unset);
    only.exits(1).says(&["goatbuild::smoke::no_key", "MODAL_PROXY_SECRET is not set"]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
    let denied = project.run_with("apply --yes", &[("MODAL_PROXY_SECRET", "ws-wrong")]);
    denied.exits(1).says(&["goatbuild::smoke::denied"]);
    assert_eq!(remote.modal.changes(), ALONE);
    remote.forget();
    assert_eq!(project.plan("").why("deploy:tiny"), ["first"]);

    deploy_by_hand(&remote, NEXT);
    remote.modal.calls();
    project.run("apply --yes").exits(1).says(&[
        "goatbuild::modal::candidate_taken",
        "the app table-4c19d2-tiny-next, where a candidate would be tried out, is somebody else's",
    ]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
    project.run("destroy tiny --yes").exits(0).says(&["nothing to destroy"]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
}
