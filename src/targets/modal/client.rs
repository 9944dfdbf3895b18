//! Modal's own client, in an environment that goatbuild makes for itself, and the drivers that are run
//! with it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::driver::{self, Driver};
use super::error::{ModalError, logs_of};
use super::holder;
use super::trial::FILES;
use crate::blocking::blocking;
use crate::bounded::output::output;
use crate::digest::hex;
use crate::durable;
use crate::event::Reporter;
use crate::fetch::Fetcher;
use crate::python::{ensure_uv, isolate};
use crate::step::StepError;

/// The client and all it needs, also behind a proxy, by hash, for every Python from 3.10 and every
/// platform: `modal[api-proxy-support]==1.6.4` by `uv pip compile --universal --generate-hashes
/// --python-version 3.10 --no-header --no-annotate`.
const REQUIREMENTS: &str = include_str!("client-requirements.txt");

/// What is run with the client's Python.
const DRIVER: &str = include_str!("driver.py");

/// How long Modal may take to answer at all, in seconds: the client's own patience is a minute.
const PATIENCE: u64 = 15;

/// The client of one project.
#[derive(Debug)]
pub(super) struct Client {
    /// Where tools are kept: `cache/tools`.
    tools: PathBuf,
    fetcher: Fetcher,
    environment: String,
    python: OnceCell<PathBuf>,
    /// Those that have nothing to do: starting one takes longer than most of what it is asked.
    idle: Mutex<Vec<Driver>>,
    /// What is had while something is changed: in which Dict, and by which id.
    lease: Mutex<Option<(String, String)>>,
}

/// What changes something there, but for leases: done only for as long as the lease is had.
const CHANGING: [&str; 7] = ["build", "deploy", "discard", "put", "rollback", "run", "stop"];

impl Client {
    pub(super) fn new(tools: PathBuf, fetcher: Fetcher, environment: String) -> Self {
        let (python, idle, lease) = (OnceCell::new(), Mutex::default(), Mutex::default());
        Self { tools, fetcher, environment, python, idle, lease }
    }

    /// Whether nothing may be asked.
    pub(super) fn is_offline(&self) -> bool {
        self.fetcher.is_offline()
    }

