//! The committed `examples/vllm-cpu`: real vLLM 0.13.0 on the CPU, in the image that goatbuild built.
//!
//! Fetches 4.3 GB and needs some 17 GB of disk, so it runs by name only:
//! `cargo test --test vllm_cpu -- --ignored`.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const MODEL: &str = "tiny-qwen3";

struct Example {
    directory: tempfile::TempDir,
}

impl Example {
    fn new() -> Self {
        // Beside the build: temporary directories are often too small.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let directory = tempfile::Builder::new().prefix("vllm-cpu").tempdir_in(target).unwrap();
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/vllm-cpu");
        let root = directory.path().join("project");
        for part in ["", "images", "specs", MODEL] {
            fs::create_dir_all(root.join(part)).unwrap();
            for file in fs::read_dir(committed.join(part)).unwrap() {
                let file = file.unwrap();
                if file.file_type().unwrap().is_file() {
                    fs::copy(file.path(), root.join(part).join(file.file_name())).unwrap();
                }
            }
        }
        Self { directory }
    }

    fn file(&self, path: &str) -> PathBuf {
        self.directory.path().join("project").join(path)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_goatbuild"));
        command
            .args(arguments)
            .current_dir(self.file(""))
            .env("GOATBUILD_STATE_DIR", self.directory.path().join("state"))
            .env_remove("CI")
            .env_remove("GOATBUILD_ENV")
            .stdin(Stdio::null());
        command
    }

    /// What the last event of an apply says ran, of the kinds that serve.
    #[track_caller]
    fn apply(&self) -> Value {
        let output = self.command(&["apply", "--json", "--locked"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        assert_eq!(last["event"], "apply_finished", "{said}");
        last
    }

    fn url(&self) -> String {
        let output = self.command(&["status", "--json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["models"][0]["url"].as_str().unwrap().to_owned()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // A test that failed leaves no server either.
        let _ = self.command(&["destroy", MODEL, "--yes"]).output();
    }
}

/// The body of a chat's answer, over HTTP/1.0, where it ends with the connection.
#[track_caller]
fn ask(url: &str, body: &Value) -> String {
    let body = body.to_string();
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let length = body.len();
    write!(
        connection,
        "POST /{path}/chat/completions HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.lines().next().unwrap().contains(" 200 "), "{answer}");
    body.to_owned()
}

fn chat(more: &Value) -> Value {
    let mut chat = json!({
        "model": MODEL, "max_tokens": 8, "temperature": 0.3,
        "messages": [{"role": "user", "content": "Hello"}],
    });
    chat.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    chat
}

#[test]
#[ignore = "fetches 4.3 GB and needs 17 GB of disk: run it by name"]
fn real_vllm_serves_chats_streams_and_tool_calls() {
    let example = Example::new();
    let began = Instant::now();
    let first = example.apply();
    println!("first apply: {:.0} s", began.elapsed().as_secs_f64());
    let ran = first["ran"].to_string();
    assert!(ran.contains("deploy:tiny-qwen3") && ran.contains("smoke:tiny-qwen3"), "{ran}");
    assert!(!ran.contains("warmup"), "an eager model has no warm-up: {ran}");
    let url = example.url();

    let answer: Value = serde_json::from_str(&ask(&url, &chat(&json!({})))).unwrap();
    assert_eq!(answer["object"], "chat.completion", "{answer}");
    assert_eq!(answer["model"], MODEL, "{answer}");
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant", "{answer}");
    assert!((1..=8).contains(&answer["usage"]["completion_tokens"].as_u64().unwrap()), "{answer}");

    let streamed = ask(&url, &chat(&json!({"stream": true, "ignore_eos": true})));
    let pieces: Vec<&str> =
        streamed.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(pieces.last(), Some(&"[DONE]"), "{streamed}");
    assert!(pieces.len() >= 4, "{streamed}");
    for piece in &pieces[..pieces.len() - 1] {
        let piece: Value = serde_json::from_str(piece).unwrap();
        assert_eq!(piece["object"], "chat.completion.chunk", "{streamed}");
    }

    let weather = json!({"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object", "required": ["unit", "days"], "additionalProperties": false,
        "properties": {
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 9},
        },
    }}});
    let named = json!({"type": "function", "function": {"name": "weather"}});
    let asked = chat(&json!({"tools": [weather], "tool_choice": named, "max_tokens": 200}));
    let answer: Value = serde_json::from_str(&ask(&url, &asked)).unwrap();
    let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(call["name"], "weather", "{answer}");
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert!(["celsius", "fahrenheit"].contains(&arguments["unit"].as_str().unwrap()), "{answer}");
    assert!((1..=9).contains(&arguments["days"].as_i64().unwrap()), "{answer}");
    // What clients of a `…-local` alias send: taken, whatever a random model makes of it.
    let asked = chat(&json!({"tools": [weather], "tool_choice": "auto"}));
    let answer: Value = serde_json::from_str(&ask(&url, &asked)).unwrap();
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant", "{answer}");

    let again = example.apply();
    for list in ["ran", "cut_off", "failed", "blocked", "removed"] {
        assert_eq!(again[list], json!([]), "{again}");
    }

    let spec = example.file("specs/tiny-qwen3.toml");
    let text = fs::read_to_string(&spec).unwrap();
    fs::write(&spec, text.replace("max-num-seqs = 4", "max-num-seqs = 2")).unwrap();
    let edited = example.apply();
    assert_eq!(edited["ran"], json!(["deploy:tiny-qwen3", "smoke:tiny-qwen3"]), "{edited}");
    assert_eq!(example.url(), url, "it keeps its port");
    let log = example.command(&["logs", MODEL]).output().unwrap();
    assert!(String::from_utf8_lossy(&log.stdout).contains("'max_num_seqs': 2"));
}
