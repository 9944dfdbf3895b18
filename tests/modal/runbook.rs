//! What is deployed, asked and looked at.

use std::fs;

use serde_json::Value;

use super::Remote;
use super::support::hubbed::SPEC;

fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON on each line")).collect()
}

#[test]
fn what_is_deployed_answers_as_clients_ask_it() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    project.run("test tiny").exits(1).says(&["goatbuild::test::not_deployed", "not deployed"]);
    project.apply("--yes").ran();
    remote.modal.calls();
    let lines = project.run("test tiny").exits(0).stdout;
    let calls: Vec<&str> =
        lines.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(calls, ["models", "chat", "stream"], "{lines}");
    assert!(lines.contains("\"hello\""), "{lines}");
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);

    // A model whose spec says how calls are read is asked to call a tool.
    let spec = project.read(SPEC);
    let (command, _) = spec.split_once("\"--port\"").unwrap();
    project.write(SPEC, &spec.replace(command, &format!("{command}\"--tool-call-parser=x\", ")));
    project.apply("--yes").ran();
    let told = events(&project.run("test tiny --json").exits(0).stdout);
    assert_eq!(told[0]["event"], "test_started");
    assert_eq!((&told[4]["call"], &told[4]["detail"]), (&"tool".into(), &"called add".into()));
    assert!(told[4]["seconds"].as_f64().is_some());
    assert_eq!(told[5], serde_json::json!({"event": "test_finished", "calls": 4}));

    project.append(SPEC, "\n[env]\nMODE = \"mumbling\"\n");
    project.apply("--yes").ran();
    let failed = project.run("test tiny --json").exits(1);
    let told = events(&failed.stdout);
    assert_eq!(told.last().unwrap()["code"], "goatbuild::smoke::unexpected", "{told:?}");
    assert_eq!(told.len(), 5, "{told:?}");
    failed.says(&["tool calls with names and arguments in JSON"]);
}

#[test]
fn status_tells_of_version_receipts_and_gateway_without_asking_more() {
    let Some(remote) = Remote::applied() else { return };
    let project = &remote.hubbed.project;
    project.plan("");
    remote.modal.calls();
    project.plan("");
    let asked = remote.modal.calls().len();
    let status = || -> Value {
        let text = project.run("status --json").exits(0).stdout;
        let status: Value = serde_json::from_str(&text).unwrap();
        status["models"][0].clone()
    };
    let model = status();
    assert_eq!(remote.modal.calls().len(), asked);
    assert_eq!((&model["version"], &model["verdict"]), (&1.into(), &"as-specified".into()));
    assert_eq!(model["tag"], model["key"], "{model}");
    assert_eq!(model["key"], model["wanted"], "{model}");
    assert!(model["deployed_by"].is_string() && model["deployed_at"].is_string(), "{model}");
    assert!(model["replicas"].is_u64(), "{model}");
    for part in ["weights", "gateway"] {
        assert_eq!(model[part], "as-wanted", "{model}");
    }
    assert_eq!(model["warmup"], Value::Null, "it compiles nothing");
    // What was measured is kept there, too: a fresh clone knows it.
    remote.forget();
    let model = status();
    assert_eq!((&model["auth"], &model["auth_wanted"]), (&"proxy".into(), &"proxy".into()));
    assert!(model["first_answer_seconds"].as_f64().unwrap() > 0.0, "{model}");
    assert!(model["first_token_ms"].is_u64(), "{model}");
    let done = project.run("apply").exits(0);
    done.says(&["first answer after", "first token after"]);
    let directory = remote.modal.volume("table-4c19d2-model-cache").join(".goatbuild");
    let names = fs::read_dir(directory).unwrap().flatten().map(|it| it.file_name());
    let mut names = names.map(|name| name.into_string().unwrap());
    let receipt = names.find(|name| name.starts_with("weights-")).unwrap();
    let receipt = format!("/.goatbuild/{receipt}");

    project.append(SPEC, "\n[gateway]\nalias = \"other-local\"\n");
    project.append(SPEC, "\n[serve]\nscaledown-window = \"7m\"\n");
    let model = status();
    assert_eq!((&model["verdict"], &model["gateway"]), (&"differs".into(), &"drifted".into()));
    project.run("status").exits(0).says(&[
        "v1 by",
        "wanted",
        "weights there",
        "other-local drifted in the gateway",
        "auth proxy: for who has a proxy token; first answer after",
    ]);
    project.append(SPEC, "auth = \"none\"\n");
    let config = project.read("litellm.yaml");
    project.write("litellm.yaml", "model_list: []\n");
    let model = status();
    assert_eq!((&model["auth"], &model["auth_wanted"]), (&"proxy".into(), &"none".into()));
    assert_eq!(model["gateway"], "missing", "{model}");
    project.run("status").exits(0).says(&["wanted auth none", "missing in the gateway"]);
    project.write("litellm.yaml", &config);
    remote.client(&["volume", "rm", "--env", "goat", "-r", "table-4c19d2-model-cache", &receipt]);
    assert_eq!(status()["weights"], "missing");
}
