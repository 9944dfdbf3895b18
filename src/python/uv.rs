//! Finding uv, or fetching the pinned one.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::PythonError;
use super::index::Index;
use crate::blocking::blocking;
use crate::bounded::output::output;
use crate::digest::Digest;
use crate::durable::{TEMPORARY, Unfinished};
use crate::event::Reporter;
use crate::fetch::{Expected, FetchError, Fetcher, FileLock};

/// The first uv whose `pylock.toml` was seen to keep the pins of an existing one.
const OLDEST: (u64, u64, u64) = (0, 8, 0);
/// The uv that is fetched when there is none.
const PINNED: &str = "0.13.9";

/// A wheel of the pinned uv, as <https://pypi.org/simple/uv/> lists it.
struct Pinned {
    /// `std::env::consts::OS` and `ARCH`.
    machine: (&'static str, &'static str),
    filename: &'static str,
    size: u64,
    sha256: Digest,
}

/// The musllinux builds are static, so they run with any libc.
const PINNED_WHEELS: [Pinned; 4] = [
    Pinned {
        machine: ("linux", "x86_64"),
        filename: "uv-0.13.9-py3-none-musllinux_1_1_x86_64.whl",
        size: 19_295_638,
        sha256: Digest::known("2c45530751517d6c3bbc69a19473f6effe47cce047bede01ffd8af7ea7b36b25"),
    },
    Pinned {
        machine: ("linux", "aarch64"),
        filename: "uv-0.13.9-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl",
        size: 18_026_789,
        sha256: Digest::known("5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe"),
    },
    Pinned {
        machine: ("macos", "x86_64"),
        filename: "uv-0.13.9-py3-none-macosx_10_12_x86_64.whl",
        size: 17_529_974,
        sha256: Digest::known("c16ed11e013557536b3e60065f1b912f6407bd6518e041b961e23ef9e6b4fbf5"),
    },
    Pinned {
        machine: ("macos", "aarch64"),
        filename: "uv-0.13.9-py3-none-macosx_11_0_arm64.whl",
        size: 14_660_755,
        sha256: Digest::known("66c512266d633bef48384a1f53003f41f2a8e7b36fe6e7fbfd3e0fd52d96fa63"),
    },
];

/// How long a uv may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// A uv that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uv {
    /// The program; a bare name is looked up on `PATH`.
    pub program: PathBuf,
    /// Its version.
    pub version: String,
}

/// The uv on `PATH` if it is new enough and works, otherwise the pinned one under `tools`.
///
/// The pinned one is fetched once, from the index that the user's variables name.
pub async fn ensure_uv(
    fetcher: &Fetcher,
    tools: &Path,
    reporter: &Reporter,
) -> Result<Uv, PythonError> {
    match ask(Path::new("uv")).await {
        Ok(uv) => return Ok(uv),
        Err(Unfit::Absent) => {}
        Err(Unfit::For(reason)) => {
            reporter.notice(format!("the uv on PATH is not used: {reason}"));
        }
    }
    let index = Index::configured_or_public(|name| std::env::var(name).ok());
    pinned(fetcher, &index, tools, reporter).await
}

/// The pinned uv, fetched through `index` unless it is there already.
pub(super) async fn pinned(
    fetcher: &Fetcher,
    index: &Index,
    tools: &Path,
    reporter: &Reporter,
) -> Result<Uv, PythonError> {
    // It is run from other directories.
    let tools = std::path::absolute(tools).map_err(PythonError::io(tools))?;
    let directory = tools.join(format!("uv-{PINNED}"));
    let program = directory.join("uv");
    if let Ok(uv) = ask(&program).await {
        return Ok(uv);
    }
    let machine = (std::env::consts::OS, std::env::consts::ARCH);
    let Some(wheel) = PINNED_WHEELS.iter().find(|wheel| wheel.machine == machine) else {
        let machine = format!("{} on {}", machine.0, machine.1);
        return Err(PythonError::UvPlatform { version: PINNED, machine });
    };
    if fetcher.is_offline() {
        return Err(PythonError::UvOffline { version: PINNED });
    }
    tokio::fs::create_dir_all(&directory).await.map_err(PythonError::io(&directory))?;
    // Its wheel is there only for as long as one needs it.
    let _held =
        FileLock::wait(&directory.join("uv.lock"), &format!("uv {PINNED}"), reporter).await?;
    if let Ok(uv) = ask(&program).await {
        return Ok(uv);
    }
    reporter.message(format!("fetching uv {PINNED}"));
    let missing =
        || PythonError::UvMissing { index: index.shown(), filename: wheel.filename.to_owned() };
    let source = index.find(fetcher, "uv", wheel.filename).await?.ok_or_else(missing)?;
    let file = directory.join(wheel.filename);
    let expected = Expected { size: Some(wheel.size), sha256: wheel.sha256 };
    reporter.expect(wheel.size);
    fetcher.file(wheel.filename, &[source], &expected, &file, reporter).await?;
    let (packed, to) = (file.clone(), program.clone());
    let extracted = blocking(move || Ok::<_, FetchError>(extract(&packed, &to))).await?;
    extracted.map_err(PythonError::io(&program))?;
    let _ = tokio::fs::remove_file(&file).await;
    ask(&program).await.map_err(|_| PythonError::Io {
        path: program,
        source: std::io::Error::other("the fetched uv does not run here: install uv yourself"),
    })
}

/// Takes the `uv` program out of its wheel; `program` appears whole or not at all.
fn extract(wheel: &Path, program: &Path) -> std::io::Result<()> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(wheel)?)?;
    let mut member = archive.by_name(&format!("uv-{PINNED}.data/scripts/uv"))?;
    let directory = program.parent().unwrap_or(Path::new("."));
    let mut file = Unfinished::begin(directory, TEMPORARY, 0o755)?;
    std::io::copy(&mut member, &mut file)?;
    file.finish(program)
}

/// Runs a command to its end.
///
/// A program that was just written can be busy for a moment: until a child that another thread
/// forked meanwhile has closed the inherited file.
pub(super) async fn output_of(command: &mut Command) -> std::io::Result<Output> {
    let mut left = 20;
    loop {
        match output(command).await {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && left > 0 => {
                left -= 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            finished => return finished,
        }
    }
}

/// Why a program is not the uv that resolves.
enum Unfit {
    /// There is none.
    Absent,
    /// There is one, but this is wrong with it.
    For(String),
}

/// Asks a program for its version.
///
/// From the root, as resolving does: what stands for a uv on `PATH` may be a version manager's, which
/// chooses by the directory.
async fn ask(program: &Path) -> Result<Uv, Unfit> {
    let mut command = Command::new(program);
    command.arg("--version").current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(PATIENCE, output_of(&mut command)).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => return Err(Unfit::Absent),
        Ok(Err(error)) => return Err(Unfit::For(error.to_string())),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            return Err(Unfit::For(format!("it did not say its version within {seconds} s")));
        }
    };
    if !output.status.success() {
        return Err(Unfit::For(format!("`uv --version` failed ({})", output.status)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.strip_prefix("uv ").and_then(|text| text.split_whitespace().next());
    let Some(version) = version.map(str::to_owned) else {
        return Err(Unfit::For("it does not say which version it is".to_owned()));
    };
    let mut numbers = version.split('.').map(|part| part.parse::<u64>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    if (next(), next(), next()) < OLDEST {
        let (major, minor, patch) = OLDEST;
        let oldest = format!("{major}.{minor}.{patch}");
        return Err(Unfit::For(format!("{version} is older than {oldest}")));
    }
    Ok(Uv { program: program.to_owned(), version })
}
