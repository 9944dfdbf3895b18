//! What fails its smoke test is taken back.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use super::Remote;
use super::support::eventually;
use super::support::hubbed::SPEC;
use super::support::stages::{FETCHED, Stage};

const APP: &str = "table-4c19d2-tiny";

/// A deployment replaced, and what that takes at Modal.
const DEPLOYED: [&str; 2] = ["FunctionCreate", "AppPublish"];

static PASSED: Stage = Stage {
    name: "passed",
    after: Some(&FETCHED),
    change: |remote| {
        let project = &remote.hubbed.project;
        project.append(SPEC, "\n[env]\nMODE = \"\"\n");
        project.apply("--yes").ran();
    },
};

/// A model that was deployed and passed.
fn passed() -> Option<Remote> {
    Remote::at(&PASSED)
}

fn mode(remote: &Remote, from: &str, to: &str) {
    let line = |mode: &str| format!("MODE = \"{mode}\"");
    remote.hubbed.project.edit(SPEC, &line(from), &line(to));
}

fn status(remote: &Remote) -> Value {
    let status = remote.hubbed.project.run("status --json").exits(0).stdout;
    let status: Value = serde_json::from_str(&status).unwrap();
    status["models"][0].clone()
}

/// Starts an apply, and waits until it tries out what it has deployed.
fn trying(remote: &Remote) -> Child {
    let before = remote.modal.starts();
    let mut command = remote.hubbed.project.command("apply --yes");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("start smoke:tiny")));
    // Whoever reads no more must not end it.
    std::thread::spawn(move || lines.for_each(drop));
    eventually("its engine starts", || remote.modal.starts() > before);
    child
}

fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(id, signal).unwrap();
}

#[test]
fn what_answers_wrongly_makes_way_for_what_had_passed() {
    let Some(remote) = passed() else { return };
    let project = &remote.hubbed.project;
    let gateway = project.read("litellm.yaml");
    mode(&remote, "", "mute");
    let failed = project.run("apply --yes").exits(1);
    failed.says(&[
        "goatbuild::smoke::went_back",
        "answered HTTP 500: out of words; tiny went back to v1, which stands as v3",
        "goatbuild logs tiny",
    ]);
    assert_eq!(remote.modal.changes(), [&DEPLOYED[..], &["AppRollback"]].concat());
    assert_eq!(project.read("litellm.yaml"), gateway);

    // Nothing is held, and a fresh clone knows what failed.
    for _ in 0..2 {
        let plan = project.plan("");
        assert_eq!(plan.why("deploy:tiny"), ["changed env.MODE", "failed-before"], "{}", plan.0);
        remote.forget();
    }
    let model = status(&remote);
    assert_eq!((&model["version"], &model["verdict"]), (&3.into(), &"differs".into()), "{model}");
    // Nobody means what failed, unless by its number.
    let none = project.run("rollback tiny --yes").exits(1);
    none.says(&["tiny has no version to go back to", "there are: v2"]);
    // What stands is what had passed: nothing is asked of it again.
    mode(&remote, "mute", "");
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);
    assert_eq!(project.apply("").ran(), [] as [&str; 0]);
    assert_eq!(status(&remote)["verdict"], "as-specified");

    // Whoever asks for it again gets it tried again.
    mode(&remote, "", "mute");
    remote.modal.calls();
    project.run("apply --yes").exits(1).says(&["tiny went back to v3, which stands as v5"]);
    assert_eq!(remote.modal.changes(), [&DEPLOYED[..], &["AppRollback"]].concat());
    // Something else that passes ends what is remembered.
    mode(&remote, "mute", "mumbling");
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed env.MODE"]);
    assert_eq!(project.apply("--yes").ran(), ["deploy:tiny", "smoke:tiny"]);
    mode(&remote, "mumbling", "mute");
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed env.MODE"]);
}

#[test]
fn where_nothing_had_passed_the_app_is_stopped() {
    let Some(remote) = Remote::at(&FETCHED) else { return };
    let project = &remote.hubbed.project;
    project.append(SPEC, "\n[env]\nMODE = \"stuck\"\n\n[serve]\nstartup-timeout = \"5s\"\n");
    let gateway = project.read("litellm.yaml");
    let failed = project.run("apply --yes").exits(1);
    failed.says(&[
        "goatbuild::smoke::stopped",
        "did not start in 5 s",
        "tiny was stopped, since there is nothing to go back to",
    ]);
    assert_eq!(remote.modal.changes().last().unwrap(), "AppStop");
    assert_eq!(project.read("litellm.yaml"), gateway);
    project.run("logs tiny").exits(0).says(&["starting stuck"]);
    assert_eq!(project.plan("").why("deploy:tiny"), ["first", "failed-before"]);
    remote.forget();
    assert_eq!(project.plan("").why("deploy:tiny"), ["first", "failed-before"]);
    project.run("status").exits(0).says(&["tiny", "absent"]);
    mode(&remote, "stuck", "");
    assert_eq!(project.plan("").why("deploy:tiny"), ["first"]);
    let ran = project.apply("--yes").ran();
    assert_eq!(ran, ["deploy:tiny", "gateway:tiny", "smoke:tiny"]);
}

