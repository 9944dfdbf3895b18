//! Taking over what somebody deployed by hand, and going back to it.

use std::fs;

use serde_json::{Value, json};

use super::Remote;
use super::drift::deploy_by_hand;
use super::kills::{Ended, killed_by};
use super::support::hubbed::SPEC;
use super::support::stages::FETCHED;

const APP: &str = "table-4c19d2-tiny";

const OPEN: &str = "\n[serve]\nauth = \"none\"\n";

/// As a script of the team's that nobody deploys any more.
const OF_A_SCRIPT: &str = "
import modal
app = modal.App('script')
@app.function(gpu='A10G', timeout=1800, scaledown_window=600, min_containers=FEWEST)
@modal.concurrent(max_inputs=8)
@modal.web_server(8000, LABELrequires_proxy_auth=PROTECTED)
def NAME():
    pass
";

fn deploy(remote: &Remote, app: &str, replaced: &[(&str, &str)]) {
    let defaults = [("FEWEST", "0"), ("LABEL", ""), ("PROTECTED", "False"), ("NAME", "serve")];
    let mut text = OF_A_SCRIPT.to_owned();
    for (from, to) in replaced.iter().chain(&defaults) {
        text = text.replace(from, to);
    }
    let file = remote.hubbed.home.path().join("script.py");
    fs::write(&file, text).unwrap();
    remote.client(&["deploy", "--env", "goat", "--name", app, file.to_str().unwrap()]);
}

/// What the plan tells of the deployment, but for who made it.
fn told(remote: &Remote, arguments: &str) -> Vec<String> {
    let plan = remote.hubbed.project.plan(arguments);
    let reasons = plan.step("deploy:tiny")["reasons"].as_array().unwrap().clone();
    let text = |it: &Value| it.as_str().unwrap_or("nothing").to_owned();
    let words = |it: &Value| {
        let (kind, field) = (text(&it["kind"]), text(&it["field"]));
        match (&it["old"], &it["new"]) {
            (Value::Null, Value::Null) => format!("{kind} {field}"),
            (old, new) => format!("{kind} {field} {} {}", text(old), text(new)),
        }
    };
    reasons.iter().skip(1).map(words).collect()
}

/// What an apply that was refused before anything did at Modal.
fn nothing_happened(remote: &Remote) {
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
}

#[test]
fn who_may_ask_has_to_be_said_before_anything_is_taken_over() {
    let Some(remote) = Remote::at(&FETCHED) else { return };
    let project = &remote.hubbed.project;
    deploy(&remote, APP, &[]);
    remote.modal.calls();
    let line = "`auth = \"none\"` keeps it open to anyone";
    for arguments in ["plan", "plan --adopt tiny"] {
        project.run(arguments).exits(0).says(&["to take it over, its spec has to say", line]);
    }
    for arguments in ["apply --yes", "apply --yes --adopt tiny", "plan --adopt tiny -o x.plan"] {
        let refused = project.run(arguments).exits(3);
        refused.says(&["goatbuild::plan::before_adoption", line, "--adopt MODEL"]);
    }
    nothing_happened(&remote);

    // That it is about to be closed is what the plan begins with.
    project.append(SPEC, "\n[serve]\nauth = \"proxy\"\n");
    for arguments in ["plan", "plan --adopt tiny"] {
        let plan = project.run(arguments).exits(0).stdout;
        let first = plan.lines().next().unwrap();
        let wanted = "tiny becomes protected: direct callers will get 401 without a proxy token";
        assert!(first.contains(wanted), "{plan}");
    }
    project.edit(SPEC, "auth = \"proxy\"", "auth = \"none\"");
    assert!(!project.run("plan --adopt tiny").stdout.contains("401"));
    nothing_happened(&remote);

    // What is protected as the default has it, stays so.
    project.edit(SPEC, "auth = \"none\"\n", "");
    deploy(&remote, APP, &[("PROTECTED", "True")]);
    assert_eq!(project.plan("--adopt tiny").ids("conflict"), [] as [&str; 0]);
    // Where nothing tells who may, that has to be said, too.
    let served = "@modal.web_server(8000, LABELrequires_proxy_auth=PROTECTED)\n";
    deploy(&remote, APP, &[("@modal.concurrent(max_inputs=8)\n", ""), (served, "")]);
    let refused = project.run("apply --yes --adopt tiny").exits(3);
    refused.says(&["goatbuild::plan::before_adoption", "Modal doesn't tell who may now"]);
    deploy(&remote, APP, &[("PROTECTED", "True")]);
    project.append("goatbuild.toml", "\n[defaults]\nserve.auth = \"none\"\n");
    assert!(told(&remote, "").contains(&"for-clients serve.auth proxy none".to_owned()));
}

