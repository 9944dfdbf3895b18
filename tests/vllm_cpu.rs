//! The committed `examples/vllm-cpu`: real vLLM 0.13.0 on the CPU, in the image that goatbuild built.
//!
//! Fetches 4.3 GB and needs some 13 GB of disk, so it runs by name only:
//! `cargo test --test all vllm_cpu -- --ignored`.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use crate::support::project::Project;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const MODEL: &str = "tiny-qwen3";

struct Example(Project);

impl Example {
    fn new() -> Self {
        // Beside the build: temporary directories are often too small.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Self(Project::of_example_within(target, "vllm-cpu", "project"))
    }

    /// What the last event of an apply says.
    #[track_caller]
    fn apply(&self, more: &str) -> Value {
        let began = Instant::now();
        let applied = self.0.run(&format!("apply --json --locked {more}")).exits(0);
        println!("apply {more}: {:.0} s", began.elapsed().as_secs_f64());
        applied.finished()
    }

    fn url(&self, model: &str) -> String {
        let status: Value = serde_json::from_str(&self.0.run("status --json").done()).unwrap();
        let mut models = status["models"].as_array().unwrap().iter();
        let found = models.find(|it| it["model"] == model).unwrap_or_else(|| panic!("{status}"));
        found["url"].as_str().unwrap().to_owned()
    }

    /// The receipt of the only warm-up, and the files in its compile cache, but for locks and logs.
    fn warmed(&self) -> (Value, BTreeSet<String>) {
        let volumes = self.0.state().join("vllm-cpu-5d20c9/default/volumes");
        let cache = volumes.join("vllm-cpu-5d20c9-vllm-cache");
        let receipts: Vec<_> = fs::read_dir(cache.join(".goatbuild")).unwrap().collect();
        assert_eq!(receipts.len(), 1, "{receipts:?}");
        let receipt = fs::read(receipts[0].as_ref().unwrap().path()).unwrap();
        let receipt: Value = serde_json::from_slice(&receipt).unwrap();
        let warm = cache.join(receipt["key"].as_str().unwrap());
        let files = walkdir::WalkDir::new(&warm).into_iter().map(Result::unwrap);
        let is_note = |path: &Path| path.extension().is_some_and(|it| it == "lock" || it == "log");
        let files = files.filter(|file| {
            file.metadata().is_ok_and(|it| it.is_file() && it.len() > 0) && !is_note(file.path())
        });
        let name = |file: walkdir::DirEntry| {
            file.path().strip_prefix(&warm).unwrap().display().to_string()
        };
        (receipt, files.map(name).collect())
    }
}

