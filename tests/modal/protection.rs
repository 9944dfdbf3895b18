//! Endpoints that strangers are kept from, and the secrets that it takes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::Remote;
use super::support::hubbed::SPEC;
use super::support::modal::{PROXY_KEY, PROXY_SECRET};
use super::support::stages::FETCHED;

const KEY: &str = "gbk-thisIsTheKeyOfProtection";

/// The status that the deployed model answers a request with; `headers` end in line breaks.
fn ask(remote: &Remote, path: &str, headers: &str) -> u16 {
    let status: Value =
        serde_json::from_str(&remote.hubbed.project.run("status --json").exits(0).stdout).unwrap();
    let url = status["models"][0]["url"].as_str().unwrap();
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/v1").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("{answer:?}"))
}

/// The secrets must be in no file of the project, no call, and nothing that was said.
#[track_caller]
fn assert_nowhere(remote: &Remote, secrets: &[&str]) {
    let is_there = |bytes: &[u8]| {
        secrets.iter().any(|it| bytes.windows(it.len()).any(|found| found == it.as_bytes()))
    };
    for file in walkdir::WalkDir::new(remote.hubbed.project.root()).into_iter().flatten() {
        assert!(!is_there(&fs::read(file.path()).unwrap_or_default()), "{file:?}");
    }
    for file in walkdir::WalkDir::new(remote.hubbed.project.state()).into_iter().flatten() {
        assert!(!is_there(&fs::read(file.path()).unwrap_or_default()), "{file:?}");
    }
    for name in ["journal.jsonl", "double.log"] {
        let said = fs::read(remote.modal.kept().join(name)).unwrap();
        assert!(!is_there(&said), "{name}");
    }
    let logs = remote.client(&["app", "logs", "--env", "goat", "table-4c19d2-tiny"]);
    assert!(!is_there(logs.as_bytes()), "{logs}");
    let mut engines = 0;
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&arguments);
        assert!(!is_there(&arguments), "{command:?}");
        // An engine, and the process of Modal's that starts it and that it can read: whoever applies in
        // another test has the same token.
        let is_engine = command.contains("server.py");
        if is_engine || command.contains("boot.py") {
            let variables = fs::read(process.path().join("environ")).unwrap_or_default();
            assert!(!is_there(&variables), "{command:?} has it in its environment");
            engines += usize::from(is_engine && !variables.is_empty());
        }
    }
    assert!(engines > 0, "no engine was looked at");
}

#[test]
fn modal_turns_strangers_away_unless_a_spec_says_otherwise() {
    let Some(mut remote) = Remote::new() else { return };
    remote.modal.calls();
    let project = &mut remote.hubbed.project;
    project.variable("MODAL_PROXY_SECRET", "");
    project.run("apply --yes").exits(1).says(&[
        "goatbuild::smoke::no_key",
        "MODAL_PROXY_SECRET is not set: tiny can't be tried out",
        "Proxy Auth Tokens",
        "Nothing was deployed",
    ]);
    assert_eq!(remote.modal.changes(), [] as [&str; 0]);
    remote.hubbed.project.variable("MODAL_PROXY_SECRET", PROXY_SECRET);
    let project = &remote.hubbed.project;
    let done = project.run("apply --yes").exits(0);
    done.says(&["-H \"Modal-Key: $MODAL_PROXY_KEY\" -H \"Modal-Secret: $MODAL_PROXY_SECRET\""]);
    assert_eq!(ask(&remote, "/v1/models", ""), 401);
    let token = format!("Modal-Key: {PROXY_KEY}\r\nModal-Secret: {PROXY_SECRET}\r\n");
    assert_eq!(ask(&remote, "/v1/models", &token), 200);
    let entry = "api_key: none\n      extra_headers:\n        Modal-Key: os.environ/MODAL_PROXY_KEY\n        \
                 Modal-Secret: os.environ/MODAL_PROXY_SECRET\n";
    let gateway = project.read("litellm.yaml");
    assert!(gateway.contains(entry), "{gateway}");
    assert_nowhere(&remote, &[PROXY_KEY, PROXY_SECRET]);

    // With nothing to do, nobody needs the token.
    remote.hubbed.project.variable("MODAL_PROXY_SECRET", "");
    assert_eq!(remote.hubbed.project.apply("").ran(), [] as [&str; 0]);

    // A token that is not valid is no fault of the model's.
    remote.hubbed.project.variable("MODAL_PROXY_SECRET", "ws-another");
    let project = &remote.hubbed.project;
    let denied = project.run("apply --yes --replace smoke:tiny").exits(1);
    denied.says(&["goatbuild::smoke::denied", "not with the value of MODAL_PROXY_KEY and"]);

    // Opened to all: a warning, another deployment, and an entry without headers.
    project.append(SPEC, "\n[serve]\nauth = \"none\"\n");
    project.run("plan").exits(0).says(&["open to anyone who knows the URL", "auth = \"proxy\""]);
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed serve.auth"]);
    let ran = project.apply("--yes").ran();
    assert_eq!(ran, ["deploy:tiny", "gateway:tiny", "smoke:tiny"]);
    assert_eq!(ask(&remote, "/v1/models", ""), 200);
    assert!(!project.read("litellm.yaml").contains("extra_headers"));
}

