//! `goatbuild import`: scripts that are kept by hand become a project, and nothing of theirs is run.

mod left_out;
mod siblings;

use crate::support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use goatbuild::engine::{Locked, Serving};
use goatbuild::project;
use serde_json::Value;
use support::installed;
use support::peers;
use support::project::{Ran, ran, wants_network};

/// An empty directory, and the real binary in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(place.path("")).unwrap();
        place
    }

    /// The scripts of six models, and the gateway's file.
    fn kept_by_hand() -> Self {
        let place = Self::new();
        for name in ["modal_vllm.py", "modal_gpt_oss.py", "litellm.yaml"] {
            fs::copy(data().join(name), place.path(name)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("here").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, arguments: &str) -> Ran {
        let mut command = installed::goatbuild();
        command.args(arguments.split_whitespace()).current_dir(self.path(""));
        command.stdin(Stdio::null()).env("GOATBUILD_STATE_DIR", self.0.path().join("state"));
        for name in ["CI", "GOATBUILD_ENV", "HF_TOKEN", "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"] {
            command.env_remove(name);
        }
        command.env("HOME", self.0.path()).env("NO_COLOR", "1");
        command.env("GOATBUILD_HTTP_ATTEMPTS", "1");
        ran(command.env("HF_ENDPOINT", "http://127.0.0.1:9"))
    }

    /// What would be started of what was written.
    fn command(&self, model: &str) -> Vec<String> {
        let mut sources = project::load(&self.path("")).unwrap();
        sources.kinds.engines = goatbuild::engines::built_in();
        sources.kinds.targets = goatbuild::targets::built_in().types();
        let project = project::read(&sources, None).unwrap();
        let model = project.model(model).unwrap();
        let locked = Locked {
            distribution: "vllm".to_owned(),
            version: "0.13.0".to_owned(),
            ..Locked::default()
        };
        let serving = Serving {
            host: "0.0.0.0",
            port: 8000,
            model: "weights",
            mark: None,
            weights: "/weights",
            revision: "a-commit",
            draft: Some("/draft"),
            draft_revision: Some("a-commit"),
            fetched: &BTreeMap::new(),
            locked: &locked,
        };
        model.engine.kind.command(model, &serving)
    }

    /// What a script would do if it were run, for one row of its dictionary.
    fn judged(&self, script: &str, variable: &str, row: &str) -> Value {
        let mut command = Command::new("python3");
        command.arg("-B").arg(self.path(script)).env(variable, row);
        let output = command.env("PYTHONPATH", data().join("peer")).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&told).unwrap()
    }
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import")
}

const ROWS: [(&str, &str, [&str; 4]); 2] = [
    ("modal_vllm.py", "VLLM_MODEL", ["llama-3.1-8b", "qwen3-4b", "qwen3-30b-a3b", "qwen3-235b"]),
    ("modal_gpt_oss.py", "GPT_OSS", ["gpt-oss-20b", "gpt-oss-120b", "", ""]),
];

/// Flags with their values, of the words of a command line.
fn flags(words: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut flags: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut last = None;
    for word in words {
        if let Some(flag) = word.strip_prefix("--") {
            let (flag, value) = flag.split_once('=').map_or((flag, None), |(a, b)| (a, Some(b)));
            flags.entry(flag.to_owned()).or_default().extend(value.map(str::to_owned));
            last = Some(flag.to_owned());
        } else if let Some(last) = &last {
            flags.get_mut(last).unwrap().push(word.clone());
        }
    }
    flags
}

/// A value as a program reads it: JSON whatever its spaces and order.
fn read(flag: &str, values: &[String]) -> Value {
    let values: Vec<Value> = values
        .iter()
        .map(|value| serde_json::from_str(value).unwrap_or_else(|_| value.as_str().into()))
        .collect();
    match (flag, &values[..]) {
        // Where the weights of the draft lie is goatbuild's business, and which commit they are.
        ("speculative-config", [config]) => {
            serde_json::json!([config["method"], config["num_speculative_tokens"]])
        }
        _ => values.into(),
    }
}

