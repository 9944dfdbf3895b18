//! One question to uv: its files, its command line, and what it answers.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::isolation::isolate;
use super::{Upgrade, name_of};
use crate::bounded;
use crate::fetch::text_without_credentials;
use crate::lock::pylock::{PackageIndex, PythonRequest};
use crate::platform::Runtime;
use crate::python::PythonError;
use crate::python::uv::{Uv, output_of};

/// The glibc minors that uv has a `manylinux_2_N` platform for, as of 0.8.0.
const UV_GLIBC: [u32; 12] = [17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40];

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) uv: &'a Uv,
    pub(super) request: &'a PythonRequest,
    pub(super) previous: Option<&'a str>,
    pub(super) upgrade: &'a Upgrade,
    pub(super) is_offline: bool,
    /// For its files.
    pub(super) scratch: &'a Path,
}

/// What came of it: `pylock.toml`, or none, and what uv wrote to standard error.
pub(super) struct Answer {
    pub(super) lock: Option<String>,
    pub(super) words: String,
}

impl Question<'_> {
    /// Asks uv, with `added` as further requirements.
    pub(super) async fn ask(&self, added: &BTreeSet<&str>) -> Result<Answer, PythonError> {
        let Self { uv, request, previous, upgrade, is_offline, scratch } = self;
        let output = scratch.join("pylock.toml");
        let write = async |path: &Path, text: &str| {
            tokio::fs::write(path, text).await.map_err(PythonError::io(path))
        };
        let mut requirements: Vec<&str> =
            request.requirements.iter().map(String::as_str).chain(added.iter().copied()).collect();
        requirements.push("pip");
        let is_plain = request.sources.indexes.is_empty();
        let input = scratch.join(if is_plain { "requirements.in" } else { "pyproject.toml" });
        let text =
            if is_plain { requirements.join("\n") + "\n" } else { project(request, &requirements) };
        write(&input, &text).await?;
        // What an earlier question was answered is not what was locked.
        match previous {
            Some(previous) => write(&output, previous).await?,
            None => drop(tokio::fs::remove_file(&output).await),
        }
        let mut command = Command::new(&uv.program);
        command
            .args(["pip", "compile", "--color", "never", "--format", "pylock.toml"])
            .args(["--no-header", "--only-binary", ":all:"])
            .args(["--python-version", &request.runtime.python.to_string()])
            .args(["--python-platform", &platform(&request.runtime)])
            .arg("--output-file")
            .arg(&output);
        if let Some(as_of) = &request.sources.as_of {
            command.args(["--exclude-newer", as_of]);
        }
        if !request.overrides.is_empty() {
            let overrides = scratch.join("overrides.txt");
            write(&overrides, &(request.overrides.join("\n") + "\n")).await?;
            command.arg("--overrides").arg(overrides);
        }
        match upgrade {
            Upgrade::None => {}
            Upgrade::All => {
                command.arg("--upgrade");
            }
            Upgrade::Packages(names) => {
                for name in names {
                    command.arg(format!("--upgrade-package={name}"));
                }
            }
        }
        if *is_offline {
            command.arg("--offline");
        }
        isolate(&mut command);
        // It prints the lock as well.
        command.arg(&input).stdin(Stdio::null()).kill_on_drop(true);
        let finished = output_of(&mut command).await.map_err(PythonError::io(&uv.program))?;
        let words = text_without_credentials(String::from_utf8_lossy(&finished.stderr).trim());
        let lock = if finished.status.success() {
            let text = bounded::read_to_string(&output, bounded::LOCK);
            Some(text.map_err(PythonError::io(&output))?)
        } else {
            None
        };
        Ok(Answer { lock, words })
    }
}

/// The requirements as a project: only there uv can be told which index a package comes from.
fn project(request: &PythonRequest, requirements: &[&str]) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let listed: Vec<String> = requirements.iter().map(|it| quoted(it)).collect();
    let mut text = format!(
        "[project]\nname = \"goatbuild-image\"\nversion = \"0\"\nrequires-python = \"=={}.*\"\n\
         dependencies = [{}]\n",
        request.runtime.python,
        listed.join(", ")
    );
    let required: BTreeSet<String> = requirements.iter().filter_map(|it| name_of(it)).collect();
    text.push_str("\n[tool.uv.sources]\n");
    let indexes = || request.sources.indexes.iter().enumerate();
    for (at, PackageIndex { packages, .. }) in indexes() {
        for package in packages.intersection(&required) {
            let _ = writeln!(text, "{package} = {{ index = \"index-{at}\" }}");
        }
    }
    for (at, PackageIndex { url, .. }) in indexes() {
        let url = quoted(url);
        let _ = writeln!(
            text,
            "\n[[tool.uv.index]]\nname = \"index-{at}\"\nurl = {url}\nexplicit = true"
        );
    }
    text
}

/// uv's name of the platform: the newest that is not newer than the runtime's glibc.
fn platform(runtime: &Runtime) -> String {
    let minor =
        UV_GLIBC.iter().rev().find(|&&minor| minor <= runtime.glibc.minor).unwrap_or(&UV_GLIBC[0]);
    format!("{}-manylinux_2_{minor}", runtime.architecture.machine())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{Architecture, MajorMinor};

    #[test]
    fn the_platform_is_never_newer_than_the_base() {
        let of = |glibc| {
            platform(&Runtime {
                architecture: Architecture::Arm64,
                glibc: MajorMinor { major: 2, minor: glibc },
                python: MajorMinor { major: 3, minor: 12 },
            })
        };
        assert_eq!(of(36), "aarch64-manylinux_2_36");
        assert_eq!(of(30), "aarch64-manylinux_2_28");
        assert_eq!(of(43), "aarch64-manylinux_2_40");
    }
}
