//! What each shipped model has to be on Modal: the team's own scripts, setting by setting.

use serde_json::{Value, json};

use super::support::hub::COMMIT;

/// A shipped model.
pub(super) struct Expected {
    pub(super) model: &'static str,
    pub(super) repository: &'static str,
    /// The commit that its spec pins.
    pub(super) commit: &'static str,
    gpu: (&'static str, u32),
    tool_call_parser: &'static str,
    /// What drafts tokens for it; then it is compiled too.
    pub(super) draft: Option<&'static str>,
}

const fn standard(
    model: &'static str,
    repository: &'static str,
    commit: &'static str,
    gpu: (&'static str, u32),
    tool_call_parser: &'static str,
) -> Expected {
    Expected { model, repository, commit, gpu, tool_call_parser, draft: None }
}

const fn gpt_oss(
    model: &'static str,
    repository: &'static str,
    commit: &'static str,
    draft: &'static str,
) -> Expected {
    let (gpu, tool_call_parser) = (("H100", 1), "openai");
    Expected { model, repository, commit, gpu, tool_call_parser, draft: Some(draft) }
}

pub(super) const MODELS: [Expected; 6] = [
    gpt_oss(
        "gpt-oss-120b",
        "openai/gpt-oss-120b",
        "b5c939de8f754692c1647ca79fbf85e8c1e70f8a",
        "nvidia/gpt-oss-120b-Eagle3-v2",
    ),
    gpt_oss(
        "gpt-oss-20b",
        "openai/gpt-oss-20b",
        "d666cf3b67006cf8227666739edf25164aaffdeb",
        "RedHatAI/gpt-oss-20b-speculator.eagle3",
    ),
    standard(
        "llama-3.1-8b",
        "meta-llama/Llama-3.1-8B-Instruct",
        "0e9e39f249a16976918f6564b8830bc894c89659",
        ("A10G", 1),
        "llama3_json",
    ),
    standard(
        "qwen3-235b",
        "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8",
        "e156cb4efae43fbee1a1ab073f946a1377e6b969",
        ("H100", 4),
        "hermes",
    ),
    standard(
        "qwen3-30b-a3b",
        "Qwen/Qwen3-30B-A3B-Instruct-2507",
        "0d7cf23991f47feeb3a57ecb4c9cee8ea4a17bfe",
        ("A100-80GB", 1),
        "hermes",
    ),
    standard(
        "qwen3-4b",
        "Qwen/Qwen3-4B-Instruct-2507",
        "cdbee75f17c01a7cc42f958dc650907174af0554",
        ("A10G", 1),
        "hermes",
    ),
];

impl Expected {
    /// All that its engine is started with, in order; the last of its names is its deployment's key.
    pub(super) fn arguments(&self, key: &str) -> Vec<String> {
        let count = self.gpu.1.to_string();
        let weights = snapshot(self.repository, self.commit);
        let mut arguments: Vec<String> = [
            "--model",
            &weights,
            "--host",
            "0.0.0.0",
            "--port",
            "8000",
            "--served-model-name",
            self.repository,
            self.model,
            key,
            "--revision",
            self.commit,
            "--tensor-parallel-size",
            &count,
        ]
        .map(str::to_owned)
        .into();
        let speculative = self.draft.map(|draft| {
            let model = snapshot(draft, COMMIT);
            json!({
                "method": "eagle3",
                "model": model,
                "num_speculative_tokens": 7,
                "revision": COMMIT,
            })
            .to_string()
        });
        let flags: Vec<&str> = match &speculative {
            None => vec![
                "--enable-auto-tool-choice",
                "--enforce-eager",
                "--max-model-len",
                "8192",
                "--max-num-seqs",
                "32",
                "--tool-call-parser",
                self.tool_call_parser,
            ],
            Some(speculative) => vec![
                "--speculative-config",
                speculative,
                "--async-scheduling",
                "--compilation-config",
                r#"{"pass_config":{"eliminate_noops":true,"fuse_allreduce_rms":true}}"#,
                "--enable-auto-tool-choice",
                "--kv-cache-dtype",
                "fp8",
                "--max-cudagraph-capture-size",
                "256",
                "--max-model-len",
                "32768",
                "--max-num-batched-tokens",
                "16384",
                "--max-num-seqs",
                "32",
                "--stream-interval",
                "20",
                "--tool-call-parser",
                self.tool_call_parser,
            ],
        };
        arguments.extend(flags.into_iter().map(str::to_owned));
        arguments
    }

    /// What its function is made with, as far as the project says.
    pub(super) fn settings(&self) -> Value {
        let mut volumes = json!({"goat-model-cache": "/root/.cache/huggingface"});
        if self.draft.is_some() {
            for name in ["vllm-cache", "flashinfer-cache"] {
                volumes[format!("goat-{name}")] = format!("/root/.cache/goatbuild/{name}").into();
            }
        }
        let (gpu, count) = self.gpu;
        json!({
            "function": "serve",
            "gpu": {"type": gpu, "count": count},
            "volumes": volumes,
            "secrets": [],
            "timeout_secs": 3600,
            "startup_timeout_secs": match self.model {
                "qwen3-235b" => 2700,
                _ if self.draft.is_some() => 1800,
                _ => 900,
            },
            "scaledown_window": 300,
            "min_containers": 0,
            "max_inputs": 32,
        })
    }
}

/// Where a container sees a snapshot.
fn snapshot(repository: &str, commit: &str) -> String {
    let directory = repository.replace('/', "--");
    format!("/root/.cache/huggingface/hub/models--{directory}/snapshots/{commit}")
}
