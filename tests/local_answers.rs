//! What is said of servers on this machine that are up and of no use: stopped, silent, busy, slow.
#![cfg(target_os = "linux")]

use crate::support;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::eventually;
use support::project::Project;

/// A server of Python's own that answers its health path and chats as a file says: `fine`; `busy`, with 503;
/// `silent`, never, though it takes connections; `dripping`, a byte of its status line each second;
/// `trickling`, its body like that; `mute`, healthy and never in a chat; `rude`, there with 500.
const SERVER: &str = r#"
import http.server, json, pathlib, sys, time
how = pathlib.Path("/root/.cache/huggingface/how-" + sys.argv[1])

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, value, kind="application/json"):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def slowly(self, data):
        for byte in data:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(1)

    def do_GET(self):
        mood = how.read_text() if how.exists() else "fine"
        if self.path != "/health":
            self.answer(200, {"object": "list", "data": [{"id": "double"}]})
        elif mood == "busy":
            self.answer(503, {})
        elif mood == "silent":
            time.sleep(3600)
        elif mood == "dripping":
            self.slowly(b"HTTP/1.1 200 OK\r\n\r\n")
        elif mood == "trickling":
            self.send_response(200)
            self.send_header("Content-Length", "60")
            self.end_headers()
            self.slowly(b" " * 60)
        else:
            self.answer(200, {})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        mood = how.read_text() if how.exists() else "fine"
        if mood == "mute":
            time.sleep(3600)
        if mood == "rude":
            return self.answer(500, {"error": "out of words"})
        message = {"role": "assistant", "content": "hello"}
        if asked.get("stream"):
            events = [json.dumps({"choices": [{"delta": message}]}), "[DONE]"]
            self.answer(200, "".join(f"data: {it}\n\n" for it in events).encode(), "text/event-stream")
        else:
            self.answer(200, {"choices": [{"message": message}]})

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"#;

const COMMAND: &str =
    r#"command = ["python3", "{model}/server.py", "--host", "{host}", "--port", "{port}"]"#;

