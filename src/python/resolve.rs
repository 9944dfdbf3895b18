//! Resolving an image's requirements, through uv, into one wheel per package.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::PythonError;
use super::index::Index;
use super::uv::{Uv, output_of};
use crate::bounded;
use crate::fetch::{Fetcher, text_without_credentials, without_credentials};
use crate::leftovers::Scratch;
use crate::lock::pylock::{
    Pylock, PythonRequest, WheelName, no_wheel_among, normalised, validate_requirement,
};
use crate::platform::Runtime;

/// The glibc minors that uv has a `manylinux_2_N` platform for, as of 0.8.0.
const UV_GLIBC: [u32; 12] = [17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40];
/// How many unusable packages of a failed resolution are looked up on the index.
const LOOK_UP: usize = 3;

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

/// What the host has, or asks of all its own projects, says nothing about what is installed
/// elsewhere.
const NOT_THE_HOST: [&str; 9] = [
    "CONDA_PREFIX",
    "UV_CONSTRAINT",
    "UV_EXCLUDE",
    "UV_OVERRIDE",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    // `auto` looks at the host's GPU.
    "UV_TORCH_BACKEND",
    "VIRTUAL_ENV",
];
/// Paths that would mean something else from another directory.
const PATHS: [&str; 3] = ["SSL_CERT_FILE", "UV_CACHE_DIR", "UV_CONFIG_FILE"];

/// Runs a command of uv's in the root, with the user's index, certificates and proxies, and with
/// nothing that is meant for other projects.
pub fn isolate(command: &mut Command) {
    // From the root, so that no project's uv settings apply but the user's do.
    command.current_dir("/");
    for name in NOT_THE_HOST {
        command.env_remove(name);
    }
    for (name, value) in environment(|name| std::env::var(name).ok()) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

/// What uv's environment gets (or loses) besides the user's own.
fn environment(variable: impl Fn(&str) -> Option<String>) -> Vec<(&'static str, Option<String>)> {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let mut changes = vec![
        ("UV_PYTHON_DOWNLOADS", Some("never".to_owned())),
        // The operating system's certificates; the second name is that of older versions.
        ("UV_SYSTEM_CERTS", Some("1".to_owned())),
        ("UV_NATIVE_TLS", Some("1".to_owned())),
    ];
    if set("UV_DEFAULT_INDEX").is_none() && set("UV_INDEX_URL").is_none() {
        changes.extend(set("PIP_INDEX_URL").map(|url| ("UV_DEFAULT_INDEX", Some(url))));
    }
    if set("UV_INDEX").is_none() && set("UV_EXTRA_INDEX_URL").is_none() {
        changes.extend(set("PIP_EXTRA_INDEX_URL").map(|urls| ("UV_EXTRA_INDEX_URL", Some(urls))));
    }
    for name in PATHS {
        let absolute = set(name).and_then(|path| std::path::absolute(path).ok());
        let text = absolute.and_then(|path| path.into_os_string().into_string().ok());
        changes.extend(text.map(|path| (name, Some(path))));
    }
    if set("SSL_CERT_FILE").is_none() {
        changes.extend(set("PIP_CERT").map(|path| ("SSL_CERT_FILE", Some(path))));
    }
    let links = set("UV_FIND_LINKS").or_else(|| set("PIP_FIND_LINKS")).unwrap_or_default();
    let remote: Vec<&str> = links
        .split([',', ' ', '\n'])
        .filter(|link| link.starts_with("http://") || link.starts_with("https://"))
        .collect();
    changes.push(("UV_FIND_LINKS", (!remote.is_empty()).then(|| remote.join(","))));
    changes
}

/// uv's name of the platform: the newest that is not newer than the runtime's glibc.
fn platform(runtime: &Runtime) -> String {
    let minor =
        UV_GLIBC.iter().rev().find(|&&minor| minor <= runtime.glibc.minor).unwrap_or(&UV_GLIBC[0]);
    format!("{}-manylinux_2_{minor}", runtime.architecture.machine())
}

