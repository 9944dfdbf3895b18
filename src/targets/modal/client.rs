//! Modal's own client, in an environment that goatbuild makes for itself, and the driver that is run
//! with it: one process for each thing that is done.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::OnceCell;

use super::error::ModalError;
use crate::blocking::blocking;
use crate::event::Reporter;
use crate::fetch::{Fetcher, hex};
use crate::python::{ensure_uv, set_environment};
use crate::step::StepError;

/// The client and all it needs, by hash, for every Python from 3.10 and every platform: made by
/// `uv pip compile --universal --generate-hashes --python-version 3.10`.
const REQUIREMENTS: &str = include_str!("client-requirements.txt");

/// What is run with the client's Python.
const DRIVER: &str = include_str!("driver.py");

/// How long Modal may take to answer at all, in seconds: the client's own patience is a minute.
const PATIENCE: u64 = 15;

/// The version of Modal's image builder, where nothing says another: it adds what Modal itself needs
/// to images out of registries. Left open it would be the workspace's, and another one anywhere.
pub(super) const BUILDER: &str = "2025.06";

/// What the lines of programs begin with that say how far they are.
const PROGRESS: &str = "goatbuild-progress ";

/// How many of its last lines tell why the client failed.
const LAST: usize = 15;

/// The client of one project.
#[derive(Debug)]
pub(super) struct Client {
    /// Where tools are kept: `cache/tools`.
    tools: PathBuf,
    fetcher: Fetcher,
    environment: String,
    python: OnceCell<PathBuf>,
}

impl Client {
    pub(super) fn new(tools: PathBuf, fetcher: Fetcher, environment: String) -> Self {
        Self { tools, fetcher, environment, python: OnceCell::new() }
    }

    /// Where the client's environment is. With other requirements, or another driver, it is another
    /// one: commands of two versions don't get into each other's way.
    fn directory(&self) -> PathBuf {
        let hash = blake3::hash([REQUIREMENTS, DRIVER].concat().as_bytes());
        let directory = self.tools.join(format!("modal-{}", hex(&hash.as_bytes()[..6])));
        std::path::absolute(&directory).unwrap_or(directory)
    }

    /// The Python that has the client; installed when it isn't there.
    async fn python(&self, reporter: &Reporter) -> Result<&Path, StepError> {
        let python = self.python.get_or_try_init(|| self.install(reporter)).await?;
        Ok(python)
    }

    async fn install(&self, reporter: &Reporter) -> Result<PathBuf, StepError> {
        let directory = self.directory();
        let python = directory.join("bin/python");
        // Written last: an installation that was cut short has none.
        let whole = directory.join("goatbuild.json");
        if whole.exists() {
            return Ok(python);
        }
        let write = |path: &Path| {
            let path = path.to_owned();
            move |source| ModalError::Write { path, source }
        };
        std::fs::create_dir_all(&self.tools).map_err(write(&self.tools))?;
        let path = directory.with_extension("lock");
        let alone = std::fs::File::create(&path).map_err(write(&path))?;
        let alone =
            blocking(move || Ok(alone.lock().map(|()| alone).map_err(write(&path))?)).await?;
        // Whoever was at it has just done it.
        if whole.exists() {
            return Ok(python);
        }
        let uv = ensure_uv(&self.fetcher, &self.tools, reporter).await?;
        reporter.message("installing Modal's client");
        let mut venv = Command::new(&uv.program);
        venv.args(["venv", "--clear", "--python", ">=3.10"]).arg(&directory);
        finish(venv, reporter).await?;
        let requirements = directory.join("requirements.txt");
        std::fs::write(&requirements, REQUIREMENTS).map_err(write(&requirements))?;
        let mut sync = Command::new(&uv.program);
        sync.args(["pip", "sync", "--require-hashes", "--python"]).args([&python, &requirements]);
        finish(sync, reporter).await?;
        std::fs::write(directory.join("driver.py"), DRIVER)
            .map_err(write(&directory.join("driver.py")))?;
        std::fs::write(&whole, b"{}\n").map_err(write(&whole))?;
        drop(alone);
        Ok(python)
    }

    /// Has the driver do one thing. What the client says goes into the step's log.
    pub(super) async fn call(
        &self,
        what: &str,
        command: &str,
        request: Value,
        reporter: &Reporter,
    ) -> Result<Value, StepError> {
        let mut child = self.start(command, request, reporter).await?;
        let (answers, said) = (child.stdout.take(), child.stderr.take());
        let ended = async { tokio::join!(read_answer(answers), tell(said, reporter)) };
        let (answer, last) = unless_stopped(&child, ended, reporter).await;
        reporter.check()?;
        let answer = answer.map_err(|error| client_error("run", &error.to_string()))?;
        let _ = child.wait().await;
        understand(what, &answer, &last.join("\n"))
    }

    /// Has the driver print something for as long as it likes, or until `stop`.
    pub(super) async fn print(
        &self,
        what: &str,
        command: &str,
        request: Value,
        print: &(dyn Fn(&[u8]) + Sync),
        stop: impl Future<Output = ()>,
    ) -> Result<(), StepError> {
        let reporter = Reporter::silent();
        let mut child = self.start(command, request, &reporter).await?;
        let said = child.stderr.take();
        let (last, ()) = tokio::select! {
            ended = async { tokio::join!(tell(said, &reporter), pass_on(&mut child, print)) } => ended,
            () = stop => {
                let _ = child.kill().await;
                return Ok(());
            }
        };
        let answer = last.last().map(String::as_str).unwrap_or_default();
        understand(what, answer, &last.join("\n")).map(drop)
    }

