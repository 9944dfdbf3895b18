//! Starts sandboxes: one that stays, or one for a single command.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use super::error::user_namespaces_help;
use super::messages::{Failure, Launch, Processes, Purpose, SUBCOMMAND, send_launch};
use super::{Instance, Output, RuntimeError, Sandbox, instance};
use crate::bounded::output::next_line;
use crate::event::Reporter;

/// Bytes of a command's output that are kept: at least so many of the last, and not twice as many.
const KEPT: usize = 1 << 20;

/// How much of a command's output an error shows, in characters.
const TAIL: usize = 2000;

/// Starts a sandbox that outlives this process; returns once the command runs.
///
/// `instance_id` is 128 random bits in hexadecimal; `supervisor` is the goatbuild executable.
/// Blocks for some hundredths of a second.
pub fn spawn(
    sandbox: &Sandbox,
    instance_id: &str,
    supervisor: &Path,
) -> Result<Instance, RuntimeError> {
    launch(sandbox, instance_id, supervisor, Purpose::Serve).map(|attached| attached.instance)
}

/// A sandbox that ends when this value is dropped, or this process dies.
#[derive(Debug)]
pub struct Attached {
    /// What runs.
    pub instance: Instance,
    /// Kept open: when it closes, the supervisor ends the command.
    _stdin: Option<ChildStdin>,
}

/// Starts a sandbox like [`spawn`], but for this process alone.
pub fn attach(
    sandbox: &Sandbox,
    instance_id: &str,
    supervisor: &Path,
) -> Result<Attached, RuntimeError> {
    launch(sandbox, instance_id, supervisor, Purpose::Once)
}

fn launch(
    sandbox: &Sandbox,
    instance_id: &str,
    supervisor: &Path,
    purpose: Purpose,
) -> Result<Attached, RuntimeError> {
    let processes = processes(supervisor, sandbox)?;
    let sandbox = absolute(sandbox)?;
    let mut log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&sandbox.log)
        .map_err(|source| unusable(&sandbox.log, "the log", source))?;
    if processes == Processes::Shared {
        let _ = writeln!(
            log,
            "goatbuild: warning: without a pid namespace, which is refused, this server sees every process of the user who runs it, and before Linux 6.12 can end it"
        );
    }
    let launch = Launch { sandbox, id: instance_id.to_owned(), processes, purpose };
    let (mut child, stdin) = start(&launch, supervisor, log.into())?;
    let pid = child.id().cast_signed();
    // It can't be anyone else: nobody waits for it before this function does.
    let instance = instance::identify(pid, instance_id);
    let told = told(&mut child)?;
    if let Some(failure) = told {
        let _ = child.wait();
        return Err(explain(failure, &launch.sandbox));
    }
    let Some(instance) = instance else {
        // Nothing that can't be found again may go on running.
        let _ = child.kill().and_then(|()| child.wait());
        return Err(RuntimeError::Supervisor { reason: "it has no entry in /proc".to_owned() });
    };
    Ok(Attached { instance, _stdin: stdin })
}

