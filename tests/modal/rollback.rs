//! Going back to an earlier version, and holding it.

use serde_json::{Value, json};

use super::Remote;
use super::support::hubbed::SPEC;
use super::support::stages::{APPLIED, Stage};

const APP: &str = "table-4c19d2-tiny";

static TWICE: Stage = Stage {
    name: "twice",
    after: Some(&APPLIED),
    change: |remote| {
        let project = &remote.hubbed.project;
        project.append(SPEC, "\n[serve]\nscaledown-window = \"7m\"\n");
        project.apply("--yes").ran();
    },
};

/// A model of which two versions were deployed.
fn twice() -> Option<Remote> {
    Remote::at(&TWICE)
}

fn verdict(remote: &Remote) -> String {
    let status = remote.hubbed.project.run("status --json").exits(0).stdout;
    let status: Value = serde_json::from_str(&status).unwrap();
    status["models"][0]["verdict"].as_str().unwrap().to_owned()
}

#[test]
fn a_model_goes_back_and_stays_there_until_it_is_released() {
    let Some(remote) = twice() else { return };
    let project = &remote.hubbed.project;
    project.run("rollback tiny").exits(64).says(&["tiny would go back to v1", "--yes"]);
    project.run("rollback tiny v9 --yes").exits(1).says(&["tiny has no v9", "there are: v1"]);
    project.run("rollback tiny v2 --yes").exits(1).says(&["v2 stands"]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);

    project.run("rollback tiny --yes").exits(0).says(&["v1 stands again, as v3", "release tiny"]);
    assert_eq!(remote.modal.changes(), ["AppRollback"]);

    // On a fresh clone too.
    remote.forget();
    let plan = project.plan("");
    assert_eq!(plan.ids("run"), [] as [&str; 0], "{}", plan.0);
    let held = plan.step("deploy:tiny")["held"].as_str().unwrap();
    assert!(held.starts_with("held at v3 by ") && held.contains("release tiny"), "{held}");
    project.run("plan").exits(0).says(&["deploy:tiny", "held at v3 by"]);
    project.run("plan -o held.plan --detailed-exitcode").exits(0);
    assert_eq!(verdict(&remote), "held");
    assert_eq!(project.apply("--yes").ran(), [] as [&str; 0]);
    assert_eq!(project.apply("--yes --replace deploy:tiny").ran(), [] as [&str; 0]);
    project.run("apply").exits(0).says(&["held at v3 by"]);
    project.run("apply --yes --no-refresh").exits(1).says(&["goatbuild::modal::held"]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);

    project.run("release tiny").exits(0).says(&["not held at v3 any more"]);
    project.run("release tiny").exits(0).says(&["nothing to release"]);
    project.run("apply held.plan").exits(3).says(&["held at v3"]);
    // No drift: what stands is known, and differs in what was edited.
    let why = ["changed serve.scaledown-window", "failed-before"];
    assert_eq!(project.plan("").why("deploy:tiny"), why);
    assert_eq!(project.apply("--yes").ran(), ["deploy:tiny", "smoke:tiny"]);
    assert_eq!(verdict(&remote), "as-specified");
}

#[test]
fn where_modal_does_not_go_back_the_kept_program_is_deployed() {
    let Some(remote) = twice() else { return };
    let project = &remote.hubbed.project;
    remote.modal.faults(&json!({"rollback_refused": [APP]}));
    remote.forget();
    project.run("rollback tiny v1 --yes").exits(0).says(&["v1 stands again, as v3"]);
    let changes = remote.modal.changes();
    assert!(changes.contains(&"AppPublish".to_owned()), "{changes:?}");
    assert!(!changes.contains(&"AppRollback".to_owned()), "{changes:?}");
    project.run("plan").exits(0).says(&["held at v3 by"]);
    // The files of the two versions are the same but for what was edited.
    let history = remote.client(&["app", "history", "--env", "goat", "--json", APP]);
    let versions: Vec<Value> = serde_json::from_str(&history).unwrap();
    assert_eq!(versions[0]["tag"], versions[2]["tag"], "{history}");
    project.run("release tiny").exits(0);
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed serve.scaledown-window"]);
}

#[test]
fn a_rollback_that_was_cut_short_is_finished_before_any_apply() {
    let Some(mut remote) = twice() else { return };
    for action in ["die_before", "die_after"] {
        let rules = json!({"rules": [{"rpc": "AppRollback", "app": APP, "action": action}]});
        remote.modal.faults(&rules);
        remote.hubbed.project.run("rollback tiny --yes").exits(1);
        remote.modal.faults(&json!({}));
        remote.modal.restart();
        let url = remote.modal.url();
        remote.hubbed.project.variable("MODAL_SERVER_URL", &url);
        let project = &remote.hubbed.project;
        // Whoever died could not give the lease back.
        project.run("unlock --yes").exits(0);
        project.run("plan").exits(0).says(&["was cut short", "rollback tiny` finishes it"]);
        assert_eq!(project.apply("--yes").ran(), [] as [&str; 0]);
        remote.modal.calls();
        let (again, says): (&[&str], _) = match action {
            "die_before" => (&["AppRollback"], "v1 stands again, as v3"),
            _ => (&[], "v5 stands; it is held"),
        };
        project.run("rollback tiny --yes").exits(0).says(&[says]);
        assert_eq!(remote.modal.changes(), again, "{action}");
        project.run("release tiny").exits(0);
        project.apply("--yes").ran();
    }
}

