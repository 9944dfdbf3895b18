//! What others do at Modal.

use std::fs;

use super::Remote;
use super::support::hubbed::SPEC;
use super::support::stages::FETCHED;

const APP: &str = "table-4c19d2-tiny";

/// An app that somebody deploys by hand.
const BY_HAND: &str = "
import modal
app = modal.App('by-hand')
@app.function()
@modal.web_server(8000)
def serve():
    import subprocess
    subprocess.Popen(['python', '-m', 'http.server', '8000'])
";

pub(super) fn deploy_by_hand(remote: &Remote, app: &str) {
    let file = remote.hubbed.home.path().join("by_hand.py");
    fs::write(&file, BY_HAND).unwrap();
    remote.client(&["deploy", "--env", "goat", "--name", app, file.to_str().unwrap()]);
}

#[test]
fn what_others_did_to_an_app_of_ours_is_drift() {
    let Some(remote) = Remote::applied() else { return };
    let project = &remote.hubbed.project;
    deploy_by_hand(&remote, APP);
    let plan = project.plan("");
    assert_eq!(plan.why("deploy:tiny"), ["drift version"]);
    let reason = &plan.step("deploy:tiny")["reasons"][0];
    assert_eq!(reason["old"], "v1");
    assert!(reason["new"].as_str().unwrap().starts_with("v2 by "), "{reason}");
    assert_eq!(project.apply("--yes").ran(), ["deploy:tiny", "smoke:tiny"]);

    remote.client(&["app", "stop", "--env", "goat", APP, "--yes"]);
    let plan = project.plan("");
    assert_eq!(plan.why("deploy:tiny"), ["drift app"]);
    project.apply("--yes").ran();

    // All that goatbuild keeps is gone with the volume; the app tells itself whose it is.
    remote.client(&["volume", "delete", "--env", "goat", "table-4c19d2-model-cache", "--yes"]);
    let plan = project.plan("");
    assert_eq!(plan.why("deploy:tiny")[0], "drift record");
    assert_eq!(plan.step("weights:acme/tiny")["action"], "run");
    remote.modal.calls();
    let ran = project.apply("--yes").ran();
    assert!(ran.contains(&"weights:acme/tiny".to_owned()), "{ran:?}");
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);
}

#[test]
fn an_app_of_somebody_else_is_taken_over_only_when_asked_to() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    deploy_by_hand(&remote, APP);
    let plan = project.plan("");
    assert_eq!(plan.ids("conflict"), ["deploy:tiny"]);
    let reason = &plan.step("deploy:tiny")["reasons"][0];
    let owner = reason["field"].as_str().unwrap();
    assert!(owner.starts_with("the app table-4c19d2-tiny, deployed as v1 by "), "{owner}");
    project.run("status").exits(0).says(&["something of somebody else is in its place"]);
    remote.modal.calls();
    project.run("apply --yes").exits(3).says(&["`goatbuild apply --adopt MODEL` deploys over it"]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);

    project.append(SPEC, "\n[serve]\nauth = \"proxy\"\nrollout = \"in-place\"\n");
    let ran = project.apply("--yes --adopt tiny").ran();
    assert!(ran.contains(&"deploy:tiny".to_owned()), "{ran:?}");
    // Without a stop between.
    assert!(!remote.modal.changes().contains(&"AppStop".to_owned()));
    assert_eq!(project.plan("").ids("conflict"), [] as [&str; 0]);
}

#[test]
fn a_deployment_after_the_plan_is_not_replaced() {
    let Some(remote) = Remote::applied() else { return };
    let project = &remote.hubbed.project;
    project.append(SPEC, "\n[serve]\nscaledown-window = \"7m\"\n");
    project.run("plan -o edit.plan").exits(0);
    deploy_by_hand(&remote, APP);
    project.run("apply edit.plan").exits(3).says(&["deploy:tiny"]);
}

#[test]
fn a_volume_that_was_deleted_and_made_again_is_another() {
    let Some(remote) = Remote::at(&FETCHED) else { return };
    let project = &remote.hubbed.project;
    project.edit(SPEC, "[engine]", "[hardware]\ngpu = \"H100\"\n\n[engine]");
    project.edit(SPEC, "name = \"command\"", "name = \"command\"\ncompiles = true");
    project.append(SPEC, "\n[env]\nCOMPILE = \"once\"\n");
    project.apply("--yes").ran();
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);
    // One that has no receipts: only its id tells.
    let volume = "table-4c19d2-flashinfer-cache";
    let again = |arguments: &[&str]| remote.client(&[&["volume"], arguments].concat());
    again(&["delete", "--env", "goat", volume, "--yes"]);
    let gone = project.plan("");
    assert_eq!(gone.why("deploy:tiny"), [format!("drift volume {volume}")]);
    again(&["create", "--env", "goat", volume]);
    let plan = project.plan("");
    assert_eq!(plan.why("deploy:tiny"), [format!("drift volume {volume}")]);
    let reason = &plan.step("deploy:tiny")["reasons"][0];
    assert!(reason["old"].as_str().unwrap().starts_with("vo-"), "{reason}");
    assert_eq!(plan.ids("run"), ["deploy:tiny", "warmup:tiny"]);
    assert_eq!(project.apply("--yes").ran(), ["deploy:tiny", "smoke:tiny", "warmup:tiny"]);
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);
}