/// The words of a line, as a shell reads them.
fn words(line: &str) -> Vec<String> {
    let script = "import shlex, sys, json; print(json.dumps(shlex.split(sys.argv[1])))";
    let output = Command::new("python3").args(["-c", script, line]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn six_models_that_are_kept_by_hand_start_with_the_flags_that_they_have() {
    let place = Place::kept_by_hand();
    let done = place.run("import modal_vllm.py modal_gpt_oss.py").exits(0);
    done.says(&["wrote specs/gpt-oss-120b.toml", "6 specs, 2 images"]);
    let project: toml::Table = place.read("goatbuild.toml").parse().unwrap();
    let prefix = project["project"]["app-prefix"].as_str().unwrap();
    assert_eq!(project["target"]["modal"]["environment"].as_str(), Some("goat"));
    assert_eq!(project["target"]["modal"]["hf-secret"].as_str(), Some("goat-hf-token"));
    assert_eq!(
        project["volumes"]["flashinfer-cache"]["name"].as_str(),
        Some("goat-flashinfer-cache")
    );
    assert!(project["target"]["modal"].get("workspace").is_none(), "no address says it");
    for (script, variable, rows) in ROWS {
        for row in rows.into_iter().filter(|row| !row.is_empty()) {
            let judged = place.judged(script, variable, row);
            assert_eq!(judged["app"], format!("{prefix}{row}"));
            let spec: toml::Table = place.read(&format!("specs/{row}.toml")).parse().unwrap();
            let count = spec["hardware"].get("count").and_then(toml::Value::as_integer);
            let gpu =
                format!("{}:{}", spec["hardware"]["gpu"].as_str().unwrap(), count.unwrap_or(1));
            assert!(gpu.starts_with(judged["gpu"].as_str().unwrap()), "{row}: {gpu}");
            assert_eq!(judged["max_inputs"], spec["serve"]["max-inputs"].as_integer().unwrap());
            let minutes = |field: &str| judged[field].as_i64().unwrap() / 60;
            let startup = format!("{}m", minutes("startup_timeout"));
            assert_eq!(spec["serve"]["startup-timeout"].as_str(), Some(startup.as_str()));
            assert_eq!((minutes("timeout"), spec["serve"]["timeout"].as_str()), (60, Some("1h")));
            assert_eq!(spec["serve"]["scaledown-window"].as_str(), Some("5m"));
            assert_eq!(spec["serve"]["auth"].as_str(), Some("none"));

            let theirs = match &judged["command"] {
                Value::String(line) => words(line),
                list => list
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|it| it.as_str().unwrap().to_owned())
                    .collect(),
            };
            let mut theirs = flags(&theirs);
            let shown = place.command(row);
            let mut ours = flags(&shown);
            // What goatbuild says in its own way: where the weights are, and of which commit.
            for flag in ["model", "revision"] {
                theirs.remove(flag);
                ours.remove(flag);
            }
            // The model stands behind that flag.
            if let Some(level) = theirs.get_mut("uvicorn-log-level") {
                level.truncate(1);
            }
            // Of two spellings of one GPU, one is left out.
            theirs.entry("tensor-parallel-size".to_owned()).or_insert_with(|| vec!["1".to_owned()]);
            let read = |flags: BTreeMap<String, Vec<String>>| -> BTreeMap<String, Value> {
                flags
                    .into_iter()
                    .map(|(flag, values)| (flag.clone(), read(&flag, &values)))
                    .collect()
            };
            assert_eq!(read(ours), read(theirs), "{row}: {shown:?}");
        }
    }
    let checked = place.run("check --offline");
    checked.says(&["specs: 6 models, 2 images"]);
}

#[test]
fn what_is_written_is_planned_without_an_account() {
    let place = Place::kept_by_hand();
    place.run("import modal_vllm.py --gateway litellm.yaml").exits(0);
    let planned = place.run("plan");
    if planned.code != 0 && wants_network(&planned.stderr) {
        peers::skipped("the package index", &planned.stderr);
        return;
    }
    planned.exits(0).says(&[
        "deploy:qwen3-30b-a3b",
        "goat-vllm-llama-3.1-8b",
        "`qwen-small` at litellm.yaml:3, an entry made by hand",
        "no credentials for Modal",
    ]);
}

#[test]
fn entries_of_the_gateway_keep_their_aliases() {
    let place = Place::kept_by_hand();
    let before = place.read("litellm.yaml");
    let done = place.run("import modal_vllm.py modal_gpt_oss.py --gateway litellm.yaml").exits(0);
    let alias = |model: &str| -> Option<String> {
        let spec: toml::Table = place.read(&format!("specs/{model}.toml")).parse().unwrap();
        Some(spec.get("gateway")?["alias"].as_str()?.to_owned())
    };
    assert_eq!(alias("qwen3-4b").as_deref(), Some("qwen-small"));
    assert_eq!(alias("llama-3.1-8b").as_deref(), Some("llama-3.1-8b-local"));
    assert_eq!(alias("gpt-oss-120b").as_deref(), Some("gpt-oss"), "by what it asks for");
    assert_eq!(alias("qwen3-235b"), None);
    done.says(&[
        "litellm.yaml:3:",
        "leads to `qwen3-4b`",
        "apply --adopt qwen3-4b",
        "litellm.yaml:13:",
        "this one stays as it is",
    ]);
    let project = place.read("goatbuild.toml");
    assert!(project.contains("config = \"litellm.yaml\""), "{project}");
    // `phare-goat--…`, and the environment is `goat`.
    assert!(project.contains("workspace = \"phare\""), "{project}");
    assert_eq!(place.read("litellm.yaml"), before);
}

/// An entry on one line has its key in the line that it begins in.
#[test]
fn the_gateways_keys_are_not_printed_with_the_lines_of_its_entries() {
    let place = Place::kept_by_hand();
    let entry = "{model: openai/Qwen/Qwen3-4B-Instruct-2507, api_key: correct-horse}";
    let entry = format!("  - {{model_name: one, litellm_params: {entry}}}\n");
    place.write("flow.yaml", format!("model_list:\n{entry}{}", entry.replace("one", "two")));
    let told = place.run("import modal_vllm.py --gateway flow.yaml --dry-run").exits(0);
    for entry in ["flow.yaml:2: - model_name: one\n", "flow.yaml:3: - model_name: two\n"] {
        assert!(told.stdout.contains(entry), "{entry}");
    }
    assert!(![&told.stdout, &told.stderr].iter().any(|said| said.contains("correct-horse")));
}

#[test]
fn what_cannot_be_written_whole_leaves_nothing() {
    let place = Place::kept_by_hand();
    // Images come first, and have room.
    place.write("specs", "a file where the specs would be\n");
    place.run("import modal_vllm.py").exits(1).says(&["goatbuild::project::file", "specs"]);
    assert!(!place.path("images/vllm.toml").exists() && !place.path("goatbuild.toml").exists());
    fs::remove_file(place.path("specs")).unwrap();
    place.run("import modal_vllm.py").exits(0);
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let place = Place::kept_by_hand();
    fs::create_dir_all(place.path("specs")).unwrap();
    place.write("specs/qwen3-4b.toml", "mine\n");
    place.write("goatbuild.toml", "mine\n");
    let refused = place.run("import modal_vllm.py").exits(64);
    refused.says(&[
        "goatbuild::usage::exists",
        "specs/qwen3-4b.toml, goatbuild.toml are",
        "--to DIR",
    ]);
    assert!(!place.path("specs/llama-3.1-8b.toml").exists());
    let dry = place.run("import modal_vllm.py --dry-run").exits(0);
    dry.says(&[
        "── specs/qwen3-4b.toml",
        "source = \"hf:Qwen/Qwen3-4B-Instruct-2507\"",
        "nothing was written",
    ]);
    assert_eq!(place.read("goatbuild.toml"), "mine\n");
    place.run("import modal_vllm.py --to other").exits(0);
    assert!(place.path("other/goatbuild.toml").exists());
    assert_eq!(place.read("specs/qwen3-4b.toml"), "mine\n");
}

#[test]
fn keys_and_tokens_are_neither_printed_nor_written() {
    let place = Place::new();
    let token = ["hf", "qWeRtYuIoPaSdFgHjKlZxCvB"].join("_");
    let key = "open-sesame-please";
    place.write(
        "deploy.py",
        format!(
            "import modal, subprocess\n\
             API_KEY = \"{key}\"\n\
             image = modal.Image.debian_slim(python_version='3.12').pip_install('vllm==0.13.0')\\\n\
             \x20   .env({{'HF_TOKEN': '{token}', 'A': '1'}})\n\
             app = modal.App('tiny')\n\
             @app.function(image=image, gpu='L4', secrets=[modal.Secret.from_dict({{'HF_TOKEN': '{token}'}})])\n\
             @modal.web_server(port=8000, startup_timeout=600)\n\
             def serve():\n\
             \x20   subprocess.Popen(f'vllm serve Qwen/Qwen3-4B --api-key {{API_KEY}} --hf-token {token}', shell=True)\n"
        ),
    );
    let done = place.run("import deploy.py").exits(0);
    let mut all = format!("{}{}", done.stdout, done.stderr);
    for file in ["goatbuild.toml", "specs/tiny.toml", "images/vllm.toml"] {
        all += &place.read(file);
    }
    assert!(!all.contains(&token) && !all.contains(key), "{all}");
    done.says(&["deploy.py:4:", "HF_TOKEN is a key or token", "deploy.py:6:", "deploy.py:9:"]);
    assert!(all.contains("auth = \"api-key\"") && all.contains("api-key-secret = "), "{all}");
}

#[test]
fn what_is_no_deploy_script_says_why_and_nothing_is_written() {
    let place = Place::new();
    let huge = vec![b'#'; 5 << 20];
    let cases: [(&str, &[u8], &str); 8] = [
        ("empty.py", b"", "no app for Modal is in it"),
        ("broken.py", b"import modal\ndef f(:\n", "broken.py:2"),
        ("two.py", b"import modal\nprint 'x'\n", "goatbuild::import::python2"),
        ("notes.ipynb", b"{\"nbformat\": 4, \"cells\": []}", "goatbuild::import::notebook"),
        ("latin.py", b"import modal\n# \xe4\n", "latin.py:2 is not UTF-8"),
        ("other.py", b"x = 1\n", "goatbuild::import::nothing"),
        (
            "app.py",
            b"import modal\r\napp = modal.App('x')\r\n",
            "no function of it answers requests",
        ),
        ("huge.py", &huge, "goatbuild::import::size"),
    ];
    for (name, bytes, expected) in cases {
        place.write(name, bytes);
        place.run(&format!("import {name}")).exits(65).says(&[expected, "nothing was written"]);
    }
    fs::create_dir(place.path("directory")).unwrap();
    place.run("import directory").exits(65).says(&["goatbuild::import::unreadable"]);
    place.run("import missing.py").exits(65).says(&["goatbuild::import::unreadable"]);
    place.run("import").exits(64);
    assert!(!place.path("goatbuild.toml").exists());
}
