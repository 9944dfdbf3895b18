//! A goatbuild at work, which a test watches, interrupts or kills.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Project, Ran, Words};

/// A command at work, with `--json`.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Project {
    pub(crate) fn start(&self, arguments: &(impl Words + ?Sized)) -> Running {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("output"));
        Running { child, lines }
    }
}

impl Running {
    /// Reads events until this step starts; false when it never does.
    pub(crate) fn until_started(&mut self, step: &str) -> bool {
        self.until(|event| event["event"] == "step_started" && event["id"] == step)
    }

    pub(crate) fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> bool {
        let mut line = String::new();
        while self.lines.read_line(&mut line).is_ok_and(|read| read > 0) {
            let event: Value = serde_json::from_str(&line).expect("one event per line");
            if wanted(&event) {
                return true;
            }
            line.clear();
        }
        false
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal).expect("it is our child");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, which must not have come to its end before: else the test would prove nothing.
    ///
    /// What it said after the events that were read.
    #[track_caller]
    pub(crate) fn kill(self) -> Vec<Value> {
        self.killed().expect("it is killed before it comes to its end")
    }

    /// The same; `None` when it came to its end before.
    #[track_caller]
    pub(crate) fn killed(mut self) -> Option<Vec<Value>> {
        self.child.kill().expect("it is our child");
        let said = std::io::read_to_string(self.child.stderr.take().expect("messages"));
        let said = said.expect("messages");
        assert!(!said.contains("panicked") && !said.contains("BUG"), "{said}");
        let status = self.child.wait().expect("it ends");
        // The last line may be cut.
        let lines = self.lines.lines().map_while(Result::ok);
        let events = lines.map_while(|line| serde_json::from_str(&line).ok());
        (status.signal() == Some(9)).then(|| events.collect())
    }

    pub(crate) fn finish(self) -> Ran {
        let Self { mut child, lines } = self;
        let stdout = std::io::read_to_string(lines).expect("output");
        let stderr = child.stderr.take().expect("messages");
        let stderr = std::io::read_to_string(stderr).expect("messages");
        let code = child.wait().expect("it ends").code();
        Ran { code: code.unwrap_or(-1), stdout, stderr }
    }
}

#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody listens on right now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