#[test]
fn a_takeover_that_is_cut_off_still_knows_what_was_there() {
    let Some(remote) = Remote::at(&FETCHED) else { return };
    let project = &remote.hubbed.project;
    deploy(&remote, APP, &[]);
    project.append(SPEC, OPEN);
    let adopt = "apply --yes --adopt tiny --lock-timeout 20";
    // It is deployed, and killed before it could write that down.
    let publishes = |app: &str| {
        let calls = remote.modal.calls();
        let is = |call: &&Value| call["rpc"] == "AppPublish" && call["app"] == app;
        calls.iter().filter(is).count()
    };
    remote.modal.calls();
    let rule = json!({"rpc": "AppPublish", "app": APP, "nth": 1, "action": "kill_after"});
    assert_eq!(killed_by(&remote, adopt, rule), Ended::Killed);
    assert_eq!(publishes(APP), 1);
    project.apply("--yes --adopt tiny").ran();
    let kept = remote.modal.volume("table-4c19d2-model-cache").join(".goatbuild");
    let texts = fs::read_dir(kept).unwrap().flatten();
    let texts = texts.filter_map(|file| fs::read_to_string(file.path()).ok());
    let kept = texts.filter_map(|text| serde_json::from_str::<Value>(&text).ok());
    let adopted: Vec<Value> = kept.map(|kept| kept["adopted"]["tiny"].clone()).collect();
    assert!(adopted.contains(&json!({"version": 1, "auth": "none"})), "{adopted:?}");
}

#[test]
fn what_taking_over_an_app_would_change_is_told_field_by_field() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    deploy(&remote, APP, &[]);
    project.append(SPEC, "\n[hardware]\ngpu = \"H100\"\n[serve]\nauth = \"proxy\"\n");
    project.append(
        "goatbuild.toml",
        "\n[gpu]\nA10G = { vram-gib = 24, usd-per-hour = 1.10 }\n\
         H100 = { vram-gib = 80, usd-per-hour = 4.50 }\n",
    );
    let names = "for-clients it answers to tiny; what it answers to now Modal doesn't tell";
    let command = "for-the-engine its image and command line, which Modal doesn't tell: `goatbuild \
                   show tiny --command` prints what starts instead";
    let back = "way-back `goatbuild rollback tiny v1`, where Modal allows that, which it tells only \
                once there is another version; otherwise whoever deployed it has to do so again";
    let wanted = [
        names,
        "for-clients serve.auth none proxy",
        "for-the-engine serve.max-inputs 8 32",
        "for-the-engine serve.timeout 1800s 3600s",
        // Of `web_server` itself, whose default is 5 s; the function's is its `timeout`.
        "for-the-engine serve.startup-timeout 5s 600s",
        "for-money hardware.gpu A10G H100",
        "for-money price of its GPUs per hour $1.10 $4.50",
        "for-money serve.scaledown-window 600s 300s",
        command,
        back,
    ];
    assert_eq!(told(&remote, ""), wanted);
    assert_eq!(told(&remote, "--adopt tiny")[..wanted.len()], wanted);
    project.run("plan").says(&["in the way: the app", "for clients: serve.auth: none → proxy"]);

    // Another function has another address, as has one with a label; and Modal may go back or not.
    deploy(&remote, APP, &[("NAME", "vllm"), ("FEWEST", "1")]);
    let reasons = told(&remote, "");
    let url = "https://phare-goat--table-4c19d2-tiny-serve.modal.run/v1";
    let address = reasons.iter().find(|it| it.starts_with("for-clients url http")).unwrap();
    assert!(address.ends_with(&format!("/v1 {url}")), "{reasons:?}");
    assert!(
        reasons.contains(&"for-money serve.min-containers 1 nothing".to_owned()),
        "{reasons:?}"
    );
    assert!(
        reasons.last().unwrap().contains("rollback tiny v2`, as Modal goes back"),
        "{reasons:?}"
    );
    deploy(&remote, APP, &[("LABEL", "label='llm', ")]);
    remote.modal.faults(&json!({"rollback_refused": [APP]}));
    let reasons = told(&remote, "");
    assert!(reasons.iter().any(|it| it.starts_with("for-clients url http")), "{reasons:?}");
    let last = reasons.last().unwrap();
    assert!(last.starts_with("way-back none here, since Modal doesn't go back"), "{last}");
}

