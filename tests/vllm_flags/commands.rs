//! The commands of the models that this repository ships, without a network.

use std::process::Command;

use serde_json::Value;

use super::{SHIPPED, data, is, reads, words};
use crate::support::project::Project;

fn clone() -> Project {
    Project::shipped().in_ci_without_a_network()
}

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
    let clone = clone();
    let shown = SHIPPED.map(|(model, _)| clone.run(&format!("show {model} --command")).done());
    insta::assert_snapshot!("commands", shown.join("\n"));
}

/// What the real parser says against one flag and the words behind it.
fn refused(flag: &str, values: &[String], real: &Value) -> Option<String> {
    let Some(known) = real["flags"].get(flag) else { return Some(format!("--{flag}: unknown")) };
    let wrong = |why: &str| Some(format!("--{flag} {values:?}: {why}"));
    if is(known, "switch") {
        return if values.is_empty() { None } else { wrong("takes no value") };
    }
    if values.len() > 1 && known["nargs"] == "+" {
        let each = values.iter().map(|value| refused(flag, std::slice::from_ref(value), real));
        return each.flatten().next();
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
    let strict =
        like.starts_with('{') && known["reads"].as_object().is_some_and(serde_json::Map::is_empty);
    if choices.is_empty() && !strict && !reads(known, like) {
        return wrong("can't be read");
    }
    if flag == "tool-call-parser" && !words(&real["tool-parsers"]).contains(value) {
        return wrong("is no parser");
    }
    None
}

#[test]
fn the_real_parsers_take_the_commands_of_the_shipped_models() {
    let clone = clone();
    for (model, version) in SHIPPED {
        let stdout = clone.run(&format!("show {model} --command")).done();
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
    let clone = clone();
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
            clone.run(command).fails(65, &told).tells(&["goatbuild::spec::", path]);
        }
        clone.edit(path, to, from);
    }
    let stdout = clone.run("plan").done();
    assert!(!stdout.contains("warning"), "{stdout}");
}
