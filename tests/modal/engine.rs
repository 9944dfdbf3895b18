//! A real engine with a real, if small, model in the double's containers.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::Remote;
use super::support::double::Content;
use super::support::hub::COMMIT;
use super::support::modal::{ModalDouble, PROXY_KEY, PROXY_SECRET};
use super::support::peers;

/// What the image of the quickstart locks, and what the function needs that fetches weights.
const INSIDE: [&str; 5] = [
    "mlx-lm==0.32.2",
    "mlx[cpu]==0.32.4",
    "transformers==5.23.0",
    "huggingface_hub==2.4.0",
    "hf-xet==1.8.0",
];

const FILES: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// The quickstart's model and image, on Modal.
fn quickstart() -> Option<Remote> {
    let python = peers::venv("mlx-lm", &INSIDE)?.join("bin/python");
    let remote = Remote::on(ModalDouble::start_with(&python)?)?;
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
    for name in FILES {
        let bytes = fs::read(quickstart.join("tiny-qwen3").join(name)).unwrap();
        let size = bytes.len() as u64;
        remote.hubbed.hub.large("acme/tiny-qwen3", name, &Content::repeated(bytes, size));
    }
    let project = &remote.hubbed.project;
    for name in ["goatbuild.lock", "images/mlx.toml", "images/mlx.pylock.toml"] {
        project.write(name, &fs::read_to_string(quickstart.join(name)).unwrap());
    }
    for name in ["images/tiny.toml", "images/tiny.pylock.toml", "specs/tiny.toml"] {
        fs::remove_file(project.root().join(name)).unwrap();
    }
    project.write(
        "specs/tiny-qwen3.toml",
        &format!(
            "image = \"mlx\"\ntarget = \"modal\"\n\n[model]\nsource = \"hf:acme/tiny-qwen3\"\n\
             revision = \"{COMMIT}\"\n\n[engine]\nname = \"mlx-lm\"\nmax-tokens = 16\n"
        ),
    );
    Some(remote)
}

#[test]
fn mlx_lm_serves_what_was_fetched_from_a_hub() {
    let Some(remote) = quickstart() else { return };
    let project = &remote.hubbed.project;
    let ran = project.apply("--yes").ran();
    let all = ["deploy", "gateway", "image:mlx", "smoke", "weights:acme/tiny-qwen3"];
    assert!(ran.len() == all.len() && ran.iter().zip(all).all(|(id, it)| id.starts_with(it)));

    let status: Value = serde_json::from_str(&project.run("status --json").stdout).unwrap();
    let url = status["models"][0]["url"].as_str().unwrap();
    let ask = json!({
        "model": "tiny-qwen3", "max_tokens": 8, "temperature": 0, "logprobs": true,
        "messages": [{"role": "user", "content": "Hello"}],
    });
    let output = Command::new("curl")
        .args(["-sS", "--noproxy", "*", "-m", "60", &format!("{url}/chat/completions")])
        .args(["-H", &format!("Modal-Key: {PROXY_KEY}")])
        .args(["-H", &format!("Modal-Secret: {PROXY_SECRET}")])
        .args(["-H", "Content-Type: application/json", "-d", &ask.to_string()])
        .output()
        .unwrap();
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    // A model was run: it counted what it was asked, and weighed each token it chose.
    assert_eq!(answer["usage"]["completion_tokens"], 8, "{answer}");
    let weighed = &answer["choices"][0]["logprobs"]["content"];
    assert_eq!(weighed.as_array().map(Vec::len), Some(8), "{answer}");
    assert!(weighed[0]["logprob"].as_f64().is_some_and(|it| it < 0.0), "{answer}");

    project.run("test tiny-qwen3").exits(0).says(&["models", "chat", "stream"]);
    assert_eq!(project.apply("--yes").ran(), [] as [&str; 0]);
}