    /// Has all that changes something be done under a lease from now on, or under none.
    pub(super) fn under(&self, lease: Option<(String, String)>) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
    }

    /// Where the client's environment is. With other requirements, or another driver, it is another
    /// one: commands of two versions don't get into each other's way.
    fn directory(&self) -> PathBuf {
        let beside = FILES.map(|(_, text)| text).concat();
        let hash = blake3::hash([REQUIREMENTS, DRIVER, &beside].concat().as_bytes());
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
        let lock = move || -> Result<_, StepError> {
            alone.lock().map_err(write(&path))?;
            Ok(alone)
        };
        let alone = blocking(lock).await?;
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
        let driver = directory.join("driver.py");
        durable::write(&driver, DRIVER.as_bytes(), 0o644).map_err(write(&driver))?;
        for (name, text) in FILES {
            let path = directory.join(name);
            durable::write(&path, text.as_bytes(), 0o644).map_err(write(&path))?;
        }
        durable::write(&whole, b"{}\n", 0o644).map_err(write(&whole))?;
        drop(alone);
        Ok(python)
    }

    /// Has a driver do one thing. What the client says goes into the step's log.
    pub(super) async fn call(
        &self,
        what: &str,
        command: &str,
        request: Value,
        reporter: &Reporter,
    ) -> Result<Value, StepError> {
        let request = self.request(command, request);
        let mut driver = match self.idle() {
            Some(driver) => driver,
            None => self.driver(reporter).await?,
        };
        let (answer, last) = driver.ask(&request, reporter).await;
        reporter.check()?;
        let answer = answer.map_err(|error| client_error("run", &error.to_string()))?;
        let understood = understand(what, &answer.unwrap_or_default(), &last.join("\n"));
        // Whatever failed, the next thing is done by one that nothing has happened to.
        if understood.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(driver);
        }
        understood
    }

    /// Has a driver print something for as long as it likes, or until `stop`.
    pub(super) async fn print(
        &self,
        what: &str,
        command: &str,
        request: Value,
        print: &(dyn Fn(&[u8]) + Sync),
        stop: impl Future<Output = ()>,
    ) -> Result<(), StepError> {
        let reporter = Reporter::silent();
        let (driver, request) = (self.driver(&reporter).await?, self.request(command, request));
        let last = tokio::select! {
            last = driver.pass_on(&request, print) => last,
            () = stop => return Ok(()),
        };
        let answer = last.last().map(String::as_str).unwrap_or_default();
        understand(what, answer, &last.join("\n")).map(drop)
    }

    /// What a driver is told.
    fn request(&self, command: &str, mut request: Value) -> Value {
        request["command"] = command.into();
        request["environment"] = json!(self.environment);
        request["patience"] = PATIENCE.into();
        if CHANGING.contains(&command)
            && let Some((dict, id)) = &*self.lease.lock().unwrap_or_else(PoisonError::into_inner)
        {
            request["lease"] = json!({"dict": dict, "id": id});
        }
        request
    }

    /// A driver that has nothing to do.
    fn idle(&self) -> Option<Driver> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain_mut(Driver::is_ready);
        idle.pop()
    }

    /// Starts a driver.
    async fn driver(&self, reporter: &Reporter) -> Result<Driver, StepError> {
        if self.is_offline() {
            return Err(ModalError::Offline.into());
        }
        let python = self.python(reporter).await?;
        let driver = Driver::start(python, &self.directory().join("driver.py"));
        driver.map_err(|error| client_error("run", &error.to_string()))
    }
}

/// What an answer says; without one, `last` was said last.
fn understand(what: &str, answer: &str, last: &str) -> Result<Value, StepError> {
    let answer: Value = serde_json::from_str(answer).map_err(|_| client_error("run", last))?;
    match &answer["error"] {
        Value::Null => Ok(answer["ok"].clone()),
        error => {
            let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
            Err(match &*text("kind") {
                "broken" => holder::broken(serde_json::from_str(&text("message")).ok().flatten()),
                kind => explain(what, kind, text("message")).into(),
            })
        }
    }
}

/// Runs uv to its end, with the user's index and certificates.
async fn finish(mut command: Command, reporter: &Reporter) -> Result<(), StepError> {
    isolate(&mut command);
    let output = output(command.stdin(Stdio::null())).await;
    let output = output.map_err(|error| client_error("installed", &error.to_string()))?;
    let words = String::from_utf8_lossy(&output.stderr);
    words.lines().for_each(|line| reporter.log(line));
    if output.status.success() { Ok(()) } else { Err(client_error("installed", &words)) }
}

fn client_error(verb: &'static str, words: &str) -> StepError {
    let lines: Vec<&str> = words.lines().collect();
    let message = lines[lines.len().saturating_sub(driver::LAST)..].join("\n");
    ModalError::Client { verb, message }.into()
}

/// An error of the driver, as one that says what to do.
fn explain(what: &str, kind: &str, message: String) -> ModalError {
    match kind {
        "token" => ModalError::Token { message },
        "unreachable" => ModalError::Unreachable { message },
        // The client says "Secret 'x' not found in environment 'y'.".
        "missing" => {
            let what = message.replacen(" not found", "", 1).trim_end_matches('.').to_owned();
            ModalError::Missing { what }
        }
        "moved" => ModalError::Moved { app: what.to_owned(), message },
        "unrecorded" => ModalError::Unrecorded { app: what.to_owned(), message },
        _ => ModalError::Refused { what: what.to_owned(), message, help: logs_of(what) },
    }
}

/// How long a look may take before it is given up.
pub(super) const LOOK: Duration = Duration::from_secs(60);
