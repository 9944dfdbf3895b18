//! One run of a package's build backend, in a sandbox.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::error::BuildError;
use super::root::Root;
use crate::bounded;
use crate::leftovers::Scratch;
use crate::lock::pylock::{WheelName, normalised};
use crate::runtime::{Bind, Output, Sandbox};
use crate::step::{StepError, StepId};
use crate::wheel::{self, Content};
use crate::workspace::LockedPackage;

/// What runs the backend.
const DRIVER: &str = include_str!("driver.py");
/// Where the sources are, and where the wheel goes: always the same, whoever builds where.
const SOURCE: &str = "/tmp/source";
const WHEEL: &str = "/tmp/wheel";
/// How much of a failed build's output an error shows, in lines.
const TAIL: usize = 30;

/// A wheel that was built.
pub(super) struct Built {
    pub(super) filename: String,
    /// The wheel packed anew.
    pub(super) packed: PathBuf,
    pub(super) content: Content,
    /// Where it lies until this is dropped.
    _place: Scratch,
}

/// The sandbox in which what is in `place` is built.
pub(super) fn sandbox(root: &Root, place: &Path, package: &LockedPackage, time: u64) -> Sandbox {
    let asked = json!({
        "backend": package.package.backend,
        "path": package.package.backend_path,
        "wheel": WHEEL,
    });
    let mut env = root.env.clone();
    for (name, value) in [
        ("LC_ALL", "C.UTF-8"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONHASHSEED", "0"),
        ("SOURCE_DATE_EPOCH", &time.to_string()),
        ("TZ", "UTC"),
    ] {
        env.insert(name.to_owned(), value.to_owned());
    }
    let bind = |name: &str, target: &str| Bind {
        source: place.join(name),
        target: target.into(),
        read_only: false,
    };
    Sandbox {
        root: root.path.clone(),
        binds: vec![bind("source", SOURCE), bind("wheel", WHEEL)],
        env,
        command: ["python", "-c", DRIVER, &asked.to_string()].map(str::to_owned).to_vec(),
        workdir: SOURCE.to_owned(),
        log: place.join("log"),
        alone: true,
    }
}

/// What a run made, packed anew.
pub(super) fn built(
    place: Scratch,
    package: &LockedPackage,
    step: &StepId,
    output: &Output,
) -> Result<Built, StepError> {
    let name = package.name.clone();
    let made = place.path().join("wheel");
    if output.status != 0 {
        let told = made.join("missing");
        if is_file(&told)
            && let Ok(missing) = bounded::read_to_string(&told, bounded::TEXT)
        {
            let missing = missing.lines().map(str::to_owned).collect();
            let backend = package.package.backend.clone();
            return Err(BuildError::Missing { package: name, backend, missing }.into());
        }
        let (status, step) = (output.status, step.clone());
        return Err(
            BuildError::Failed { package: name, status, tail: tail(&output.text), step }.into()
        );
    }
    let entries = std::fs::read_dir(&made).map_err(BuildError::file(&made))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let names: Vec<String> = names.collect();
    let [filename] = &names[..] else {
        let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        return Err(BuildError::Wheel { package: name, found }.into());
    };
    if WheelName::parse(filename).is_none_or(|wheel| normalised(&wheel.name) != name) {
        return Err(BuildError::Wheel { package: name, found: filename.clone() }.into());
    }
    if !is_file(&made.join(filename)) {
        let found = format!("{filename}, which is no file");
        return Err(BuildError::Wheel { package: name, found }.into());
    }
    let packed = place.path().join("packed");
    let out = File::create(&packed).map_err(BuildError::file(&packed))?;
    let content = wheel::repack(&made.join(filename), filename, out)?;
    Ok(Built { filename: filename.clone(), packed, content, _place: place })
}

/// Whether a build left a file there, and no link: that would lead elsewhere outside of the sandbox.
fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file())
}

/// The end of what was printed.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}