    /// Starts the driver with what it is to do.
    async fn start(
        &self,
        command: &str,
        mut request: Value,
        reporter: &Reporter,
    ) -> Result<Child, StepError> {
        let python = self.python(reporter).await?;
        request["command"] = command.into();
        request["environment"] = json!(self.environment);
        request["patience"] = PATIENCE.into();
        let mut child = Command::new(python)
            .arg(self.directory().join("driver.py"))
            // Wide enough that nothing it prints is wrapped.
            .env("COLUMNS", "400")
            .env("NO_COLOR", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env_remove("MODAL_ENVIRONMENT")
            .env("MODAL_IMAGE_BUILDER_VERSION", request["builder"].as_str().unwrap_or(BUILDER))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| client_error("run", &error.to_string()))?;
        if let Some(mut input) = child.stdin.take() {
            // Whoever ends before it has read everything says why in another way.
            let _ = input.write_all(request.to_string().as_bytes()).await;
        }
        Ok(child)
    }
}

/// What an answer says; without one, `last` was said last.
fn understand(what: &str, answer: &str, last: &str) -> Result<Value, StepError> {
    let answer: Value = serde_json::from_str(answer).map_err(|_| client_error("run", last))?;
    match &answer["error"] {
        Value::Null => Ok(answer["ok"].clone()),
        error => {
            let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
            Err(explain(what, &text("kind"), text("message")).into())
        }
    }
}

/// Passes on what a process prints, as it comes.
async fn pass_on(child: &mut Child, print: &(dyn Fn(&[u8]) + Sync)) {
    let Some(mut output) = child.stdout.take() else { return };
    let mut block = vec![0; 1 << 16];
    while let Ok(length @ 1..) = output.read(&mut block).await {
        print(&block[..length]);
    }
}

/// Runs uv to its end, with the user's index and certificates.
async fn finish(mut command: Command, reporter: &Reporter) -> Result<(), StepError> {
    set_environment(&mut command);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|error| client_error("installed", &error.to_string()))?;
    let words = String::from_utf8_lossy(&output.stderr);
    words.lines().for_each(|line| reporter.log(line));
    if output.status.success() { Ok(()) } else { Err(client_error("installed", &words)) }
}

/// Waits for a driver's end, and asks it to end when the work should stop: so it still stops what it
/// has started at Modal.
async fn unless_stopped<T>(
    child: &Child,
    ended: impl Future<Output = T>,
    reporter: &Reporter,
) -> T {
    let mut asked = false;
    tokio::pin!(ended);
    loop {
        tokio::select! {
            done = &mut ended => return done,
            () = tokio::time::sleep(Duration::from_millis(250)) => {
                let id = child.id().and_then(|id| i32::try_from(id).ok());
                if let (false, true, Some(id)) = (asked, reporter.check().is_err(), id) {
                    asked = true;
                    let _ = kill(Pid::from_raw(id), Signal::SIGINT);
                }
            }
        }
    }
}

async fn read_answer(output: Option<ChildStdout>) -> std::io::Result<String> {
    let mut answer = String::new();
    if let Some(mut output) = output {
        output.read_to_string(&mut answer).await?;
    }
    Ok(answer)
}

/// How far a program at Modal says that it is.
#[derive(Deserialize)]
struct Progress {
    /// Bytes, of all that it is to bring.
    done: u64,
}

/// Tells what a process says as it says it; gives its last lines.
async fn tell(said: Option<ChildStderr>, reporter: &Reporter) -> Vec<String> {
    let mut last = std::collections::VecDeque::new();
    let mut done = 0;
    if let Some(said) = said {
        let mut lines = BufReader::new(said).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                continue;
            }
            if let Some(told) = line.strip_prefix(PROGRESS) {
                let told = serde_json::from_str::<Progress>(told).map_or(0, |told| told.done);
                // What broke off and comes again is counted once. Who wants it to stop is heard elsewhere.
                let _ = reporter.advance(told.saturating_sub(done));
                done = told.max(done);
                continue;
            }
            reporter.log(line.clone());
            if last.len() == LAST {
                last.pop_front();
            }
            last.push_back(line);
        }
    }
    last.into()
}

fn client_error(verb: &'static str, words: &str) -> StepError {
    let lines: Vec<&str> = words.lines().collect();
    let message = lines[lines.len().saturating_sub(LAST)..].join("\n");
    ModalError::Client { verb, message }.into()
}

/// An error of the driver, as one that says what to do.
fn explain(what: &str, kind: &str, message: String) -> ModalError {
    match kind {
        "token" => ModalError::Token { message },
        "unreachable" => ModalError::Unreachable { message },
        "missing" => ModalError::Missing { what: message },
        "moved" => ModalError::Moved { app: what.to_owned(), message },
        _ => ModalError::Refused { what: what.to_owned(), message },
    }
}

/// How long a look may take before it is given up.
pub(super) const LOOK: Duration = Duration::from_secs(60);