/// Turns uv's words into an error, with what the index has of the packages that do not fit.
async fn failure(words: String, fetcher: &Fetcher, request: &PythonRequest) -> PythonError {
    if words.contains("No interpreter found") {
        return PythonError::NoInterpreter;
    }
    if !words.contains("No solution found") {
        return PythonError::Uv { image: request.image.clone(), output: words };
    }
    let mut found = Vec::new();
    let mut help = None;
    if !fetcher.is_offline() {
        let index = Index::configured_or_public(|name| std::env::var(name).ok());
        for (package, version) in unusable(&words).into_iter().take(LOOK_UP) {
            let Ok(files) = index.files(fetcher, &package).await else { continue };
            let names: Vec<String> = files
                .into_iter()
                .map(|file| file.filename)
                .filter(|name| is_of(name, &package, &version))
                .collect();
            if names.is_empty() {
                continue;
            }
            if let Some(error) = no_wheel_among(&package, &version, &request.runtime, &names) {
                found.push(error.to_string());
                let way_out = miette::Diagnostic::help(&error).map(|help| help.to_string());
                help = help.or(way_out);
            }
        }
    }
    PythonError::Unsatisfiable {
        image: request.image.clone(),
        explanation: words,
        found,
        help: help.unwrap_or_else(|| {
            if fetcher.is_offline() {
                return "with --offline only what uv has cached is known: run once without it"
                    .to_owned();
            }
            format!(
                "change the requirements in the image's file, or its Python ({}) or base (glibc {})",
                request.runtime.python, request.runtime.glibc
            )
        }),
    }
}

/// The `(package, version)` pairs that uv says have no wheel for the platform.
fn unusable(words: &str) -> Vec<(String, String)> {
    // uv wraps lines and indents them.
    let tokens: Vec<&str> = words.split_whitespace().collect();
    let mut pairs = Vec::new();
    for window in tokens.windows(4) {
        // "has no usable wheels", "has no wheels with a matching Python ABI tag" and the like.
        let says = matches!(window[1..], ["has", "no", "usable" | "wheels"]);
        let Some((name, version)) = window[0].split_once("==") else { continue };
        let pair = (normalised(name.split('[').next().unwrap_or(name)), version.to_owned());
        if says && !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    pairs
}

/// Whether a file on an index's page is a wheel of this version.
fn is_of(filename: &str, package: &str, version: &str) -> bool {
    if let Some(wheel) = WheelName::parse(filename) {
        return normalised(&wheel.name) == package && same_version(&wheel.version, version);
    }
    // A source archive: only its version tells it from the others.
    filename
        .strip_suffix(".tar.gz")
        .and_then(|stem| stem.rsplit_once('-'))
        .is_some_and(|(_, found)| same_version(found, version))
}

fn same_version(one: &str, other: &str) -> bool {
    use std::str::FromStr as _;
    match (pep440_rs::Version::from_str(one), pep440_rs::Version::from_str(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
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

    #[test]
    fn pip_variables_count_where_those_of_uv_are_unset() {
        let changes = environment(|name| {
            match name {
                "PIP_INDEX_URL" => Some("https://pip.example/simple"),
                "UV_INDEX" => Some("https://more.example/simple"),
                "PIP_EXTRA_INDEX_URL" => Some("https://extra.example/simple"),
                "PIP_FIND_LINKS" => Some("/opt/wheels https://links.example/"),
                _ => None,
            }
            .map(str::to_owned)
        });
        let entry = |name: &str| changes.iter().find(|(found, _)| *found == name);
        let value = |name| entry(name).and_then(|(_, value)| value.as_deref());
        assert_eq!(value("UV_DEFAULT_INDEX"), Some("https://pip.example/simple"));
        assert_eq!(entry("UV_EXTRA_INDEX_URL"), None);
        assert_eq!(value("UV_FIND_LINKS"), Some("https://links.example/"));
    }

    #[test]
    fn unusable_packages_are_read_from_wrapped_words() {
        let words = "  × No solution found when resolving dependencies:\n  ╰─▶ Because mlx[cpu]==0.32.4 has\n      no wheels with a matching platform tag (e.g.,\n      `manylinux_2_31_x86_64`) and vllm==0.13.0 has no usable wheels";
        assert_eq!(
            unusable(words),
            [("mlx".to_owned(), "0.32.4".to_owned()), ("vllm".to_owned(), "0.13.0".to_owned())]
        );
    }
}