/// Runs one command to its end and collects its output, which is also logged line by line.
///
/// When the future is dropped, or this process dies, the command and all its processes are killed.
/// The sandbox's `log` is not used.
pub async fn run(
    sandbox: &Sandbox,
    timeout: Duration,
    supervisor: &Path,
    reporter: &Reporter,
) -> Result<Output, RuntimeError> {
    let processes = processes(supervisor, sandbox)?;
    let launch =
        Launch { sandbox: absolute(sandbox)?, id: random_id(), processes, purpose: Purpose::Once };
    let mut text = String::new();
    match tokio::time::timeout(timeout, run_once(&launch, supervisor, reporter, &mut text)).await {
        Ok(Ok(status)) => Ok(Output { status, text }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(RuntimeError::Timeout {
            command: launch.sandbox.command.first().cloned().unwrap_or_default(),
            seconds: timeout.as_secs(),
            tail: tail(&text).to_owned(),
        }),
    }
}

async fn run_once(
    launch: &Launch,
    supervisor: &Path,
    reporter: &Reporter,
    text: &mut String,
) -> Result<i32, RuntimeError> {
    let broken = |error: std::io::Error| RuntimeError::Supervisor { reason: error.to_string() };
    let mut child = tokio::process::Command::from(command(launch, supervisor))
        .stderr(Stdio::piped())
        .spawn()
        .map_err(broken)?;
    // Kept open: when it closes, the supervisor ends the command.
    let mut stdin = child.stdin.take().unwrap_or_else(|| panic!("BUG: no input"));
    let mut report = child.stdout.take().unwrap_or_else(|| panic!("BUG: no report"));
    let mut output =
        BufReader::new(child.stderr.take().unwrap_or_else(|| panic!("BUG: no output")));
    let mut line = serde_json::to_vec(launch).unwrap_or_else(|error| panic!("BUG: {error}"));
    line.push(b'\n');
    stdin.write_all(&line).await.map_err(broken)?;
    let mut told = Vec::new();
    report.read_to_end(&mut told).await.map_err(broken)?;
    let mut line = Vec::new();
    while next_line(&mut output, &mut line).await.map_err(broken)? {
        reporter.check()?;
        let shown = String::from_utf8_lossy(&line);
        reporter.log(shown.trim_end());
        text.push_str(&shown);
        if text.len() > 2 * KEPT {
            let mut from = text.len() - KEPT;
            while !text.is_char_boundary(from) {
                from += 1;
            }
            text.drain(..from);
        }
    }
    let status = child.wait().await.map_err(broken)?;
    if let Some(failure) = parse(&told)? {
        return Err(explain(failure, &launch.sandbox));
    }
    Ok(status.code().unwrap_or(128))
}

/// Makes a sandbox, executes nothing in it, and tells what failed.
pub(super) fn probe(
    root: &Path,
    processes: Processes,
    supervisor: &Path,
) -> Result<Option<Failure>, RuntimeError> {
    let launch = Launch {
        sandbox: Sandbox {
            root: root.to_owned(),
            binds: Vec::new(),
            env: std::collections::BTreeMap::new(),
            command: Vec::new(),
            workdir: "/".to_owned(),
            log: PathBuf::new(),
            alone: false,
        },
        id: random_id(),
        processes,
        purpose: Purpose::Probe,
    };
    let (mut child, _) = start(&launch, supervisor, Stdio::null())?;
    let told = told(&mut child)?;
    let status =
        child.wait().map_err(|error| RuntimeError::Supervisor { reason: error.to_string() })?;
    if told.is_none() && !status.success() {
        return Err(RuntimeError::Supervisor { reason: format!("its probe ended with {status}") });
    }
    Ok(told)
}

/// How far the processes of a sandbox of this root can be kept apart; fails when it can't be made at
/// all, or when root's would not be.
fn processes(supervisor: &Path, sandbox: &Sandbox) -> Result<Processes, RuntimeError> {
    let root = std::path::absolute(&sandbox.root)
        .and_then(|root| root.read_dir().map(|_| root))
        .map_err(|source| unusable(&sandbox.root, "the root", source))?;
    let tried = isolation(|processes| probe(&root, processes, supervisor))?;
    match tried.failure {
        Some(failure) => Err(explain(failure, sandbox)),
        None => Ok(tried.processes),
    }
}

/// The best that can be had, and what was refused on the way there.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) processes: Processes,
    /// Why it is no better.
    pub(super) refused: Option<String>,
    /// Why there is no sandbox at all.
    pub(super) failure: Option<Failure>,
}

