//! The same graph for `ninja`: one file per step, made by a command that does nothing.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::peers;
use crate::project::Filled;

/// The version that ratios were measured with.
const REQUIREMENT: &str = "ninja==1.13.0";

/// Writes and builds the graph once; `None` when ninja can't be had. Returns its path.
pub(crate) fn build(directory: &Path, filled: &Filled) -> Option<PathBuf> {
    let ninja = peers::venv("ninja", &[REQUIREMENT])?.join("bin/ninja");
    // The package's own wrapper would add Python's start to every run.
    let ninja = program(&ninja).unwrap_or(ninja);
    let root = directory.join("ninja");
    // The outputs are there from the start, so that the command need not be a process's worth.
    let mut text = "rule step\n  command = :\n".to_owned();
    for (id, inputs) in &filled.steps {
        let _ = write!(text, "build {}: step", output(id));
        for input in inputs {
            let _ = write!(text, " {}", output(input));
        }
        if let Some(model) = id.strip_prefix("deploy:") {
            let _ = write!(text, " ../project/specs/{model}.toml");
        }
        text.push('\n');
        let path = root.join(output(id));
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, id).expect("an output");
    }
    fs::write(root.join("build.ninja"), text).expect("a manifest");
    let built = Command::new(&ninja)
        .args(["--quiet", "-C"])
        .arg(&root)
        .stdout(Stdio::null())
        .status()
        .expect("ninja starts");
    assert!(built.success(), "ninja: {built}");
    Some(ninja)
}

fn output(id: &str) -> String {
    format!("out/{}", id.replacen(':', "/", 1))
}

/// The real program of a wheel that puts a Python script before it.
fn program(script: &Path) -> Option<PathBuf> {
    let start = fs::read(script).ok()?;
    if !start.starts_with(b"#!") {
        return None;
    }
    let library = script.parent()?.parent()?.join("lib");
    walkdir::WalkDir::new(library)
        .into_iter()
        .flatten()
        .map(walkdir::DirEntry::into_path)
        .find(|path| path.ends_with("ninja/data/bin/ninja"))
}
