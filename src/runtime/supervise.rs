//! The processes between the caller and the server. Single-threaded throughout: a process with
//! threads can't enter a user namespace.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{self, Pid};
use tokio::net::unix::pipe;
use tokio::signal::unix::{self, SignalKind};
use tokio::time::Instant;

use super::enter::{die_with_parent, enter, new_user_namespace, seal, this_process};
use super::instance;
use super::messages::{Failure, Launch, Processes, Purpose, SUBCOMMAND, read_launch, send_launch};

/// How long a server may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// Handles the hidden subcommand; `None` when the arguments are not its own.
///
/// Must be called first thing in `main`, before any thread is started.
pub fn supervise(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != SUBCOMMAND {
        return None;
    }
    let role = arguments.next().unwrap_or_default();
    // Otherwise it would be `exe`, after the link that it is started by.
    let _ = prctl::set_name(c"goatbuild");
    let outcome = match role.to_str() {
        Some("start") => start(),
        Some("init") => init(),
        Some("enter") => match seal(&arguments.next().unwrap_or_default()) {
            Err(failure) => Err(failure),
        },
        Some("inside") => read_launch().and_then(|launch| enter(&launch)),
        _ => {
            Err(Failure::Setup { action: "reading the role".to_owned(), reason: "unknown".into() })
        }
    };
    let status = outcome.unwrap_or_else(|failure| {
        report(&failure);
        if matches!(failure, Failure::Command { .. }) { 127 } else { 125 }
    });
    Some(ExitCode::from(u8::try_from(status).unwrap_or(125)))
}

/// Tells the caller through the report, and whoever reads the log.
fn report(failure: &Failure) {
    // Nobody is left to tell when these fail.
    let mut stdout = std::io::stdout();
    let _ = serde_json::to_writer(&mut stdout, failure);
    let _ = stdout.flush();
    let _ = writeln!(std::io::stderr(), "goatbuild: {failure}");
}

/// The first process: leaves the caller's session and file descriptors, makes the user namespace.
fn start() -> Result<i32, Failure> {
    unistd::setsid().map_err(Failure::setup("starting a session"))?;
    close_inherited();
    let launch = read_launch()?;
    new_user_namespace(&this_process(Path::new("/proc"))?)?;
    if launch.processes != Processes::Shared {
        unshare(CloneFlags::CLONE_NEWPID)
            .map_err(|error| match error {
                // The system's words for it are "no space left on device".
                Errno::ENOSPC => "their limit, user.max_pid_namespaces, is reached".to_owned(),
                error => error.to_string(),
            })
            .map_err(|reason| Failure::PidNamespace { reason })?;
    }
    unshare(CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS)
        .map_err(Failure::setup("creating the ipc and uts namespaces"))?;
    if launch.sandbox.alone {
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(Failure::setup("creating the network namespace"))?;
        unistd::sethostname("localhost").map_err(Failure::setup("taking a name"))?;
    }
    let patience = Patience { terminate: GRACE + Duration::from_secs(2), now: GRACE / 5 };
    start_next("init", &launch, patience, launch.purpose == Purpose::Once)
}

/// The second process: reaps whatever loses its parent, and leaves nothing behind.
fn init() -> Result<i32, Failure> {
    die_with_parent()?;
    prctl::set_child_subreaper(true).map_err(Failure::setup("becoming a reaper"))?;
    let launch = read_launch()?;
    let patience = Patience { terminate: GRACE, now: Duration::ZERO };
    let status = start_next("enter", &launch, patience, false)?;
    if launch.processes == Processes::Shared {
        kill_descendants();
    } // Otherwise the end of this process is the end of its pid namespace.
    if launch.purpose == Purpose::Serve {
        let _ = writeln!(std::io::stderr(), "goatbuild: the server ended with status {status}");
    }
    Ok(status)
}

/// Closes what the caller's other threads may have left open across the start.
fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    for descriptor in open {
        // The one that listed the directory is closed already.
        let _ = unistd::close(descriptor);
    }
}

/// How long the next process may live on after a signal.
#[derive(Clone, Copy)]
struct Patience {
    /// After SIGTERM.
    terminate: Duration,
    /// After SIGINT, which means: now.
    now: Duration,
}

/// Starts the next role with the same launch, waits for its end, and returns its status.
fn start_next(
    role: &str,
    launch: &Launch,
    patience: Patience,
    attached: bool,
) -> Result<i32, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::setup("starting the event loop"))?;
    runtime.block_on(async {
        // Before the next process exists, so that no signal is missed.
        let signals = Signals::install().map_err(Failure::setup("handling signals"))?;
        let mut child = Command::new("/proc/self/exe")
            .arg0("goatbuild")
            .args([SUBCOMMAND, role, &launch.id])
            .stdin(Stdio::piped())
            .spawn()
            .map_err(Failure::setup(format!("starting `{role}`")))?;
        let pid = Pid::from_raw(child.id().cast_signed());
        send_launch(&mut child, launch)
            .map(drop)
            .map_err(Failure::setup("passing on what to start"))?;
        // From here on only the next process can report.
        unistd::dup2_stdout(std::io::stderr()).map_err(Failure::setup("closing the report"))?;
        let caller = attached.then(caller).transpose().map_err(Failure::setup("watching"))?;
        Ok(signals.watch(pid, patience, caller).await)
    })
}

/// Standard input, which ends when the caller does.
fn caller() -> std::io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(std::io::stdin().as_fd().try_clone_to_owned()?)
}

/// The signals a supervising process reacts to.
struct Signals {
    child: unix::Signal,
    terminate: unix::Signal,
    interrupt: unix::Signal,
    /// Only caught, so that it doesn't end this process.
    _hangup: unix::Signal,
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        Ok(Self {
            child: unix::signal(SignalKind::child())?,
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            _hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    /// Reaps until `child` ended; passes signals on, and kills it when patience ends.
    async fn watch(
        mut self,
        child: Pid,
        patience: Patience,
        caller: Option<pipe::Receiver>,
    ) -> i32 {
        let mut deadline: Option<Instant> = None;
        let mut caller = caller;
        loop {
            if let Some(status) = reap(child) {
                return status;
            }
            tokio::select! {
                _ = self.child.recv() => {}
                _ = self.terminate.recv() => {
                    let _ = kill(child, Signal::SIGTERM);
                    deadline.get_or_insert(Instant::now() + patience.terminate);
                }
                _ = self.interrupt.recv() => {
                    let _ = kill(child, Signal::SIGINT);
                    deadline = Some(Instant::now() + patience.now);
                }
                () = gone(caller.as_ref()), if caller.is_some() => {
                    caller = None;
                    let _ = kill(child, Signal::SIGINT);
                    deadline = Some(Instant::now() + patience.now);
                }
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)),
                    if deadline.is_some() =>
                {
                    deadline = None;
                    let _ = kill(child, Signal::SIGKILL);
                }
            }
        }
    }
}

/// Resolves when the caller closed its end.
async fn gone(caller: Option<&pipe::Receiver>) {
    let Some(caller) = caller else { return };
    while caller.readable().await.is_ok() {
        match caller.try_read(&mut [0; 64]) {
            Ok(0) => return,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Reaps every process that ended; the status of `child` if it is among them.
fn reap(child: Pid) -> Option<i32> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => return Some(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                return Some(128 + signal as i32);
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Kills all that descends from this process, until nothing is left to reap.
fn kill_descendants() {
    loop {
        for pid in instance::descendants(unistd::getpid()) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return,
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(5)),
            _ => {}
        }
    }
}