#[test]
fn what_was_taken_over_is_had_back_and_held() {
    let Some(remote) = Remote::at(&FETCHED) else { return };
    let project = &remote.hubbed.project;
    deploy_by_hand(&remote, APP);
    project.append(SPEC, OPEN);
    remote.modal.calls();
    let candidate = "tried out as a candidate first";
    project.run("plan --adopt tiny").exits(0).says(&[candidate]);
    project.apply("--yes --adopt tiny").ran();
    let published = remote.modal.calls().into_iter().filter(|call| call["rpc"] == "AppPublish");
    let published: Vec<Value> = published.map(|call| call["app"].clone()).collect();
    assert_eq!(published, [json!(format!("{APP}-next")), json!(APP)]);
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);
    project.run("rollback tiny").exits(64).says(&["tiny would go back to v1"]);

    project.edit(SPEC, "auth = \"none\"", "auth = \"proxy\"");
    let went = project.run("rollback tiny --yes").exits(0);
    went.says(&[
        "v1 was deployed with `auth = \"none\"`, and its spec says \"proxy\"",
        "v1 stands again, as v3",
    ]);
    assert_eq!(remote.modal.changes(), ["AppRollback"]);
    remote.forget();
    project.run("plan").exits(0).says(&["held at v3 by"]);
    assert_eq!(project.apply("--yes").ran(), [] as [&str; 0], "it is asked as it wants to be");
    assert!(
        !project.read("litellm.yaml").contains("Modal-Key"),
        "{}",
        project.read("litellm.yaml")
    );
    project.run("status").exits(0).says(&["auth none: open to anyone, wanted auth proxy"]);
    nothing_happened(&remote);

    project.run("release tiny").exits(0);
    let plan = project.plan("");
    assert_eq!(plan.why("deploy:tiny")[0], "drift version", "{}", plan.0);
}

#[test]
fn what_was_taken_over_stands_again_when_the_new_fails_its_smoke_test() {
    let Some(remote) = Remote::at(&FETCHED) else { return };
    let project = &remote.hubbed.project;
    deploy_by_hand(&remote, APP);
    project.append(SPEC, &format!("{OPEN}rollout = \"in-place\"\n[env]\nMODE = \"mute\"\n"));
    remote.modal.calls();
    let failed = project.run("apply --yes --adopt tiny").exits(1);
    failed.says(&["goatbuild::smoke::went_back", "tiny went back to v1, which stands as v3"]);
    assert_eq!(remote.modal.changes().last().unwrap(), "AppRollback");
    let plan = project.plan("");
    assert_eq!(plan.ids("conflict"), ["deploy:tiny"], "it is theirs again");
    // Where Modal doesn't go back, nothing that failed is left to be asked.
    remote.modal.faults(&json!({"rollback_refused": [APP]}));
    let failed = project.run("apply --yes --adopt tiny").exits(1);
    failed.says(&["goatbuild::smoke::stopped"]);
}

#[test]
fn an_app_of_another_spelling_has_the_same_address_and_is_in_the_way() {
    let Some(remote) = Remote::at(&FETCHED) else { return };
    let project = &remote.hubbed.project;
    let spec = project.read(SPEC);
    project.write("specs/tiny-3.1.toml", &spec);
    deploy(&remote, &format!("{APP}-3-1"), &[]);
    remote.modal.calls();
    let plan = project.plan("tiny-3.1");
    assert_eq!(plan.ids("conflict"), ["deploy:tiny-3.1"], "{}", plan.0);
    for arguments in ["apply --yes tiny-3.1", "apply --yes tiny-3.1 --adopt tiny-3.1"] {
        let refused = project.run(arguments).exits(3);
        refused.says(&[
            "the app table-4c19d2-tiny-3-1, deployed as v1",
            "whose address is that of table-4c19d2-tiny-3.1: two spellings of one name",
            "modal app stop --env goat table-4c19d2-tiny-3-1",
        ]);
    }
    nothing_happened(&remote);
    remote.client(&["app", "stop", "--env", "goat", &format!("{APP}-3-1"), "--yes"]);
    assert_eq!(project.plan("tiny-3.1").ids("conflict"), [] as [&str; 0]);
}
