//! Resolving an image's requirements, through uv, into one wheel per package.

mod failure;
mod isolation;

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use self::failure::failure;
pub use self::isolation::isolate;
use super::PythonError;
use super::uv::{Uv, output_of};
use crate::bounded;
use crate::fetch::{Fetcher, text_without_credentials, without_credentials};
use crate::leftovers::Scratch;
use crate::lock::pylock::{Pylock, PythonRequest, validate_requirement};
use crate::platform::Runtime;

/// The glibc minors that uv has a `manylinux_2_N` platform for, as of 0.8.0.
const UV_GLIBC: [u32; 12] = [17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40];

/// Which pins of the previous lock are let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upgrade {
    /// None: only what the request forces changes.
    None,
    /// All: as if there were no previous lock.
    All,
    /// Those of these packages.
    Packages(Vec<String>),
}

/// Resolves a request to exactly one wheel per package, `pip` among them.
///
/// `previous` is the text of the lock so far: its versions are kept where they can be. `work` is a
/// directory for scratch files. uv's cache, configuration and index variables are the user's;
/// pip's index variables count where uv's are not set. Local directories of wheels do not: a lock
/// that names them would hold on one machine only.
pub async fn resolve(
    uv: &Uv,
    fetcher: &Fetcher,
    request: &PythonRequest,
    previous: Option<&str>,
    upgrade: &Upgrade,
    work: &Path,
) -> Result<Pylock, PythonError> {
    for requirement in request.requirements.iter().chain(&request.overrides) {
        validate_requirement(requirement).map_err(|reason| PythonError::Requirement {
            image: request.image.clone(),
            requirement: requirement.clone(),
            reason,
        })?;
    }
    if let Some(previous) = previous {
        Pylock::parse(previous)?;
    }
    tokio::fs::create_dir_all(work).await.map_err(PythonError::io(work))?;
    let scratch = Scratch::make(work, "resolve-").map_err(PythonError::io(work))?;
    let scratch_path = scratch.path().canonicalize().map_err(PythonError::io(scratch.path()))?;
    let text = run(uv, fetcher, request, previous, upgrade, &scratch_path).await?;
    let mut lock = Pylock::parse(&text)?;
    for package in &mut lock.packages {
        for wheel in package.wheels.iter_mut().chain(&mut package.archive) {
            wheel.url = wheel.url.take().map(|url| without_credentials(&url));
        }
    }
    let wheels = lock.choose(&request.runtime)?;
    Ok(Pylock::of(&wheels, request))
}

/// Runs uv in `scratch` and returns the `pylock.toml` that it wrote.
async fn run(
    uv: &Uv,
    fetcher: &Fetcher,
    request: &PythonRequest,
    previous: Option<&str>,
    upgrade: &Upgrade,
    scratch: &Path,
) -> Result<String, PythonError> {
    let input = scratch.join("requirements.in");
    let output = scratch.join("pylock.toml");
    let write = async |path: &Path, text: &str| {
        tokio::fs::write(path, text).await.map_err(PythonError::io(path))
    };
    write(&input, &(request.requirements.join("\n") + "\npip\n")).await?;
    if let Some(previous) = previous {
        write(&output, previous).await?;
    }
    let mut command = Command::new(&uv.program);
    command
        .args(["pip", "compile", "--quiet", "--color", "never", "--format", "pylock.toml"])
        .args(["--no-header", "--only-binary", ":all:"])
        .args(["--python-version", &request.runtime.python.to_string()])
        .args(["--python-platform", &platform(&request.runtime)])
        .arg("--output-file")
        .arg(&output);
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
    if fetcher.is_offline() {
        command.arg("--offline");
    }
    isolate(&mut command);
    command.arg(&input).stdin(Stdio::null()).kill_on_drop(true);
    let finished = output_of(&mut command).await.map_err(PythonError::io(&uv.program))?;
    if finished.status.success() {
        return bounded::read_to_string(&output, bounded::LOCK).map_err(PythonError::io(&output));
    }
    let words = text_without_credentials(String::from_utf8_lossy(&finished.stderr).trim());
    Err(failure(words, fetcher, request).await)
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