#[test]
fn what_was_changed_and_could_not_be_read_is_no_refusal() {
    let Some(remote) = twice() else { return };
    let project = &remote.hubbed.project;
    // Where an app answers is asked once Modal has gone back.
    let rules = json!({"rules": [{"rpc": "FunctionGet", "action": "resource_exhausted"}]});
    remote.modal.faults(&rules);
    project.run("rollback tiny --yes").exits(1).says(&["goatbuild::modal::unrecorded"]);
    assert_eq!(remote.modal.changes(), ["AppRollback"]);
    remote.modal.faults(&json!({}));
    project.run("plan").exits(0).says(&["was cut short", "rollback tiny` finishes it"]);
    project.run("rollback tiny --yes").exits(0).says(&["v3 stands; it is held"]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
}

#[test]
fn what_was_protected_otherwise_is_asked_as_it_was_deployed() {
    let Some(remote) = Remote::applied() else { return };
    let project = &remote.hubbed.project;
    project.append(SPEC, "\n[serve]\nauth = \"none\"\n");
    project.apply("--yes").ran();
    assert!(!project.read("litellm.yaml").contains("extra_headers"));
    let asked = project.run("rollback tiny").exits(64);
    asked.says(&[
        "tiny: v1 was deployed with `auth = \"proxy\"`, and its spec says \"none\"",
        "it turns away who has no proxy token",
    ]);
    project.run("rollback tiny --yes").exits(0).says(&["v1 stands again, as v3", "apply tiny"]);
    let status: Value =
        serde_json::from_str(&project.run("status --json").exits(0).stdout).unwrap();
    let model = &status["models"][0];
    assert_eq!((&model["auth"], &model["auth_wanted"]), (&json!("proxy"), &json!("none")));
    assert_eq!(model["gateway"], "drifted", "{model}");
    // It is asked with the token, and the gateway is had to, for as long as it is held.
    project.run("test tiny").exits(0);
    assert_eq!(project.apply("--yes").ran(), ["gateway:tiny"]);
    assert!(project.read("litellm.yaml").contains("extra_headers"));
    project.run("plan --detailed-exitcode").exits(0);
    project.run("release tiny").exits(0);
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed serve.auth"]);
}

#[test]
fn a_version_of_a_stopped_app_is_deployed_by_its_kept_program() {
    let Some(remote) = twice() else { return };
    let project = &remote.hubbed.project;
    remote.client(&["app", "stop", "--env", "goat", APP, "--yes"]);
    remote.modal.calls();
    project
        .run("rollback tiny --yes")
        .exits(1)
        .says(&["goatbuild::rollback::not_deployed", "it is not deployed"]);
    project.run("rollback tiny v9 --yes").exits(1).says(&["v2 was stopped; there are: v2, v1"]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
    project.run("rollback tiny v1 --yes").exits(0).says(&["v1 stands", "it is held"]);
    assert_eq!(remote.modal.changes().last().unwrap(), "AppPublish");
    remote.forget();
    project.run("plan").exits(0).says(&["held at v1 by"]);
    assert_eq!(project.apply("--yes").ran(), [] as [&str; 0]);
    project.run("test tiny").exits(0);
    project.run("release tiny").exits(0);
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed serve.scaledown-window"]);

    project.run("destroy tiny --yes --volumes").exits(0);
    project
        .run("rollback tiny v1 --yes")
        .exits(1)
        .says(&["goatbuild::rollback::not_deployed", "the program of v1 is not kept"]);
}

#[test]
fn what_is_served_on_this_machine_has_no_versions() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    project.run("rollback tiny --yes").exits(1).says(&["it is not deployed"]);
    project.edit(SPEC, "target = \"modal\"\n", "");
    project.run("rollback tiny --yes").exits(64).says(&["served on this machine"]);
    project.run("release tiny").exits(64).says(&["served on this machine"]);
    project.run("rollback other --yes").exits(64).says(&["there is no model `other`"]);
}

#[test]
fn a_spec_with_mistakes_keeps_nobody_from_going_back_or_stopping() {
    let Some(mut remote) = twice() else { return };
    let project = &remote.hubbed.project;
    let spec = project.read(SPEC);
    project.write(SPEC, &format!("imagee = 1\n{spec}"));
    project.run("plan tiny").exits(65).says(&["unknown field `imagee`"]);
    let left_out = ["which `goatbuild check` shows", "model tiny"];
    project.run("unlock").exits(0).says(&left_out).says(&["nobody has the lease"]);
    assert_eq!(verdict(&remote), "unknown");
    project.run("rollback tiny --yes").exits(0).says(&left_out).says(&["v1 stands again, as v3"]);
    project.run("release tiny").exits(0).says(&left_out).says(&["not held at v3 any more"]);
    project.run("logs tiny").exits(0);
    assert_eq!(remote.modal.changes(), ["AppRollback"]);

    // Whoever can't look doesn't say that there is nothing.
    remote.hubbed.project.variable("MODAL_TOKEN_ID", "");
    remote.hubbed.project.run("destroy tiny --yes").exits(1).says(&["tiny can't be destroyed"]);
    remote.hubbed.project.variable("MODAL_TOKEN_ID", "ak-test");
    let project = &remote.hubbed.project;
    project.run("destroy tiny --yes").exits(0).says(&["tiny: stopped"]);
    assert_eq!(remote.modal.changes(), ["AppStop"]);
}
