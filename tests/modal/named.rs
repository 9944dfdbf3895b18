//! Repositories that an engine's flags name: locked, fetched and given by path, adapters with entries of
//! their own.

use std::fs;

use serde_json::Value;

use super::registry::Shipped;

const MODEL: &str = "qwen3-4b";
const SPEC: &str = "specs/qwen3-4b.toml";
const ENTRY: &str = "gateway:qwen3-4b/sql";

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

/// The double of vLLM starts only when the adapter and the tokenizer lie where its flags say, the
/// latter without weights, and knows the adapter by its name alone.
#[test]
fn an_adapter_is_fetched_served_tried_out_and_wired_and_goes_with_its_flag() {
    let Some(shipped) = Shipped::with_client() else { return };
    for repository in ["acme/sql", "acme/words"] {
        shipped.hub.small(repository, "adapter_config.json", "{\"r\": 8}");
        shipped.hub.small(repository, "tokenizer.json", "{}");
        shipped.hub.small(repository, "adapter_model.safetensors", "weights");
    }
    let project = &shipped.project;
    let (without, flags) = (
        "max-model-len = 8192",
        "max-model-len = 8192\nenable-lora = true\ntokenizer = \"acme/words\"\n\
         lora-modules = [{ name = \"sql\", path = \"acme/sql\" }]",
    );
    project.edit(SPEC, without, flags);
    let end = shipped.applied(MODEL);
    let ran = ids(&end["ran"]);
    for step in ["weights:acme/sql", "weights:acme/words", ENTRY, "smoke:qwen3-4b"] {
        assert!(ran.contains(&step), "no {step} in {ran:?}");
    }
    let lock = project.read("goatbuild.lock");
    for name in ["acme/sql@main", "acme/words@main"] {
        assert!(lock.contains(&format!("[hub.\"{name}\"]")), "{name} is not locked");
    }
    let gateway = || fs::read_to_string(project.path("dev/litellm-config-modal.yaml")).unwrap();
    let entry = gateway();
    let entry = entry.split("- model_name: ").find(|it| it.starts_with("sql\n")).expect("an entry");
    assert!(entry.contains("model: openai/sql\n"), "{entry}");
    assert!(entry.contains("model: qwen3-4b/sql\n"), "{entry}");
    // It was asked by its name, and is again.
    project.run(&format!("test {MODEL}")).exits(0).says(&["adapter", "sql"]);
    assert_eq!(ids(&shipped.applied(MODEL)["ran"]), [""; 0]);

    // Without the flag, the entry goes; with another repository under the name, it is served anew.
    project.edit(SPEC, "path = \"acme/sql\"", "path = \"acme/words\"");
    let plan = project.plan(MODEL);
    assert_eq!(plan.step("deploy:qwen3-4b")["action"], "run");
    let why = plan.why("deploy:qwen3-4b");
    assert!(why.len() == 2 && why.iter().all(|it| it.contains("engine.lora-modules")), "{why:?}");
    project.edit(SPEC, "path = \"acme/words\"", "path = \"acme/sql\"");
    project.edit(SPEC, flags, without);
    assert_eq!(project.plan("").step(ENTRY)["action"], "remove");
    project.run(&format!("destroy {MODEL} --yes")).exits(0);
    assert!(!gateway().contains("openai/sql\n"), "{}", gateway());
}