/// The body of an answer, over HTTP/1.0, where it ends with the connection.
#[track_caller]
fn request(url: &str, method: &str, path: &str, body: &str) -> String {
    let (address, root) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let length = body.len();
    write!(
        connection,
        "{method} /{root}/{path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.lines().next().unwrap().contains(" 200 "), "{answer}");
    body.to_owned()
}

#[track_caller]
fn ask(url: &str, body: &Value) -> String {
    request(url, "POST", "chat/completions", &body.to_string())
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
#[ignore = "fetches 4.3 GB and needs 13 GB of disk: run it by name"]
fn real_vllm_warms_up_serves_chats_streams_and_tool_calls() {
    let example = Example::new();
    let built = example.apply("--only image:vllm-cpu");
    assert!(built["ran"].to_string().contains("image:vllm-cpu"), "{built}");
    // What layers are made of is not needed once they are.
    fs::remove_dir_all(example.0.path("cache/wheels")).unwrap();
    expect_shipped_commands_are_taken(&example);

    let first = example.apply("");
    let ran = ["weights", "warmup", "deploy", "smoke"].map(|kind| format!("{kind}:{MODEL}"));
    assert_eq!(sorted(&first["ran"]), BTreeSet::from(ran), "{first}");
    // The second start added nothing, and the deployment behind it has a copy of its own.
    let (receipt, files) = example.warmed();
    println!("started in {} s, then in {} s", receipt["first_seconds"], receipt["second_seconds"]);
    let vouched = receipt["files"]["vllm-cpu-5d20c9-vllm-cache"].as_object().unwrap();
    assert_eq!(vouched.keys().cloned().collect::<BTreeSet<_>>(), files);
    let compiled = |file: &&String| {
        file.starts_with("torchinductor/")
            && Path::new(file).extension().is_some_and(|it| it == "so")
    };
    assert!(files.iter().filter(compiled).count() >= 5, "{files:?}");

    expect_answers(&example.url(MODEL));
    let plan = example.0.plan("--locked").0;
    assert_eq!((&plan["summary"]["run"], &plan["summary"]["pending"]), (&json!(0), &json!(0)));
    let again = example.apply("");
    for list in ["ran", "cut_off", "failed", "blocked", "removed"] {
        assert_eq!(again[list], json!([]), "{again}");
    }

    let spec = format!("specs/{MODEL}.toml");
    example.0.edit(&spec, "max-num-seqs = 4", "max-num-seqs = 2");
    let why = example.0.plan("--locked").why(&format!("warmup:{MODEL}"));
    assert_eq!(why[0], "changed engine.max-num-seqs");
    example.0.edit(&spec, "max-num-seqs = 2", "max-num-seqs = 4\nseed = 1");
    let url = example.url(MODEL);
    let edited = example.apply("");
    assert_eq!(edited["ran"], json!(["deploy:tiny-qwen3", "smoke:tiny-qwen3"]), "{edited}");
    assert_eq!(example.url(MODEL), url, "it keeps its port");
    assert!(example.0.run(&format!("logs {MODEL}")).done().contains("'seed': 1"));
    assert_eq!(example.warmed().1, files, "served from what was warmed");
}

fn sorted(list: &Value) -> BTreeSet<String> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn expect_answers(url: &str) {
    let answer: Value = serde_json::from_str(&ask(url, &chat(&json!({})))).unwrap();
    assert_eq!(answer["object"], "chat.completion", "{answer}");
    assert_eq!(answer["model"], MODEL, "{answer}");
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant", "{answer}");
    assert!((1..=8).contains(&answer["usage"]["completion_tokens"].as_u64().unwrap()), "{answer}");

    let streamed = ask(url, &chat(&json!({"stream": true, "ignore_eos": true})));
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
    let answer: Value = serde_json::from_str(&ask(url, &asked)).unwrap();
    let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(call["name"], "weather", "{answer}");
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert!(["celsius", "fahrenheit"].contains(&arguments["unit"].as_str().unwrap()), "{answer}");
    assert!((1..=9).contains(&arguments["days"].as_i64().unwrap()), "{answer}");
    // What clients of a `…-local` alias send: taken, whatever a random model makes of it.
    let asked = chat(&json!({"tools": [weather], "tool_choice": "auto"}));
    let answer: Value = serde_json::from_str(&ask(url, &asked)).unwrap();
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant", "{answer}");
}

/// The models that this repository ships for vLLM 0.13, handed to the real parser of that version.
fn expect_shipped_commands_are_taken(example: &Example) {
    let shipped = Project::shipped();
    let mut commands = BTreeMap::new();
    for model in ["gpt-oss-20b", "gpt-oss-120b"] {
        let shown = shipped.run(&format!("show {model} --command")).done();
        let script = format!("set -- {}\nprintf '%s\\0' \"$@\"", shown.trim_end());
        let split = Command::new("sh").args(["-c", &script]).output().unwrap();
        let words = String::from_utf8(split.stdout).unwrap();
        let words = words.trim_end_matches('\0').split('\0').map(str::to_owned);
        let words: Vec<String> = words.skip_while(|word| word != "serve").skip(1).collect();
        assert!(words.len() > 20, "{words:?}");
        commands.insert(model.to_owned(), words);
    }
    let wrong = |from: &str, to: &str| {
        commands["gpt-oss-20b"].iter().map(|word| word.replace(from, to)).collect::<Vec<_>>()
    };
    let (pass, flag) =
        (wrong("eliminate_noops", "enable_noop"), wrong("async-scheduling", "async-scheduler"));
    commands.extend([("pass".to_owned(), pass), ("flag".to_owned(), flag)]);

    example.0.write("parser/parse.py", include_str!("data/parse_vllm_commands.py"));
    example.0.write("parser/commands.json", &serde_json::to_vec(&commands).unwrap());
    let spec = "image = \"vllm-cpu\"\nserve.smoke = \"never\"\n[model]\nsource = \"path:parser\"\n\
        [engine]\nname = \"command\"\nhealth = \"/health\"\n\
        command = [\"python\", \"{model}/parse.py\", \"--host\", \"{host}\", \"--port\", \"{port}\"]\n";
    example.0.write("specs/parser.toml", spec);
    example.apply("parser");
    let parsed = request(&example.url("parser"), "GET", "", "");
    let parsed: Value = serde_json::from_str(&parsed).unwrap();
    for model in ["gpt-oss-20b", "gpt-oss-120b"] {
        let taken = &parsed[model];
        let names = json!([format!("openai/{model}"), model]);
        assert_eq!(taken["served-model-name"], names, "{taken}");
        for (flag, value) in [
            ("auto-tool-choice", json!(true)),
            ("async-scheduling", json!(true)),
            ("kv-cache-dtype", json!("fp8")),
            ("max-cudagraph-capture-size", json!(256)),
            ("max-num-seqs", json!(32)),
            ("max-model-len", json!(32768)),
            ("max-num-batched-tokens", json!(16384)),
            ("stream-interval", json!(20)),
            ("passes", json!([true, true])),
            ("tool-parser", json!("OpenAIToolParser")),
        ] {
            assert_eq!(taken[flag], value, "{flag}: {taken}");
        }
        assert_eq!(taken["draft"]["method"], "eagle3", "{taken}");
        assert_eq!(taken["draft"]["num_speculative_tokens"], 7, "{taken}");
    }
    for (wrong, word) in [("pass", "enable_noop"), ("flag", "async-scheduler")] {
        assert!(parsed[wrong]["refused"].as_str().unwrap().contains(word), "{parsed}");
    }
    // It is no part of the example.
    example.0.run("destroy parser --yes").exits(0);
    fs::remove_file(example.0.path("specs/parser.toml")).unwrap();
}
