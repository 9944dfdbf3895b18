//! What goes wrong at Modal, and what is left then.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Remote;
use super::support::hubbed::{SPEC, TOKEN};
use super::support::stages::FETCHED;

const APP: &str = "table-4c19d2-tiny";

#[test]
fn without_credentials_a_plan_says_what_nobody_looked_at_and_an_apply_fails_at_once() {
    let Some(mut remote) = Remote::new() else { return };
    let project = &mut remote.hubbed.project;
    project.variable("MODAL_TOKEN_ID", "");
    let plan = project.plan("");
    assert_eq!(plan.ids("fresh"), [] as [&str; 0]);
    for step in plan.0["steps"].as_array().unwrap() {
        let at_modal = step["kind"] != "gateway";
        assert_eq!(step["observed"], !at_modal, "{step}");
    }
    project.run("plan").exits(0).says(&["no credentials for Modal", "modal token new"]);
    project.run("apply --yes").exits(1).says(&["goatbuild::modal::no_credentials"]);
    project.run("plan --require-observed").exits(3);
    assert_eq!(remote.modal.calls(), [] as [serde_json::Value; 0]);
}

#[test]
fn nobody_is_asked_where_nobody_can_answer() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    remote.modal.calls();
    project.run("apply").exits(64).says(&["this deploys tiny", "--yes"]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
    project.edit(SPEC, "[engine]", "[hardware]\ngpu = \"H100\"\n\n[engine]");
    // Weights of unknown size have as long as Modal lets a function run.
    project.run("apply --yes --max-cost 6").exits(3).says(&["weights:acme/tiny $5.29"]);
    project.run("lock").exits(0);
    // A start may take ten minutes, requests ten more, and the replica stays for five. The weights
    // have half an hour, and an image one: four cores and 4 GiB. A replica may use 16 cores beyond what it
    // reserves, $0.76 an hour.
    project.run("apply --yes --max-cost 1.9").exits(3).says(&[
        "this may cost up to $2.29",
        "--max-cost allows $1.90",
        "weights:acme/tiny $0.11",
        "image:tiny $0.22",
        "smoke:tiny $1.96",
    ]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
    // What Modal sets no limit to is said to be in no bound.
    let beside = "as slow as it may be, not counting memory used beyond what is reserved";
    project.run("apply").exits(64).says(&["up to $2.29", beside]);
    // What stays up though nobody asks is told by the month, everywhere.
    project.append(SPEC, "\n[serve]\nmin-containers = 2\nbuffer-containers = 1\n");
    project.run("plan").exits(0).says(&[
        "always on: 2 × H100 ≈ $5,767 a month",
        "while somebody asks: 1 × H100 in reserve",
    ]);
    assert_eq!(project.plan("").0["models"][0]["always_on"]["usd_per_month"], 5767.0);
    project.run("apply").exits(64).says(&["leaves always on: tiny 2 × H100 ≈ $5,767 a month"]);
    project
        .run("apply --yes --max-cost 50")
        .exits(3)
        .says(&["goatbuild::plan::always_on", "--max-monthly USD"]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
}

#[test]
fn modal_s_own_refusals_say_what_to_do() {
    let Some(mut remote) = Remote::new() else { return };
    let project = &mut remote.hubbed.project;
    project.edit("goatbuild.toml", "workspace = \"phare\"", "workspace = \"other\"");
    project
        .run("apply --yes")
        .exits(1)
        .says(&["the workspace phare, and the project is for other", "MODAL_PROFILE"]);
    project.edit("goatbuild.toml", "workspace = \"other\"", "");
    remote.modal.faults(&json!({"image_build_failure": "no space left on builder"}));
    project
        .run("apply --yes --only image:tiny")
        .exits(1)
        .says(&["image:tiny", "no space left on builder"]);
    remote.modal.faults(&json!({}));
    project.append("goatbuild.toml", "api-key-secret = \"nowhere\"\n");
    project.append(SPEC, "\n[serve]\nauth = \"api-key\"\n");
    project.run("apply --yes").exits(1).says(&["nowhere", "modal secret create"]);
    project.edit("goatbuild.toml", "api-key-secret = \"nowhere\"\n", "");
    project.edit(SPEC, "\n[serve]\nauth = \"api-key\"\n", "");
    project.variable("MODAL_TOKEN_SECRET", "as-wrong");
    project.run("plan").exits(0).says(&["Modal refused the credentials"]);
    project.run("apply --yes").exits(3).says(&["Modal refused the credentials"]);
    project.variable("MODAL_TOKEN_SECRET", "as-test");
    project.variable("MODAL_SERVER_URL", "http://127.0.0.1:9");
    let began = Instant::now();
    project.run("apply --yes").exits(3).says(&["Modal could not be reached"]);
    assert!(began.elapsed() < Duration::from_secs(50));
}

#[test]
fn what_is_in_another_workspace_is_neither_seen_nor_touched() {
    let Some(remote) = Remote::applied() else { return };
    let project = &remote.hubbed.project;
    project.edit("goatbuild.toml", "workspace = \"phare\"", "workspace = \"phara\"");
    let words = "the workspace phare, and the project is for phara";
    project.run("plan --require-observed").exits(3).says(&[words]);
    remote.modal.calls();
    for command in ["destroy tiny --yes", "apply --yes --prune", "rollback tiny --yes"] {
        let ran = project.run(command).says(&[words]);
        assert_ne!(ran.code, 0, "{command}");
    }
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
}

#[test]
fn times_that_modal_does_not_take_are_mistakes_in_the_spec() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    let spec = project.read(SPEC);
    for line in ["scaledown-window = \"3h\"", "timeout = \"25h\""] {
        project.write(SPEC, &format!("{spec}\n[serve]\n{line}\n"));
        project.run("plan").exits(65).says(&["on Modal, at least", SPEC]);
    }
}

#[test]
fn a_death_in_the_middle_of_a_deployment_is_taken_up() {
    let Some(mut remote) = Remote::at(&FETCHED) else { return };
    for action in ["die_before", "die_after"] {
        remote
            .modal
            .faults(&json!({"rules": [{"rpc": "AppPublish", "app": APP, "action": action}]}));
        let failed = remote.hubbed.project.apply("--yes");
        assert_eq!(failed.code, 1, "{action}: {}", failed.stderr);
        assert_eq!(failed.ids("failed"), ["deploy:tiny"], "{action}: {}", failed.stderr);
        remote.modal.faults(&json!({}));
        remote.modal.restart();
        let url = remote.modal.url();
        remote.hubbed.project.variable("MODAL_SERVER_URL", &url);
        let project = &remote.hubbed.project;
        let ran = project.apply("--yes").ran();
        assert!(ran.contains(&"deploy:tiny".to_owned()), "{action}: {ran:?}");
        assert_eq!(project.plan("").ids("run"), [] as [&str; 0], "{action}");
        // As an undisturbed apply would have left it: one version.
        let history = remote.client(&["app", "history", "--env", "goat", "--json", APP]);
        let versions: Vec<serde_json::Value> = serde_json::from_str(&history).unwrap();
        assert_eq!(versions.len(), 1, "{action}: {history}");
        project.run("destroy tiny --yes").exits(0);
    }
}

#[test]
fn gated_weights_are_fetched_with_the_secret_that_only_their_function_has() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    project.run("lock").exits(0);
    remote.hubbed.hub.restrict(TOKEN, true);
    let place = "apply --yes --only weights:acme/tiny";
    project.run(place).exits(1).says(&["goatbuild::modal::weights", "hf-secret"]);
    project.append("goatbuild.toml", "hf-secret = \"hub\"\n");
    let pair = format!("HF_TOKEN={TOKEN}");
    remote.client(&["secret", "create", "--env", "goat", "hub", &pair]);
    project.run(place).exits(1).says(&["ask for access", "the Modal secret hub"]);
    remote.hubbed.hub.restrict(TOKEN, false);
    project.run(place).exits(0);
    remote.modal.calls();
    project.apply("--yes").ran();
    let calls = remote.modal.calls();
    let serve = calls.iter().find(|call| call["rpc"] == "FunctionCreate").unwrap();
    assert!(!serve.to_string().contains("hub"), "{serve}");
    for file in walkdir::WalkDir::new(project.root()).into_iter().flatten() {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        assert!(!bytes.windows(TOKEN.len()).any(|it| it == TOKEN.as_bytes()), "{file:?}");
    }
}

