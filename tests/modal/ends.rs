//! An engine that ends takes its container along: nobody pays for a replica that has none.
//!
//! What that means to Modal: a container that crashed, on start-up or later, is started anew with what it
//! was asked, ever more slowly (modal.com/docs/guide/retries, "Container crashes").

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Remote;
use super::registry::Shipped;
use super::support::eventually;
use super::support::hubbed::SPEC;
use super::support::modal::{PROXY_KEY, PROXY_SECRET};
use super::support::stages::FETCHED;

const APP: &str = "table-4c19d2-tiny";

const KEY: &str = "gbk-thisIsTheKeyOfWhatEnds";

/// Within this an end has to be noticed; starts may take a minute.
const SOON: f64 = 15.0;

/// How an app's containers ended that nobody stopped.
fn ends(kept: &Path, app: &str) -> Vec<Value> {
    let text = fs::read_to_string(kept.join("ends.jsonl")).unwrap_or_default();
    let ends = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    ends.filter(|end| end["app"] == app && end["stopped"] == false).collect()
}

/// The one line that tells how an engine ended, of all that its app said.
#[track_caller]
fn told(log: &str) -> String {
    let line = log.lines().find_map(|line| Some(line.split_once("goatbuild-replica: the ")?.1));
    let line = line.unwrap_or_else(|| panic!("nothing is told in {log}"));
    let (told, after) = line.split_once(", after ").unwrap();
    assert!(after.ends_with(" s"), "{line}");
    told.to_owned()
}

