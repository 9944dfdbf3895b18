//! The workflow that docs/ci.md shows, and its scripts as GitHub runs them.

use std::process::Command;

use serde_yaml_ng::Value;

/// The workflow itself, among the document's blocks of YAML.
const WORKFLOW: usize = 1;

/// The blocks of YAML in the document, read.
pub(crate) fn documents() -> Vec<Value> {
    let document = include_str!("../../docs/ci.md");
    let parts = document.split("```yaml\n").skip(1);
    let texts = parts.map(|part| part.split("```").next().expect("its text"));
    texts.map(|text| serde_yaml_ng::from_str(text).expect("YAML")).collect()
}

/// The workflow.
pub(crate) fn workflow() -> Value {
    documents().swap_remove(WORKFLOW)
}

/// The script of one step of the workflow.
pub(crate) fn script(job: &str, step: &str) -> String {
    let workflow = workflow();
    let mut steps = workflow["jobs"][job]["steps"].as_sequence().expect("steps").iter();
    let found = steps.find(|it| it["name"].as_str() == Some(step)).expect("the step");
    found["run"].as_str().expect("a script").to_owned()
}

/// Runs a script as GitHub does; gives its exit code and what it printed.
pub(crate) fn github(script: &str, mut command: Command) -> (Option<i32>, String) {
    command.args(["--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}
