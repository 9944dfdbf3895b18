//! The vocabulary that vLLM's chat of gpt-oss loads as it starts, fetched like weights.

use std::process::Command;

use super::support::double::Fault;
use super::support::encodings::{Encodings, NAME};
use super::support::peers;
use super::support::project::Project;

const STEP: &str = "weights:tiktoken/o200k_base";

/// A program that reads the directory as vLLM does: openai-harmony is what vLLM calls.
const LOADS: &str = "import openai_harmony as h; \
    e = h.load_harmony_encoding(h.HarmonyEncodingName.HARMONY_GPT_OSS); print(e.encode('hello world'))";

/// The shipped gpt-oss-20b, as if it were served here: nothing but its vocabulary is fetched.
fn here() -> Option<(Project, Encodings)> {
    let encodings = Encodings::start()?;
    let mut project = Project::shipped();
    project.edit("specs/gpt-oss-20b.toml", "target = \"modal\"", "target = \"local\"");
    std::fs::remove_file(project.path("specs/gpt-oss-120b.toml")).unwrap();
    project.variable("GOATBUILD_ENCODINGS", &encodings.url);
    project.variable("GOATBUILD_HTTP_ATTEMPTS", "1");
    Some((project, encodings))
}

#[test]
fn it_is_fetched_verified_and_found_by_the_library_that_loads_it() {
    let Some((project, encodings)) = here() else { return };
    // What isn't the pinned file is thrown away.
    encodings.fault(NAME, 1, Fault::Flip(7));
    let apply = format!("apply --only {STEP}");
    project.run(&apply).exits(1).says(&[NAME]);
    project.run(&apply).exits(0).says(&["1 step ran"]);
    let command = project.run("show gpt-oss-20b --command").done();
    let seen = command.split("TIKTOKEN_ENCODINGS_BASE=").nth(1).expect("a variable");
    let seen = seen.split_whitespace().next().unwrap().trim_matches(['\'', '"']);
    let inside = seen.strip_prefix("/root/.cache/huggingface/").expect("the volume");
    let directory =
        project.state().join("goat-7f3a91/default/volumes/goat-model-cache").join(inside);
    assert!(directory.join(NAME).is_file(), "{}", directory.display());

    // Nothing is fetched twice.
    encodings.forget_requests();
    project.run(&apply).exits(0).says(&["0 steps ran"]);
    assert_eq!(encodings.requests().len(), 0);

    let Some(peer) = peers::venv("harmony", &["openai-harmony==0.0.8", "pydantic==2.13.3"]) else {
        return;
    };
    let output = Command::new(peer.join("bin/python"))
        .args(["-c", LOADS])
        .env("TIKTOKEN_ENCODINGS_BASE", &directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "[24912, 2375]");
}

#[test]
fn only_models_of_that_family_have_it() {
    let project = Project::shipped().in_ci_without_a_network();
    for (model, has) in [("gpt-oss-120b", true), ("gpt-oss-20b", true), ("qwen3-4b", false)] {
        let command = project.run(&format!("show {model} --command")).done();
        assert_eq!(command.contains("TIKTOKEN_ENCODINGS_BASE="), has, "{command}");
    }
}