/// Tells an engine something; the status of its answer.
fn say(url: &str, name: &str, words: &str, headers: &[String]) -> String {
    let asked = json!({"model": name, "messages": [{"role": "user", "content": words}]});
    let mut command = Command::new("curl");
    command.args(["-sS", "-m", "60", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}"]);
    for header in headers {
        command.args(["-H", header]);
    }
    command.args(["-d", &asked.to_string(), &format!("{url}/chat/completions")]);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

fn url(status: &str, model: &str) -> String {
    let status: Value = serde_json::from_str(status).unwrap();
    let mut models = status["models"].as_array().unwrap().iter();
    let model = models.find(|it| it["model"] == model).unwrap();
    model["url"].as_str().unwrap().to_owned()
}

/// A model in this mode, with or without a guard in front of it; it is deployed without any test.
fn deployed(mode: &str, is_guarded: bool) -> Option<(Remote, Vec<String>)> {
    let mut remote = Remote::at(&FETCHED)?;
    remote.hubbed.project.variable("GOATBUILD_API_KEY", KEY);
    let project = &remote.hubbed.project;
    project.append(SPEC, &format!("\n[env]\nMODE = \"{mode}\"\n\n[serve]\nsmoke = \"never\"\n"));
    let mut headers =
        vec![format!("Modal-Key: {PROXY_KEY}"), format!("Modal-Secret: {PROXY_SECRET}")];
    if is_guarded {
        project.append(SPEC, "auth = \"api-key\"\n");
        project.append("goatbuild.toml", "api-key-secret = \"tiny-key\"\n");
        let pair = format!("GOATBUILD_API_KEY={KEY}");
        remote.client(&["secret", "create", "--env", "goat", "tiny-key", &pair]);
        headers = vec![format!("Authorization: Bearer {KEY}")];
    }
    remote.hubbed.project.run("apply --yes").exits(0);
    Some((remote, headers))
}

#[test]
fn an_engine_that_ends_while_starting_takes_its_container_along() {
    for is_guarded in [false, true] {
        let Some((remote, headers)) = deployed("crash", is_guarded) else { return };
        let project = &remote.hubbed.project;
        let url = url(&project.run("status --json").stdout, "tiny");
        assert_eq!(say(&url, "double", "hello", &headers), "503");
        let ends = ends(&remote.modal.kept(), APP);
        assert_eq!((&ends[0]["status"], &ends[0]["ready"]), (&json!(1), &json!(false)), "{ends:?}");
        assert!(ends[0]["seconds"].as_f64().unwrap() < SOON, "{ends:?}");
        let log = project.run("logs tiny").exits(0).stdout;
        assert!(log.contains("no kernel image is available"), "{log}");
        assert_eq!(told(&log), "engine ended while starting, with exit code 1");
        // Each start counts, and whoever only looks starts nothing.
        say(&url, "double", "hello", &headers);
        say(&url, "double", "hello", &headers);
        let starts = remote.modal.starts();
        let counted = ["3 failed starts since 20", "last: the engine ended while starting"];
        project.run("status").exits(0).says(&counted);
        project.run("plan").exits(0).says(&counted);
        let status: Value = serde_json::from_str(&project.run("status --json").stdout).unwrap();
        assert_eq!(status["models"][0]["failed_starts"], 3, "{status}");
        assert_eq!(remote.modal.starts(), starts);
        // Where the logs can't be had, the rest is told without.
        let fault = json!({"rpc": "AppFetchLogs", "action": "resource_exhausted"});
        remote.modal.faults(&json!({"rules": [fault]}));
        let status = project.run("status").exits(0).stdout;
        assert!(status.contains("tiny") && !status.contains("failed start"), "{status}");
        project.run("plan --require-observed").exits(0);
    }
}

#[test]
fn whoever_tries_it_out_waits_for_three_starts_and_no_longer() {
    let Some(remote) = Remote::at(&FETCHED) else { return };
    let project = &remote.hubbed.project;
    let serve = "\n[serve]\nstartup-timeout = \"10m\"\nrollout = \"candidate\"\n";
    project.append(SPEC, &format!("\n[env]\nMODE = \"crash\"\n{serve}"));
    for (rollout, code) in [("candidate", "candidate"), ("in-place", "stopped")] {
        project.edit(SPEC, "rollout = \"candidate\"", &format!("rollout = \"{rollout}\""));
        let began = Instant::now();
        project.run("apply --yes").exits(1).says(&[
            &format!("goatbuild::smoke::{code}"),
            "starts of tiny failed, the last: the engine ended while starting, with exit code 1",
            "it said last: starting crash / no kernel image is available",
        ]);
        assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    }
}

#[test]
fn an_engine_that_ends_later_makes_way_for_another() {
    for is_guarded in [false, true] {
        let Some((remote, headers)) = deployed("mortal", is_guarded) else { return };
        let project = &remote.hubbed.project;
        let url = url(&project.run("status --json").stdout, "tiny");
        assert_eq!(say(&url, "double", "hello", &headers), "200");
        let starts = remote.modal.starts();
        // As long as it takes to see that it has started.
        std::thread::sleep(Duration::from_millis(300));
        say(&url, "double", "end", &headers);
        eventually("the container ends", || ends(&remote.modal.kept(), APP).len() == 1);
        let ends = ends(&remote.modal.kept(), APP);
        assert_eq!((&ends[0]["status"], &ends[0]["ready"]), (&json!(1), &json!(true)), "{ends:?}");
        let log = project.run("logs tiny").exits(0).stdout;
        assert!(log.contains("the device was lost"), "{log}");
        assert_eq!(told(&log), "engine ended after it had started, with exit code 7");
        project.run("status").exits(0).says(&["1 engine that ended later since 20"]);
        // Whoever asks next is answered, by another one.
        assert_eq!(say(&url, "double", "hello", &headers), "200");
        assert_eq!(remote.modal.starts(), starts + 1);
    }
}

#[test]
fn an_engine_that_ends_around_a_snapshot_takes_its_container_along() {
    const MODEL: &str = "qwen3-4b";
    const APP: &str = "goat-vllm-qwen3-4b";
    let Some(shipped) = Shipped::with_client() else { return };
    let project = &shipped.project;
    let spec = format!("specs/{MODEL}.toml");
    project.append(&spec, "snapshot = true\nsmoke = \"never\"\n\n[env]\nMODE = \"mortal\"\n");
    let headers = [format!("Modal-Key: {PROXY_KEY}"), format!("Modal-Secret: {PROXY_SECRET}")];
    let mut counted = 0;
    for (mode, answer, how) in [
        ("mortal", "200", "after it had started, with exit code 7"),
        ("crash", "503", "while starting, with exit code 1"),
    ] {
        project.write(
            &spec,
            &project.read(&spec).replace("MODE = \"mortal\"", &format!("MODE = \"{mode}\"")),
        );
        project.run(&format!("apply --yes {MODEL}")).exits(0);
        let url = url(&shipped.run("status --json"), MODEL);
        let name = "Qwen/Qwen3-4B-Instruct-2507";
        assert_eq!(say(&url, name, "hello", &headers), answer, "{mode}");
        say(&url, name, "end", &headers);
        eventually("the container ends", || ends(&shipped.modal.kept(), APP).len() > counted);
        let ends = ends(&shipped.modal.kept(), APP);
        for end in &ends[counted..] {
            assert_eq!(end["status"], 1, "{ends:?}");
        }
        counted = ends.len();
        let log = shipped.run(&format!("logs {MODEL}"));
        let last = log
            .rsplit_once("goatbuild-replica: the ")
            .map(|(_, last)| format!("goatbuild-replica: the {last}"));
        assert_eq!(told(&last.unwrap_or(log)), format!("engine ended {how}"));
    }
}
