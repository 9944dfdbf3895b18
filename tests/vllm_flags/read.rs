//! What is read out of each version's source is what its parser says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use goatbuild::digest::Digest;
use goatbuild::engine::{ENTRY_POINTS, Engine as _, Locked, LockedEngine};
use goatbuild::engines::vllm::read::read;
use goatbuild::engines::vllm::{Many, Taken, ValueKind, Vllm};
use goatbuild::fetch::{Fetcher, Patience};
use goatbuild::lock::pylock::LockedWheel;
use goatbuild::python::WheelReader;
use goatbuild::spec::{Model, SourceFile, Sources};
use serde_json::Value;

use super::{SHIPPED, data, is, reads, words};
use crate::support::peers::skipped;

/// A wheel as the index lists it.
fn wheel(name: &str, version: &str, url: &str, sha256: &str) -> LockedWheel {
    LockedWheel {
        scripts: Vec::new(),
        name: name.to_owned(),
        version: version.to_owned(),
        filename: url.rsplit('/').next().unwrap().to_owned(),
        url: url.to_owned(),
        size: None,
        sha256: Digest::from_hex(sha256).expect("a digest"),
    }
}

/// `None`, loudly, when the index can't be reached.
async fn engine(wheel: &LockedWheel) -> Option<Taken> {
    let fetcher = Fetcher::new(false, Patience::default());
    let opened = WheelReader::open(&fetcher, wheel, Path::new("/nonexistent")).await;
    let mut reader = match opened {
        Ok(reader) => reader.expect("the index gives parts of files"),
        Err(error) => {
            skipped("the package index", &error.to_string());
            return None;
        }
    };
    let points = reader.entry_points().expect("vLLM has a script");
    let texts = reader.texts(&[points]).await.unwrap().into_values();
    let mut files: BTreeMap<_, _> = texts.map(|text| (ENTRY_POINTS.to_owned(), text)).collect();
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

/// Every difference, one line each.
fn differences(engine: &Taken, real: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let flags = real["flags"].as_object().unwrap();
    let names: BTreeSet<&String> = flags.keys().chain(engine.flags.keys()).collect();
    for name in names {
        let (Some(flag), Some(real)) = (engine.flags.get(name), flags.get(name)) else {
            found.push(format!("{name}: not in both"));
            continue;
        };
        let switch = matches!(flag.kind, ValueKind::Switch | ValueKind::Toggle);
        let negative = flag.kind == ValueKind::Toggle;
        if is(real, "switch") != switch || is(real, "negative") != negative {
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
            ValueKind::OneOf(words) => words.iter().cloned().collect(),
            _ => BTreeSet::new(),
        };
        choices.remove("None");
        ours.remove("None");
        if choices != ours {
            found.push(format!("{name}: {flag}, and its choices"));
        }
        let reads = |text: &str| reads(real, text);
        let fits = match flag.kind {
            ValueKind::Integer => reads("7") && !reads("0.5") && !reads("7k") && !reads("word"),
            ValueKind::Size => reads("7") && reads("7k") && !reads("word") && !reads("auto"),
            ValueKind::SizeOrAuto => reads("7") && reads("7k") && !reads("word") && reads("auto"),
            ValueKind::Number => reads("0.5") && !reads("word"),
            ValueKind::Json => reads("{\"x\": 1}") && !reads("word"),
            ValueKind::Text | ValueKind::JsonOrText => reads("word"),
            // A class of its own has other fields than `x`; a text before JSON is for none of them.
            ValueKind::Object(_) => !reads("word") && !reads("7"),
            ValueKind::Unread => false,
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
            let differ: Vec<_> = ours.symmetric_difference(&real).collect();
            found.push(format!("{name}: {differ:?}"));
        }
    }
    found
}

/// The wheels for x86-64 that the index lists, without the host: path, file name's tag and SHA-256.
const WHEELS: [(&str, &str, &str, &str); 6] = [
    (
        "0.8.5.post1",
        "47/07/e8822ca825f88aec61a7af6210b85cd0e0a4d6f757081d3282f32b1b0912",
        "manylinux1",
        "b7f0dbd46f82aac6b2e7489c2bbf1c90fdc2e56d3f1fff44549951db40814d5a",
    ),
    (
        "0.13.0",
        "46/ae/36f87f514811c1389ff1a16e4e5b0b55f25ce782eb0eff2d7eaa92ff7deb",
        "manylinux_2_31",
        "12b3d0a3b91c32a0091349de64b464f1c3d499a5b3a5d0ec387fef94ed5df6ee",
    ),
    (
        "0.16.0",
        "84/ce/44a5a999eb7116516a8d4a08ab9fe14df773f0da4b243ceffe76b0afe54a",
        "manylinux_2_31",
        "f066b2a2f8597a4a3ada8fbbfd122b59086864b2260ca42dc81bf9fb57af0c42",
    ),
    (
        "0.20.2",
        "c5/aa/4488d49c481a2184e6e285b8d3f937905205f52cd5ac30fb348770494b6e",
        "manylinux_2_35",
        "22a7dd06eb03371298e13d6100f3dedbf307352342aaf08e87c929c60aae9b4d",
    ),
    (
        "0.28.0",
        "87/d7/97f6ecc2ae883e601e08d7cef87cb54ececeefcfe6b5e12d5d92f8d06d6b",
        "manylinux_2_28",
        "addb0ffdaafd8155d75e9b3f5ddb3da28fdee9e8a7097ede91f7db2e9e1a3889",
    ),
    (
        "0.33.0",
        "8b/a8/92e278093df40fde4c4bfd6572704bb8f398d6a2280d8c82cb5efaf12047",
        "manylinux_2_28",
        "4b6bdec4ab269990bf70d45a3c1e94c3760a27064513760193b26d6f0da883aa",
    ),
];

/// vLLM of a version, read out of its wheel.
async fn vllm(version: &str) -> Option<Taken> {
    let (_, path, tag, sha256) = WHEELS.iter().find(|(listed, ..)| *listed == version).unwrap();
    let file = format!("vllm-{version}-cp38-abi3-{tag}_x86_64.whl");
    let url = format!("https://files.pythonhosted.org/packages/{path}/{file}");
    engine(&wheel("vllm", version, &url, sha256)).await
}

/// Pairs of words are added to the choices while the program runs: any word is taken.
const TRACES: &str = "collect-detailed-traces: text ..., and its choices";
/// Words are changed before they are looked for among the choices: any is taken.
const BACKEND: [&str; 3] = [
    "linear-backend: text, and its choices",
    "moe-backend: text, and its choices",
    "sparse-indexer-topk-backend: text, and its choices",
];
/// What the machine has is added to the choices while the program runs.
const DEVICE: &str = "mm-processor-device: text, and its choices";

#[tokio::test]
async fn every_version_is_read_as_its_parser_is() {
    for (version, known) in [
        (
            "0.8.5.post1",
            // Which backends there are depends on a variable: all of them are taken.
            &[
                "guided-decoding-backend: one-of auto|guidance|lm-format-enforcer|outlines|xgrammar, and its choices",
            ][..],
        ),
        ("0.13.0", &[TRACES]),
        ("0.16.0", &[TRACES]),
        ("0.20.2", &[TRACES, BACKEND[1]]),
        ("0.28.0", &[TRACES, BACKEND[0], DEVICE, BACKEND[1]]),
        ("0.33.0", &[BACKEND[0], DEVICE, BACKEND[1], BACKEND[2]]),
    ] {
        let Some(engine) = vllm(version).await else { return };
        assert_eq!(differences(&engine, &data(version)), known, "{version}");
        assert!(engine.unread.is_empty(), "{version}: {:?}", engine.unread);
        let (pass, kind) = match version {
            "0.8.5.post1" => ("enable_noop", "python CompilationConfig"),
            _ => ("fuse_allreduce_rms", "object CompilationConfig"),
        };
        assert!(engine.objects["PassConfig"].contains_key(pass), "{version}");
        assert_eq!(engine.flags["compilation-config"].to_string(), kind, "{version}");
        if version == "0.13.0" {
            let targets = ["gpt_oss", "llama", "minicpm", "qwen"].map(str::to_owned);
            assert_eq!(engine.eagle3_targets, targets.into());
        }
        if version != "0.8.5.post1" {
            takes_the_shipped_flags(&engine);
        }
    }
}

/// What the shipped models set is taken by every newer version, and what no version takes is not.
fn takes_the_shipped_flags(taken: &Taken) {
    let version = taken.version.clone();
    let locked = Locked {
        distribution: "vllm".to_owned(),
        version: version.clone(),
        taken: Some(LockedEngine::of(taken)),
        ..Locked::default()
    };
    for (name, _) in SHIPPED {
        let spec = fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("specs/{name}.toml")),
        );
        let spec = spec.unwrap();
        let checked = Vllm.check_locked(&model(&spec), &locked);
        assert_eq!(checked.problems, [], "{version} {name}");
        assert_eq!(checked.warnings, [], "{version} {name}");
        // It is not as if anything were taken.
        for (from, to) in [
            ("max-num-seqs = 32", "max-num-seqs = \"none\""),
            ("[engine]\n", "[engine]\nmax-model-length = 1\n"),
        ] {
            assert_eq!(spec.matches(from).count(), 1, "{name}");
            let wrong = model(&spec.replace(from, to));
            let checked = Vllm.check_locked(&wrong, &locked);
            assert_eq!(checked.problems.len(), 1, "{version} {name} {to}");
        }
    }
}

/// A model of this spec, on this machine.
fn model(spec: &str) -> Model {
    let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
    let shipped =
        |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let images = ["gpt-oss", "standard"].map(|image| {
        let path = format!("images/{image}.toml");
        file(&path, &shipped(&path))
    });
    let sources = Sources {
        project: file("goatbuild.toml", &shipped("goatbuild.toml")),
        specs: vec![file("specs/m.toml", spec)],
        images: images.into(),
        mistakes: Vec::new(),
        kinds: goatbuild::project::kinds(),
    };
    let project = goatbuild::spec::read(&sources, None).unwrap();
    (**project.models.values().next().unwrap()).clone()
}