#[test]
fn replicas_turn_away_who_has_no_key_and_the_engine_never_sees_it() {
    let Some(mut remote) = Remote::at(&FETCHED) else { return };
    let project = &mut remote.hubbed.project;
    project.append(SPEC, "\n[serve]\nauth = \"api-key\"\n");
    project.run("plan").exits(65).says(&["target.modal.api-key-secret"]);
    project.append("goatbuild.toml", "api-key-secret = \"tiny-key\"\n");
    project.variable("GOATBUILD_API_KEY", KEY);
    project.run("apply --yes").exits(1).says(&["tiny-key", "modal secret create"]);
    remote.client(&["secret", "create", "--env", "goat", "tiny-key", "OTHER=1"]);
    remote.hubbed.project.run("apply --yes").exits(1).says(&["GOATBUILD_API_KEY"]);
    let values = remote.hubbed.home.path().join("values.json");
    fs::write(&values, json!({"GOATBUILD_API_KEY": KEY}).to_string()).unwrap();
    let create = |file: &std::path::Path| {
        let from = file.to_str().unwrap();
        remote.client(&[
            "secret",
            "create",
            "--env",
            "goat",
            "tiny-key",
            "--force",
            "--from-json",
            from,
        ]);
    };
    create(&values);
    let project = &remote.hubbed.project;
    let unset = project.run_with("apply --yes", &[("GOATBUILD_API_KEY", "")]).exits(1);
    unset.says(&["GOATBUILD_API_KEY is not set", "Modal secret"]);
    remote.modal.calls();
    let done = project.run("apply --yes").exits(0);
    done.says(&["-H \"Authorization: Bearer $GOATBUILD_API_KEY\""]);
    let bearer = |key: &str| format!("Authorization: Bearer {key}\r\n");
    assert_eq!(ask(&remote, "/v1/models", ""), 401);
    assert_eq!(ask(&remote, "/v1/models", &bearer("gbk-wrong")), 401);
    assert_eq!(ask(&remote, "/v1/models", &bearer(KEY)), 200);
    assert_eq!(ask(&remote, "/health", ""), 200);
    let gateway = project.read("litellm.yaml");
    assert!(gateway.contains("api_key: os.environ/GOATBUILD_API_KEY\n"), "{gateway}");
    assert_nowhere(&remote, &[KEY]);

    // The key was replaced, and the generation says so; the hub's is nothing that is served with.
    let next = format!("{KEY}-2 {KEY}");
    fs::write(&values, json!({"GOATBUILD_API_KEY": next}).to_string()).unwrap();
    create(&values);
    project
        .append("goatbuild.toml", "hf-secret = \"hub\"\n\n[secrets]\nhub = { generation = 5 }\n");
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);
    project.append("goatbuild.toml", "tiny-key = { generation = 2 }\n");
    let plan = project.plan("");
    assert_eq!(plan.why("deploy:tiny"), ["changed secrets.tiny-key.generation"]);
    let reason = &plan.step("deploy:tiny")["reasons"][0];
    assert_eq!((&reason["old"], &reason["new"]), (&json!("1"), &json!("2")));
    assert_eq!(project.apply("--yes").ran(), ["deploy:tiny", "smoke:tiny"]);
    // For as long as both are in the secret, either one is right.
    assert_eq!(ask(&remote, "/v1/models", &bearer(&format!("{KEY}-2"))), 200);
    assert_eq!(ask(&remote, "/v1/models", &bearer(KEY)), 200);
    assert_nowhere(&remote, &[KEY]);
    project.edit("goatbuild.toml", "tiny-key = { gen", "tiny-kex = { gen");
    project.run("plan").exits(65).says(&["no secret `tiny-kex`", "tiny-key"]);
}
