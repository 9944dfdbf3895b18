//! A smoke test proves that the new version answers, and not what it replaces.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Remote;
use super::registry::Shipped;
use super::support::hubbed::SPEC;
use super::support::stages::FETCHED;

const APP: &str = "table-4c19d2-tiny";

/// A deployment replaced, and what that takes at Modal.
const DEPLOYED: [&str; 2] = ["FunctionCreate", "AppPublish"];

/// A model that passed and that somebody asks, so that a container is up; what is up goes on taking
/// requests for so long after the next deployment.
fn in_use(seconds: u32) -> Option<Remote> {
    let remote = Remote::applied()?;
    remote.hubbed.project.run("test tiny").exits(0);
    remote.modal.faults(&json!({"rolling": {APP: seconds}}));
    remote.modal.calls();
    Some(remote)
}

fn status(remote: &Remote) -> Value {
    let status = remote.hubbed.project.run("status --json").exits(0).stdout;
    let status: Value = serde_json::from_str(&status).unwrap();
    status["models"][0].clone()
}

#[test]
fn a_container_of_before_does_not_pass_for_a_new_version_that_is_broken() {
    let Some(remote) = in_use(4) else { return };
    let project = &remote.hubbed.project;
    project.append(SPEC, "\n[env]\nMODE = \"mute\"\n");
    let began = Instant::now();
    let failed = project.run("apply --yes").exits(1);
    failed.says(&["goatbuild::smoke::went_back", "out of words; tiny went back to v1"]);
    assert!(began.elapsed() > Duration::from_secs(4), "the container of before was waited for");
}

#[test]
fn where_a_container_of_before_stays_nobody_calls_it_passed_or_failed() {
    let Some(remote) = in_use(14) else { return };
    let project = &remote.hubbed.project;
    let gateway = project.read("litellm.yaml");
    project.append(SPEC, "\n[serve]\nstartup-timeout = \"3s\"\n");
    project.append(SPEC, "\n[gateway]\nalias = \"other-local\"\n");
    let began = Instant::now();
    let open = project.run("apply --yes").exits(0);
    open.says(&[
        "smoke:tiny was left open",
        "not proven: an older version of tiny still answers",
        "the next apply asks again",
        "1 not proven, 1 waiting for that",
    ]);
    // Nothing is taken back, what stands in the gateway stays, and what is new there waits.
    assert_eq!(remote.modal.changes(), DEPLOYED);
    assert_eq!(project.read("litellm.yaml"), gateway);
    for _ in 0..2 {
        let plan = project.plan("");
        assert_eq!(plan.ids("run"), ["gateway:tiny", "smoke:tiny"], "{}", plan.0);
        assert_eq!(plan.why("smoke:tiny").last().unwrap(), "unproven");
        project.run("plan").exits(0).says(&["not proven: an older version still answered"]);
        assert_eq!(status(&remote)["verdict"], "unproven");
        project.run("status").exits(0).says(&["not proven", "`goatbuild apply` asks again"]);
        remote.forget();
    }
    // Asked again once that is gone, it passes.
    while began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_secs(1));
    }
    project.run("apply --yes --json").exits(0);
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);
    assert_eq!(status(&remote)["verdict"], "as-specified");
    assert!(project.read("litellm.yaml").contains("other-local"));
}

#[test]
fn what_has_to_be_proven_has_failed_where_it_can_t_be() {
    let Some(remote) = in_use(600) else { return };
    let project = &remote.hubbed.project;
    project.append(SPEC, "\n[serve]\nstartup-timeout = \"3s\"\nsmoke = \"always\"\n");
    project.run("plan -o kept.plan").exits(0);
    project.edit(SPEC, "smoke = \"always\"\n", "");
    project.run("apply kept.plan").exits(3).says(&["serve.smoke of tiny"]);
    project.append(SPEC, "smoke = \"always\"\n");
    let failed = project.run("apply kept.plan").exits(1);
    failed.says(&["an older version of tiny still answers", "tiny went back to v1"]);
    assert_eq!(remote.modal.changes(), [&DEPLOYED[..], &["AppRollback"]].concat());
    assert_eq!(project.plan("").why("deploy:tiny")[1..], ["failed-before"]);
}

