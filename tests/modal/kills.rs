//! An apply that is killed, whatever it was just asking Modal for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::Remote;
use super::support::eventually;

const APP: &str = "table-4c19d2-tiny";

/// What is told of a deployment that is another each time: the double's address has a port, and the
/// keys of what comes behind it have the address.
const VOLATILE: [&str; 8] = ["at", "id", "url", "version", "instance", "seconds", "_ms", "smoke"];

/// The calls that change something, on the way to a model that is served.
const CHANGES: [&str; 9] = [
    "AppClientDisconnect",
    "AppCreate",
    "AppPublish",
    "DictUpdate",
    "FunctionCreate",
    "FunctionMap",
    "ImageGetOrCreate",
    "MountPutFile",
    "VolumePutFiles",
];

/// How a killed apply ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Killed,
    /// It asked for less than that.
    Whole,
}

/// Runs an apply that is killed at its `nth` call of this name, of any for `*`: before what it asks
/// for is done, or after that.
fn killed_at(remote: &Remote, rpc: &str, nth: u32, action: &str) -> Ended {
    let rule = json!({"rpc": rpc, "nth": nth, "action": action});
    killed_by(remote, "apply --yes --lock-timeout 20", rule)
}

/// The same for another apply, and a whole rule of the double's.
pub(super) fn killed_by(remote: &Remote, arguments: &str, mut rule: Value) -> Ended {
    let told = rule.to_string();
    let pid_file = remote.hubbed.home.path().join("apply.pid");
    rule["id"] = told.clone().into();
    rule["pid_file"] = json!(pid_file);
    let _ = fs::remove_file(&pid_file);
    let mut command = remote.hubbed.project.command(arguments);
    // The file is there before the first call is made.
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    fs::write(&pid_file, child.id().to_string()).expect("written");
    remote.modal.faults(&json!({"rules": [rule]}));
    let status = child.wait().expect("it ends");
    remote.modal.faults(&json!({}));
    match status.code() {
        Some(0) => Ended::Whole,
        None => Ended::Killed,
        Some(code) => {
            let mut words = String::new();
            let _ = std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut words);
            panic!("{told}: ended with {code}:\n{words}")
        }
    }
}

/// All that an apply leaves behind, without what is another each time.
fn world(remote: &Remote) -> BTreeMap<String, Value> {
    let mut world = BTreeMap::new();
    let volumes = remote.modal.volume("");
    for entry in walkdir::WalkDir::new(&volumes).into_iter().flatten() {
        // What its own client leaves of a download when its container is killed: a name of its own each
        // time (huggingface_hub 2.4), which nobody takes up.
        let is_left = entry.path().extension().is_some_and(|ending| ending == "incomplete");
        if entry.file_type().is_file() && !is_left {
            let path = entry.path().strip_prefix(&volumes).unwrap().display().to_string();
            world.insert(path, content(entry.path()));
        }
    }
    let history = remote.client(&["app", "history", "--env", "goat", "--json", APP]);
    let history: Vec<Value> = serde_json::from_str(&history).unwrap();
    world.insert("versions".to_owned(), history.len().into());
    let plan = remote.hubbed.project.plan("");
    world.insert("fresh".to_owned(), plan.ids("fresh").into());
    let gateway = remote.hubbed.project.read("litellm.yaml");
    let volatile = ["api_base:", "key: gb1-"];
    let lines = gateway.lines().filter(|line| !volatile.iter().any(|it| line.contains(it)));
    world.insert("gateway".to_owned(), lines.collect::<Vec<_>>().join("\n").into());
    world
}

fn content(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap();
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(value) if path.components().any(|part| part.as_os_str() == ".goatbuild") => {
            lasting(value)
        }
        _ => blake3::hash(&bytes).to_hex().to_string().into(),
    }
}

fn lasting(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let volatile = |name: &str| VOLATILE.iter().any(|it| name.ends_with(it));
            fields
                .into_iter()
                .filter(|(name, _)| !volatile(name))
                .map(|(name, value)| (name, lasting(value)))
                .collect()
        }
        Value::Array(values) => values.into_iter().map(lasting).collect(),
        // A volume's id is another in each double.
        Value::String(text) if text.starts_with("vo-") => "vo-".into(),
        other => other,
    }
}

/// The apps that run for something and have not ended.
fn running_helpers(remote: &Remote) -> Vec<Value> {
    let apps = remote.client(&["app", "list", "--env", "goat", "--json"]);
    let mut apps: Vec<Value> = serde_json::from_str(&apps).unwrap();
    apps.retain(|app| app["state"].as_str().is_some_and(|it| it.starts_with("ephemeral")));
    apps
}

/// Each apply takes up what the one before has left, and is killed `stride` calls later, until one
/// comes to its end; that leaves what an undisturbed one leaves, and nothing that costs goes on.
fn killed_again_and_again(wanted: &BTreeMap<String, Value>, stride: u32, actions: &[&str]) {
    let Some(remote) = Remote::new() else { return };
    let began = Instant::now();
    let (mut nth, mut killed) = (1, 0);
    remote.modal.calls();
    while killed_at(&remote, "*", nth, actions[killed % actions.len()]) == Ended::Killed {
        (nth, killed) = (nth + stride, killed + 1);
        assert!(killed < 200, "no apply comes to its end");
    }
    let calls = remote.modal.calls().into_iter().filter(|call| call["fault"].is_string());
    let at: Vec<String> = calls.map(|call| call["rpc"].as_str().unwrap().to_owned()).collect();
    let names = at.iter().collect::<BTreeSet<_>>();
    assert_eq!(at.len(), killed, "each was killed at a call: {names:?}");
    println!("{actions:?}: {killed} applies killed in {:.0?}, at {names:?}", began.elapsed());
    assert!(nth > 20, "the last one was killed at call {nth}");
    assert_eq!(remote.hubbed.project.apply("--yes").ran(), [] as [&str; 0]);
    ends_as(&remote, wanted);
}

#[track_caller]
fn ends_as(remote: &Remote, wanted: &BTreeMap<String, Value>) {
    assert_eq!(world(remote), *wanted);
    eventually("nothing runs", || running_helpers(remote).is_empty());
}

/// What an apply leaves that nobody disturbed.
fn undisturbed() -> Option<BTreeMap<String, Value>> {
    let remote = Remote::new()?;
    remote.modal.calls();
    remote.hubbed.project.apply("--yes").ran();
    println!("undisturbed: {} calls", remote.modal.calls().len());
    Some(world(&remote))
}

#[test]
fn an_apply_killed_again_and_again_ends_as_an_undisturbed_one() {
    let Some(wanted) = undisturbed() else { return };
    killed_again_and_again(&wanted, 5, &["kill_before", "kill_after"]);
}

#[test]
#[ignore = "the same at every call, which takes five minutes"]
fn an_apply_killed_at_any_call_ends_as_an_undisturbed_one() {
    let Some(wanted) = undisturbed() else { return };
    for action in ["kill_before", "kill_after"] {
        killed_again_and_again(&wanted, 1, &[action]);
        for rpc in CHANGES {
            let Some(remote) = Remote::new() else { return };
            assert_eq!(killed_at(&remote, rpc, 1, action), Ended::Killed, "{action} {rpc}");
            remote.hubbed.project.apply("--yes").ran();
            ends_as(&remote, &wanted);
        }
    }
}