/// Two models, `tiny` and `other`, which answer as files say.
pub(crate) fn moody() -> Option<Project> {
    let project = Project::new()?;
    project.write("model/server.py", SERVER);
    let other = project.read("specs/tiny.toml");
    for (name, spec) in [("tiny", other.clone()), ("other", other)] {
        let command =
            format!(r#"command = ["python3", "{{model}}/server.py", "{name}", "{{port}}"]"#);
        project.write(&format!("specs/{name}.toml"), &spec.replace(COMMAND, &command));
    }
    project.apply("").ran();
    Some(project)
}

pub(crate) fn becomes(project: &Project, model: &str, mood: &str) {
    let volume = project.volumes().join("table-4c19d2-model-cache");
    fs::write(volume.join(format!("how-{model}")), mood).expect("a file");
}

/// The process of the server itself, as this machine sees it.
fn server(project: &Project, model: &str) -> String {
    let mark = format!("GOATBUILD_INSTANCE={}", project.instance(model));
    let is_it = |pid: &String| {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let environment = read("environ");
        environment.split(|byte| *byte == 0).any(|it| it == mark.as_bytes())
            && String::from_utf8_lossy(&read("cmdline")).contains("server.py")
    };
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let mut names = processes.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.find(is_it).expect("a server")
}

fn signal(which: &str, pid: &str) {
    assert!(pid.parse::<i32>().expect("a process id") > 1);
    assert!(Command::new("kill").args([which, pid]).status().expect("kill").success());
}

/// The reason for which the model's server starts anew.
#[track_caller]
fn found(project: &Project, model: &str) -> Value {
    let step = format!("deploy:{model}");
    let plan = project.plan("");
    assert_eq!(plan.why(&step), ["drift process"]);
    plan.step(&step)["reasons"][0]["new"].clone()
}

#[test]
fn a_stopped_server_is_drift_until_it_goes_on_or_serves_anew() {
    let Some(project) = Project::applied() else { return };
    let process = server(&project, "tiny");
    signal("-STOP", &process);
    let began = Instant::now();
    assert_eq!(found(&project, "tiny"), "stopped");
    project.run("status").exits(0).says(&["stopped", "does not run"]);
    project.run("test tiny").fails(1, &["process is stopped"]);
    project.run("plan").exits(0).says(&["run deploy:tiny", "stopped"]);
    assert!(began.elapsed() < Duration::from_secs(12), "nobody waits long for what is known");
    signal("-CONT", &process);
    assert_eq!(project.apply("").ran(), [""; 0], "it goes on");
    // What isn't the engine itself may be stopped, and it answers all the same.
    let supervisor = project.serving().expect("it serves").0.to_string();
    signal("-STOP", &supervisor);
    assert_eq!(project.apply("").ran(), [""; 0], "it answers");
    project.run("status").exits(0).says(&["running", "as specified"]);
    signal("-CONT", &supervisor);
    let (instance, port) = (project.instance("tiny"), project.port("tiny"));
    signal("-STOP", &server(&project, "tiny"));
    let began = Instant::now();
    assert_eq!(project.apply("").ran(), ["deploy:tiny", "smoke:tiny"]);
    assert!(began.elapsed() < Duration::from_secs(9), "it is asked to end, and can: {began:?}");
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
    assert_ne!(project.instance("tiny"), instance);
    assert_eq!(project.port("tiny"), port);
}

#[test]
fn only_what_says_nothing_at_all_is_drift_and_only_that_is_waited_for() {
    let Some(project) = moody() else { return };
    // Any answer is one: a restart would only take away what is at work.
    for (mood, state) in [("busy", "busy"), ("trickling", "running")] {
        becomes(&project, "tiny", mood);
        let began = Instant::now();
        assert_eq!(project.apply("").ran(), [""; 0], "{mood}");
        project.run("status").exits(0).says(&[state, "as specified"]);
        assert!(began.elapsed() < Duration::from_secs(9), "{mood}");
    }
    for mood in ["silent", "dripping"] {
        becomes(&project, "tiny", mood);
        let began = Instant::now();
        let plan = project.plan("");
        let took = began.elapsed();
        assert!(took > Duration::from_secs(14) && took < Duration::from_secs(22), "{took:?}");
        assert_eq!(plan.step("deploy:tiny")["reasons"][0]["new"], "answers nothing", "{mood}");
        assert_eq!(plan.step("deploy:other")["action"], "fresh");
    }
    // Of another environment, and of models that nobody asked about, nothing is waited for.
    let began = Instant::now();
    assert_eq!(project.plan("other").step("deploy:other")["action"], "fresh");
    project.append(
        "goatbuild.toml",
        "\n[environment.staging.gateway.litellm]\nconfig = \"staging.yaml\"\n",
    );
    assert_eq!(project.plan("--env staging").step("deploy:tiny")["action"], "run");
    assert!(began.elapsed() < Duration::from_secs(10));
    // It is asked again right before it would be stopped.
    let [instance, other] = ["tiny", "other"].map(|model| project.instance(model));
    let mut apply = project.start("apply --json");
    assert!(apply.until_started("deploy:tiny"));
    becomes(&project, "tiny", "fine");
    assert_eq!(apply.finish().exits(0).finished()["ran"], json!(["deploy:tiny"]));
    assert_eq!(project.instance("tiny"), instance);
    // Whoever asks for a new one by name gets it.
    assert_eq!(project.apply("--replace deploy:tiny").ran(), ["deploy:tiny", "smoke:tiny"]);
    assert_ne!(project.instance("tiny"), instance);
    let instance = project.instance("tiny");

    becomes(&project, "tiny", "silent");
    project.run("status").exits(0).says(&["silent", "answers nothing"]);
    let mut apply = project.start("apply --json");
    assert!(apply.until_started("deploy:tiny"));
    // It is asked again for up to fifteen seconds.
    std::thread::sleep(Duration::from_secs(10));
    eventually("another server starts", || project.instance("tiny") != instance);
    becomes(&project, "tiny", "fine");
    let ran = apply.finish().exits(0).finished()["ran"].clone();
    assert_eq!(ran, json!(["deploy:tiny", "smoke:tiny"]));
    assert_ne!(project.instance("tiny"), instance);
    assert_eq!(project.instance("other"), other);
}

#[test]
fn a_call_that_hangs_ends_a_test_and_says_how_long_it_had() {
    let Some(project) = moody() else { return };
    project.run("test tiny").exits(0).says(&["at most 2 min 0 s for each call"]);
    becomes(&project, "tiny", "mute");
    let began = Instant::now();
    let test = project.run("test tiny --timeout 2");
    assert!(began.elapsed() < Duration::from_secs(8));
    test.exits(1).says(&[
        "at most 2.0 s for each call",
        "✗ chat",
        "gave no whole answer within 2 s",
    ]);
    project.run("test tiny --timeout 0").exits(64);
}

#[test]
fn a_start_that_still_has_time_is_waited_for_and_not_begun_again() {
    let Some(project) = Project::applied() else { return };
    project.serve_env(&[("START_SECONDS", "8"), ("GREETING", "late")]);
    let mut apply = project.command("apply").spawn().expect("starts");
    let starts = || {
        project
            .served("tiny")
            .is_some_and(|it| it["healthy"] == false && it["instance"].is_object())
    };
    eventually("it starts", starts);
    apply.kill().expect("is killed");
    apply.wait().expect("ends");
    let instance = project.instance("tiny");
    let plan = project.plan("");
    assert_eq!(plan.why("deploy:tiny"), ["drift start"]);
    assert_eq!(plan.step("deploy:tiny")["reasons"][0]["new"], "going on");
    project.run("status").exits(0).says(&["starting", "waits for it"]);
    assert_eq!(project.apply("").ran(), ["deploy:tiny", "smoke:tiny"]);
    assert_eq!(project.instance("tiny"), instance);
    assert_eq!(project.ask("tiny").as_deref(), Some("late"));
    assert_eq!(project.apply("").ran(), [""; 0]);
}