#[test]
fn a_server_that_asks_for_patience_gets_it_and_one_that_only_throttles_is_named() {
    let Some(remote) = Remote::at(&FETCHED) else { return };
    let project = &remote.hubbed.project;
    let throttle = |rpc: &str| json!({"rpc": rpc, "app": APP, "nth": 1, "action": "resource_exhausted", "retry_after": 1});
    let rules = ["FunctionCreate", "AppPublish"].map(throttle);
    remote.modal.faults(&json!({"rules": rules}));
    remote.modal.calls();
    project.apply("--yes").ran();
    let calls = remote.modal.calls();
    let of = |rpc: &str| calls.iter().filter(|it| it["rpc"] == rpc && it["app"] == APP).count();
    assert_eq!((of("FunctionCreate"), of("AppPublish")), (2, 2), "{calls:?}");

    project.append(SPEC, "\n[serve]\nscaledown-window = \"7m\"\n");
    let lasting = json!({"rpc": "AppPublish", "action": "resource_exhausted"});
    remote.modal.faults(&json!({"rules": [lasting]}));
    project.run("apply --yes").exits(1).says(&["deploy:tiny", "rate limit exceeded", APP]);
    remote.modal.faults(&json!({}));
    // The old version serves on, and the edit is taken up.
    assert_eq!(versions(&remote), 1);
    assert_eq!(project.apply("--yes").ran(), ["deploy:tiny", "smoke:tiny"]);
    assert_eq!(versions(&remote), 2);
}