/// Tries one after the other, the best first.
pub(super) fn isolation<E>(
    probe: impl Fn(Processes) -> Result<Option<Failure>, E>,
) -> Result<Tried, E> {
    let (mut processes, mut refused) = (Processes::Isolated, None);
    loop {
        let failure = probe(processes)?;
        let (next, reason) = match (&failure, processes) {
            (Some(Failure::Procfs { reason }), Processes::Isolated) => (Processes::Hidden, reason),
            // Whoever is root here can end every process of root's.
            (Some(Failure::PidNamespace { reason }), Processes::Isolated)
                if !nix::unistd::geteuid().is_root() =>
            {
                (Processes::Shared, reason)
            }
            _ => return Ok(Tried { processes, refused, failure }),
        };
        (processes, refused) = (next, Some(reason.clone()));
    }
}

/// The supervisor runs elsewhere: relative paths would change their meaning.
fn absolute(sandbox: &Sandbox) -> Result<Sandbox, RuntimeError> {
    let absolute = |path: &Path, purpose| {
        std::path::absolute(path).map_err(|source| unusable(path, purpose, source))
    };
    let mut sandbox = sandbox.clone();
    sandbox.root = absolute(&sandbox.root, "the root")?;
    sandbox.log = absolute(&sandbox.log, "the log")?;
    for bind in &mut sandbox.binds {
        bind.source = absolute(&bind.source, "a volume")?;
        bind.source.metadata().map_err(|source| unusable(&bind.source, "a volume", source))?;
    }
    Ok(sandbox)
}

fn command(launch: &Launch, supervisor: &Path) -> Command {
    let mut command = Command::new(std::path::absolute(supervisor).unwrap_or_default());
    command
        .args([SUBCOMMAND, "start", &launch.id])
        // It needs nothing of it, and stays for as long as it serves: with the user's tokens, /proc
        // would show them for that long.
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Starts the supervisor; its input stays open for a command that ends with it.
fn start(
    launch: &Launch,
    supervisor: &Path,
    log: Stdio,
) -> Result<(Child, Option<ChildStdin>), RuntimeError> {
    let failed = |error: std::io::Error| RuntimeError::Supervisor {
        reason: format!("{}: {error}", supervisor.display()),
    };
    let mut child = command(launch, supervisor).stderr(log).spawn().map_err(failed)?;
    let stdin = send_launch(&mut child, launch).map_err(failed)?;
    Ok((child, stdin.filter(|_| launch.purpose == Purpose::Once)))
}

/// Waits until the command runs (nothing is told) or can't.
fn told(child: &mut Child) -> Result<Option<Failure>, RuntimeError> {
    let mut told = Vec::new();
    if let Some(mut report) = child.stdout.take() {
        report
            .read_to_end(&mut told)
            .map_err(|error| RuntimeError::Supervisor { reason: error.to_string() })?;
    }
    parse(&told)
}

fn parse(told: &[u8]) -> Result<Option<Failure>, RuntimeError> {
    if told.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(told).map(Some).map_err(|_| RuntimeError::Supervisor {
        reason: format!("it said: {}", String::from_utf8_lossy(told).trim_end()),
    })
}

/// What a failure inside means for who asked.
pub(super) fn explain(failure: Failure, sandbox: &Sandbox) -> RuntimeError {
    match failure {
        Failure::UserNamespaces { reason } => {
            RuntimeError::UserNamespaces { reason, help: user_namespaces_help() }
        }
        Failure::PidNamespace { reason } => RuntimeError::PidNamespace { reason },
        Failure::Procfs { reason } => {
            RuntimeError::Setup { action: "mounting a procfs".to_owned(), reason }
        }
        Failure::Setup { action, reason } => RuntimeError::Setup { action, reason },
        Failure::Command { command, reason } => {
            RuntimeError::Command { command, root: sandbox.root.clone(), reason }
        }
    }
}

fn unusable(path: &Path, purpose: &'static str, source: std::io::Error) -> RuntimeError {
    RuntimeError::Path { path: path.to_owned(), purpose, source }
}

fn tail(text: &str) -> &str {
    let from = text.char_indices().rev().nth(TAIL).map_or(0, |(index, _)| index);
    text[from..].trim_end()
}

/// 128 bits in hexadecimal; nobody but the sweep of one's own processes relies on them.
fn random_id() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}