#[test]
fn who_finds_nobody_yet_is_waited_for_and_who_can_t_has_three_tries() {
    let Some(remote) = Remote::at(&FETCHED) else { return };
    let project = &remote.hubbed.project;
    let refusing = |status: &str, times: u32| {
        remote.modal.faults(&json!({"refusals": {APP: {"status": status, "times": times}}}));
    };
    refusing("502 Bad Gateway", 4);
    assert_eq!(project.apply("--yes").ran(), ["deploy:tiny", "gateway:tiny", "smoke:tiny"]);
    refusing("500 Internal Server Error", 2);
    assert_eq!(project.apply("--yes --replace smoke:tiny").ran(), ["smoke:tiny"]);
    refusing("500 Internal Server Error", 3);
    let failed = project.run("apply --yes --replace smoke:tiny").exits(1);
    failed.says(&["answered HTTP 500", "tiny was stopped"]);
    // Not for ever: a start has its time.
    project.append(SPEC, "\n[serve]\nstartup-timeout = \"4s\"\n");
    refusing("503 Service Unavailable", 1000);
    let failed = project.run("apply --yes").exits(1);
    failed.says(&["answered HTTP 503: no healthy upstream", "tiny was stopped"]);
}

#[test]
fn an_engine_that_takes_several_names_answers_to_its_deployment_s_key() {
    const MODEL: &str = "qwen3-4b";
    const VLLM: &str = "goat-vllm-qwen3-4b";
    let Some(shipped) = Shipped::with_client() else { return };
    let shown = shipped.project.run(&format!("show {MODEL} --command")).exits(0);
    shown.says(&["a deployment answers to its key, too"]);
    shipped.applied(MODEL);
    let status: Value = serde_json::from_str(&shipped.run("status --json")).unwrap();
    let models = status["models"].as_array().unwrap();
    let key = models.iter().find(|it| it["model"] == MODEL).unwrap()["key"].clone();
    let tested = shipped.run(&format!("test {MODEL}"));
    assert!(!tested.contains("gb1-"), "{tested}");
    let program = shipped.run(&format!("render {MODEL}"));
    assert!(program.contains(key.as_str().unwrap()), "{program}");

    // Whoever is up is asked by it until it is the new one, whatever Modal says of containers.
    let rules = json!([{"rpc": "TaskList", "action": "resource_exhausted"}]);
    shipped.modal.faults(&json!({"rolling": {VLLM: 4}, "rules": rules}));
    shipped.project.append("specs/qwen3-4b.toml", "max-inputs = 16\n");
    shipped.applied(MODEL);
    let mut command = shipped.command(&shipped.modal.python);
    command.args(["-m", "modal", "app", "logs", "--env", "goat", VLLM, "--tail", "500"]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words =
        text.lines().filter_map(|line| ["started", "asked"].iter().find(|it| line.contains(**it)));
    let words: Vec<&str> = words.copied().collect();
    // Two requests of the smoke test and three of `test`; none of the second one to the first server.
    let first = ["started", "asked", "asked", "asked", "asked", "asked"];
    assert_eq!(words, [&first[..], &["started", "asked", "asked"]].concat(), "{text}");

    // As long as something older is up, an error may be its own: three of them take nothing back.
    let broken = json!({"status": "500 Internal Server Error", "times": 3});
    shipped.modal.faults(&json!({"rolling": {VLLM: 6}, "refusals": {VLLM: broken}}));
    shipped.project.edit("specs/qwen3-4b.toml", "max-inputs = 16", "max-inputs = 15");
    shipped.applied(MODEL);
}
