//! What the shipped specs say, and how far that is what the team's registry said.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use goatbuild::engines::json;
use goatbuild::project;
use goatbuild::spec::{Model, ModelSource, Project};
use serde::Deserialize;
use serde_json::Value;

/// A row of the table.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Row {
    source: String,
    revision: String,
    image: String,
    gpu: String,
    count: u32,
    max_model_len: u32,
}

fn flag(model: &Model, name: &str) -> Value {
    model.engine.flags.get(name).map(|flag| json(&flag.value)).unwrap_or_default()
}

impl Row {
    fn of(model: &Model) -> Self {
        let ModelSource::Hub(source) = &model.source else { panic!("{} has no hub", model.name) };
        let hardware = model.hardware.as_ref().expect("hardware");
        Self {
            source: format!("hf:{}", source.repository),
            revision: source.revision.clone(),
            image: model.image.value.to_string(),
            gpu: hardware.gpu.clone(),
            count: hardware.count,
            max_model_len: serde_json::from_value(flag(model, "max-model-len")).expect("a length"),
        }
    }
}

pub(super) fn shipped() -> Project {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    project::read(&project::load(root).unwrap(), None).unwrap()
}

#[test]
fn the_shipped_specs_are_the_registry_but_for_what_cannot_fit() {
    let written: BTreeMap<String, Row> = toml::from_str(include_str!("as_written.toml")).unwrap();
    let shipped = shipped();
    assert!(
        written.keys().eq(shipped
            .models
            .keys()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .iter())
    );
    for (name, shipped) in &shipped.models {
        let (written, shipped) = (&written[name.as_str()], Row::of(shipped));
        let hardware = match name.as_str() {
            "qwen3-30b-a3b" => ("A100-80GB", 1),
            "qwen3-235b" => ("H100", 4),
            _ => (&*written.gpu, written.count),
        };
        assert_eq!((&*shipped.gpu, shipped.count), hardware, "{name}");
        let Row { gpu, count, .. } = written;
        assert_eq!(Row { gpu: gpu.clone(), count: *count, ..shipped }, *written, "{name}");
    }
}

#[test]
fn every_shipped_spec_answers_tool_calls_behind_a_local_alias() {
    for (name, model) in shipped().models {
        let parser = match name.as_str() {
            name if name.starts_with("llama") => "llama3_json",
            name if name.starts_with("qwen3") => "hermes",
            _ => "openai",
        };
        assert_eq!(flag(&model, "enable-auto-tool-choice"), true, "{name}");
        assert_eq!(flag(&model, "tool-call-parser"), parser, "{name}");
        let alias = &model.gateway.as_ref().expect("an entry").alias.value;
        assert_eq!(*alias, format!("{name}-local"));
        assert_eq!((model.serve.max_inputs, model.serve.scaledown_window.as_secs()), (32, 300));
        // The engine takes as many requests at once as reach it, and has graphs for all of their tokens.
        assert_eq!(flag(&model, "max-num-seqs"), model.serve.max_inputs, "{name}");
        let tokens = model.draft.as_ref().map(|draft| 1 + draft.num_speculative_tokens);
        let captured = tokens.map_or(Value::Null, |tokens| (32 * tokens).into());
        assert_eq!(flag(&model, "max-cudagraph-capture-size"), captured, "{name}");
        assert_eq!(model.serve.timeout.as_secs(), 3600);
        let standard = model.image.value.as_str() == "standard";
        let minutes = match name.as_str() {
            "qwen3-235b" => 45,
            _ if standard => 15,
            _ => 30,
        };
        assert_eq!(model.serve.startup_timeout.as_secs(), minutes * 60, "{name}");
        assert_eq!(flag(&model, "enforce-eager"), if standard { true.into() } else { Value::Null });
    }
}

/// `triton/runtime/build.py` of 3.2.0 imports setuptools, and no wheel of that closure asks for it.
#[test]
fn what_triton_imports_without_asking_for_it_is_locked() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = fs::read_to_string(root.join("images/standard.pylock.toml")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let version = |name: &str| {
        let mut packages = lock["packages"].as_array().unwrap().iter();
        let package = packages.find(|package| package["name"].as_str() == Some(name))?;
        package["version"].as_str().map(str::to_owned)
    };
    assert_eq!(version("triton").as_deref(), Some("3.2.0"));
    let setuptools = version("setuptools").expect("it is locked");
    let major: u32 = setuptools.split('.').next().unwrap().parse().unwrap();
    assert!(major < 80, "{setuptools}");
}
