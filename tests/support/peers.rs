//! Provides programs that nobody here wrote, once per checkout, under `target/peers`.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What installs the others; goatbuild's own tests against it have it too.
const UV: &str = "uv==0.13.9";

/// What CI may go without, with a reason each.
const UNAVAILABLE: &str = include_str!("../../.ci/unavailable");

/// Says that a test, or a part of it, does not run for want of this peer, by its name.
///
/// In CI, or with `GOATBUILD_REQUIRE_PEERS=1`, it fails unless `.ci/unavailable` names the peer.
#[track_caller]
pub(crate) fn skipped(peer: &str, reason: &str) {
    let is_set =
        |name: &&str| std::env::var(name).is_ok_and(|it| !["", "0", "false"].contains(&&*it));
    let is_required = ["CI", "GOATBUILD_REQUIRE_PEERS"].iter().any(is_set);
    assert!(
        !is_required || is_listed(UNAVAILABLE, peer),
        "the peer `{peer}` cannot be had: {reason}"
    );
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let reason: Vec<&str> = reason.split_whitespace().collect();
    let reason: String = reason.join(" ").chars().take(1000).collect();
    // One write, so that no other test's line is in it. What `eprintln` prints is kept back for a test
    // that passes; this is not.
    let line = format!("SKIPPED {test}: the peer `{peer}` cannot be had: {reason}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Whether such a list names a peer: it has a name and a reason in each line.
pub(crate) fn is_listed(list: &str, peer: &str) -> bool {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(": ")).any(|(name, _)| name == peer)
}

/// Where peers live; kept between runs.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers")
}

/// A Python environment with exactly these requirements, made if it isn't there.
///
/// `None` when it cannot be had, for want of a network say; the test's name and the reason then
/// stand on stderr, and the test should return.
pub(crate) fn venv(name: &str, requirements: &[&str]) -> Option<PathBuf> {
    match try_venv(name, requirements) {
        Ok(venv) => Some(venv),
        Err(reason) => {
            skipped(name, &reason);
            None
        }
    }
}

fn try_venv(name: &str, requirements: &[&str]) -> Result<PathBuf, String> {
    let directory = directory();
    fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let lock =
        File::create(directory.join(format!("{name}.lock"))).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let venv = directory.join(name);
    let stamp = venv.join("goatbuild-stamp");
    let wanted = requirements.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(venv);
    }
    let _ = fs::remove_dir_all(&venv);
    // uv does in seconds what takes pip minutes; uv itself comes by pip.
    if requirements == [UV] {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        run(pip.args(["--retries", "2", "--timeout", "30"]).args(requirements))?;
    } else {
        run(uv()?.args(["venv", "--quiet", "--python", "python3"]).arg(&venv))?;
        let mut install = uv()?;
        install.args(["pip", "install", "--quiet", "--compile-bytecode", "--python"]);
        run(install.arg(venv.join("bin/python")).args(requirements))?;
    }
    fs::write(&stamp, wanted).map_err(|error| error.to_string())?;
    Ok(venv)
}

/// uv with this system's certificates, the index that pip has, and no project's settings.
fn uv() -> Result<Command, String> {
    let mut command = Command::new(try_venv(&UV.replace("==", "-"), &[UV])?.join("bin/uv"));
    command.current_dir("/").envs(["UV_SYSTEM_CERTS", "UV_NATIVE_TLS"].map(|name| (name, "1")));
    if let Some(index) = std::env::var_os("PIP_INDEX_URL") {
        command.env("UV_DEFAULT_INDEX", index);
    }
    Ok(command)
}

/// Runs a command; its stderr's end is the error.
fn run(command: &mut Command) -> Result<(), String> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let end = said.lines().rev().take(5).collect::<Vec<_>>();
    Err(format!("{command:?} failed: {}", end.into_iter().rev().collect::<Vec<_>>().join(" | ")))
}

/// The source of a crate as it is published, fetched by cargo; `None`, loudly, when it cannot be had.
pub(crate) fn crate_source(name: &str, version: &str) -> Option<PathBuf> {
    match try_crate_source(name, version) {
        Ok(source) => Some(source),
        Err(reason) => {
            skipped(name, &reason);
            None
        }
    }
}

fn try_crate_source(name: &str, version: &str) -> Result<PathBuf, String> {
    let word = |error: std::io::Error| error.to_string();
    let directory = directory().join(name);
    fs::create_dir_all(directory.join("src")).map_err(word)?;
    let lock = File::create(directory.with_extension("lock")).map_err(word)?;
    lock.lock().map_err(word)?;
    let source = directory.join(format!("vendor/{name}-{version}"));
    if source.join(".cargo-checksum.json").exists() {
        return Ok(source);
    }
    let manifest = format!(
        "[package]\nname = \"peer\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\n{name} = {{ version = \"={version}\", default-features = false }}\n"
    );
    fs::write(directory.join("Cargo.toml"), manifest).map_err(word)?;
    fs::write(directory.join("src/lib.rs"), "").map_err(word)?;
    let mut vendor = Command::new("cargo");
    run(vendor.args(["vendor", "--versioned-dirs", "vendor"]).current_dir(&directory))?;
    Ok(source)
}

/// A directory with exactly what these files lock, installed by npm: `package.json`, its lock, and a
/// script that uses it. Made if it isn't there; `None`, loudly, when it cannot be had.
pub(crate) fn npm(name: &str, files: &[(&str, &str)]) -> Option<PathBuf> {
    match try_npm(name, files) {
        Ok(directory) => Some(directory),
        Err(reason) => {
            skipped(name, &reason);
            None
        }
    }
}

fn try_npm(name: &str, files: &[(&str, &str)]) -> Result<PathBuf, String> {
    let word = |error: std::io::Error| error.to_string();
    let directory = directory().join(name);
    fs::create_dir_all(&directory).map_err(word)?;
    let lock = File::create(directory.with_extension("lock")).map_err(word)?;
    lock.lock().map_err(word)?;
    let stamp = directory.join("goatbuild-stamp");
    let wanted = files.iter().map(|(_, text)| *text).collect::<Vec<_>>().join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(directory);
    }
    for (file, text) in files {
        fs::write(directory.join(file), text).map_err(word)?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    run(npm.args(["--fetch-retries", "2", "--fetch-timeout", "30000"]).current_dir(&directory))?;
    fs::write(&stamp, wanted).map_err(word)?;
    Ok(directory)
}