#[test]
fn where_modal_does_not_go_back_the_program_that_had_passed_is_deployed() {
    let Some(remote) = passed() else { return };
    let project = &remote.hubbed.project;
    remote.modal.faults(&json!({"rollback_refused": [APP]}));
    mode(&remote, "", "mute");
    remote.forget();
    project.run("apply --yes").exits(1).says(&["tiny went back to v1, which stands as v3"]);
    let changes = remote.modal.changes();
    assert_eq!(changes.iter().filter(|it| *it == "AppPublish").count(), 2, "{changes:?}");
    assert!(!changes.contains(&"AppRollback".to_owned()), "{changes:?}");
    mode(&remote, "mute", "");
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);
}

#[test]
fn nothing_goes_back_to_what_somebody_went_away_from() {
    let Some(remote) = passed() else { return };
    let project = &remote.hubbed.project;
    mode(&remote, "", "mumbling");
    project.apply("--yes").ran();
    project.run("rollback tiny --yes").exits(0).says(&["v1 stands again, as v3"]);
    project.run("release tiny").exits(0);
    mode(&remote, "mumbling", "mute");
    project.run("apply --yes").exits(1).says(&["tiny went back to v3, which stands as v5"]);
    let history = remote.client(&["app", "history", "--env", "goat", "--json", APP]);
    let versions: Vec<Value> = serde_json::from_str(&history).unwrap();
    assert_eq!(versions[0]["tag"], versions[4]["tag"], "{history}");
    // Once more: what had passed is known to have.
    project.run("apply --yes").exits(1).says(&["tiny went back to v5, which stands as v7"]);
    mode(&remote, "mute", "");
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);
}

#[test]
fn what_is_no_fault_of_the_deployment_takes_nothing_back() {
    let Some(remote) = passed() else { return };
    let project = &remote.hubbed.project;
    // A start has its time, in which nobody may be there.
    project.append(SPEC, "\n[serve]\nstartup-timeout = \"20s\"\n");
    // Modal's client asks Modal directly; the deployment is asked through a proxy that isn't there.
    let url = remote.modal.url().replace("127.0.0.1", "localhost");
    let refused = remote.hubbed.project.run_with(
        "apply --yes",
        &[
            ("HTTP_PROXY", "http://127.0.0.1:9"),
            ("NO_PROXY", "localhost"),
            ("MODAL_SERVER_URL", &url),
        ],
    );
    refused.exits(1).says(&[
        "goatbuild::smoke::not_reached",
        "tiny stands as it is: nobody knows whether it is at fault",
    ]);
    assert_eq!(remote.modal.changes(), DEPLOYED);
    let project = &remote.hubbed.project;
    let wrong = project.run_with("apply --yes", &[("MODAL_PROXY_SECRET", "ws-wrong")]);
    wrong.exits(1).says(&["goatbuild::smoke::denied", "MODAL_PROXY_KEY and MODAL_PROXY_SECRET"]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
    let plan = project.plan("");
    assert_eq!(plan.ids("run"), ["smoke:tiny"], "{}", plan.0);
    assert_eq!(plan.why("smoke:tiny"), ["changed instance", "failed-before"]);
    assert_eq!(project.apply("--yes").ran(), ["smoke:tiny"]);

    // Neither does whoever changes their mind.
    mode(&remote, "", "stuck");
    let mut child = trying(&remote);
    signal(&child, nix::sys::signal::Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(remote.modal.changes(), DEPLOYED);
    assert_eq!(status(&remote)["verdict"], "untested");
}

#[test]
fn whoever_dies_before_it_is_taken_back_leaves_that_to_the_next_apply() {
    let Some(mut remote) = passed() else { return };
    mode(&remote, "", "mute");
    // Modal dies before it has gone back, or before it has told that; goatbuild while it tries out.
    for (action, before, after) in [("die_before", 2, 3), ("die_after", 5, 7)] {
        let rules = json!({"rules": [{"rpc": "AppRollback", "app": APP, "action": action}]});
        remote.modal.faults(&rules);
        let failed = remote.hubbed.project.run("apply --yes").exits(1);
        failed.says(&["goatbuild::smoke::not_taken_back", "tiny stands as it is"]);
        remote.modal.faults(&json!({}));
        remote.modal.restart();
        let url = remote.modal.url();
        remote.hubbed.project.variable("MODAL_SERVER_URL", &url);
        let project = &remote.hubbed.project;
        project.run("unlock --yes").exits(0);
        assert_eq!(status(&remote)["version"], before, "{action}");
        let again = project.run("apply --yes").exits(1);
        again.says(&[&format!("which stands as v{after}")]);
        assert_eq!(project.plan("").why("deploy:tiny"), ["changed env.MODE", "failed-before"]);
    }
    let pid_file = remote.hubbed.home.path().join("apply.pid");
    let mut child = remote.hubbed.project.command("apply --yes").spawn().unwrap();
    fs::write(&pid_file, child.id().to_string()).unwrap();
    let kill = json!({"rpc": "AppRollback", "action": "kill_before", "pid_file": pid_file});
    remote.modal.faults(&json!({"rules": [kill]}));
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    remote.modal.faults(&json!({}));
    let project = &remote.hubbed.project;
    assert_eq!(status(&remote)["verdict"], "untested");
    remote.modal.calls();
    project.run("apply --yes").exits(1).says(&["tiny went back to v7, which stands as v9"]);
    assert_eq!(remote.modal.changes(), ["AppRollback"]);
}