/// How many versions of the app there are.
fn versions(remote: &Remote) -> usize {
    let history = remote.client(&["app", "history", "--env", "goat", "--json", APP]);
    serde_json::from_str::<Vec<serde_json::Value>>(&history).unwrap().len()
}

#[test]
fn an_address_that_another_app_has_is_told_and_the_real_one_is_used() {
    let Some(remote) = Remote::at(&FETCHED) else { return };
    let project = &remote.hubbed.project;
    // Its name and that of its function are what stands in an address for ours.
    let file = remote.hubbed.home.path().join("other.py");
    std::fs::write(
        &file,
        "import modal\napp = modal.App('other')\n@app.function()\n@modal.web_server(8000)\n\
         def tiny_serve():\n    pass\n",
    )
    .unwrap();
    let other = APP.replace("-tiny", "");
    remote.client(&["deploy", "--env", "goat", "--name", &other, file.to_str().unwrap()]);
    project.run("apply --yes").exits(0).says(&["Modal gave", "instead of"]);
    assert!(project.plan("").ids("run").is_empty());
}

#[test]
fn an_app_that_somebody_stops_before_it_is_tried_out_is_deployed_again() {
    let Some(remote) = Remote::at(&FETCHED) else { return };
    let project = &remote.hubbed.project;
    project.apply("--yes --only deploy:tiny").ran();
    remote.client(&["app", "stop", "--env", "goat", APP, "--yes"]);
    assert_eq!(project.plan("").why("deploy:tiny"), ["drift app"]);
    assert_eq!(project.apply("--yes").ran(), ["deploy:tiny", "gateway:tiny", "smoke:tiny"]);
    assert!(project.plan("").ids("run").is_empty());
}

#[test]
fn weights_that_a_volume_has_no_room_for_are_no_weights() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    remote.modal.faults(&json!({"full_volumes": {"table-4c19d2-model-cache": 1 << 20}}));
    project
        .run("apply --yes --only weights:acme/tiny")
        .exits(1)
        .says(&["goatbuild::modal::weights", "the volume table-4c19d2-model-cache has no room"]);
    remote.modal.faults(&json!({}));
    assert_eq!(project.plan("").step("weights:acme/tiny")["action"], "run");
    project.run("apply --yes --only weights:acme/tiny").exits(0);
}
