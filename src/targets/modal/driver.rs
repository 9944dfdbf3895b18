//! A process that does what it is asked at Modal, one thing after the other.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;

use crate::bounded::output::next_line;
use crate::event::Reporter;

/// How many of its last lines tell why the client failed.
pub(super) const LAST: usize = 15;

/// The version of Modal's image builder, where nothing says another: it adds what Modal itself needs
/// to images out of registries. Left open it would be the workspace's, and another one anywhere.
pub(super) const BUILDER: &str = "2025.06";

/// What the lines of programs begin with that say how far they are.
const PROGRESS: &str = "goatbuild-progress ";

/// Bytes of an answer: none is so large, of the lists of all that is at Modal either.
const ANSWER: u64 = 256 << 20;

/// How long what was said may come behind the answer.
const SAID: Duration = Duration::from_secs(10);

/// A driver that runs; dropping it ends it.
#[derive(Debug)]
pub(super) struct Driver {
    child: Child,
    /// As long as it is open, somebody wants an answer.
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    said: BufReader<ChildStderr>,
    /// What the last request said, came whole: what comes now belongs to the next.
    in_step: bool,
}

impl Driver {
    pub(super) fn start(python: &Path, program: &Path) -> io::Result<Self> {
        let mut child = Command::new(python)
            .arg(program)
            // Wide enough that nothing it prints is wrapped.
            .env("COLUMNS", "400")
            .env("NO_COLOR", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONIOENCODING", "utf-8:backslashreplace")
            .env_remove("MODAL_ENVIRONMENT")
            // Without bytecode the client takes twice as long to start. It lies in a directory of
            // goatbuild's own, where nobody minds some.
            .env_remove("PYTHONDONTWRITEBYTECODE")
            .env("MODAL_IMAGE_BUILDER_VERSION", BUILDER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for goatbuild alone: it may have things to put in order, by way of this.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
        let ((requests, answers), said) = pipes.unwrap_or_else(|| panic!("BUG: no pipes"));
        let (answers, said) = (BufReader::new(answers), BufReader::new(said));
        Ok(Self { child, requests, answers, said, in_step: true })
    }

    /// Whether it can be asked something else: it has not ended, of itself or by somebody's hand.
    pub(super) fn is_ready(&mut self) -> bool {
        self.in_step && matches!(self.child.try_wait(), Ok(None))
    }

    /// Gives what it answers, if it does, and what it said last. When the work should stop, it is
    /// asked to: so it still stops what it has started at Modal.
    pub(super) async fn ask(
        &mut self,
        request: &Value,
        reporter: &Reporter,
    ) -> (io::Result<Option<String>>, Vec<String>) {
        let Self { child, requests, answers, said, in_step } = self;
        // No line that anything else says.
        let end = format!("end {:016x}", RandomState::new().build_hasher().finish());
        let request = with_end(request, &end);
        // Whoever ends before it has read everything says why in another way.
        let _ = requests.write_all(format!("{request}\n").as_bytes()).await;
        let (tell_answered, is_answered) = oneshot::channel();
        let answered = async {
            let mut answer = String::new();
            let length = answers.take(ANSWER).read_line(&mut answer).await?;
            let _ = tell_answered.send(());
            Ok(Some(answer).filter(|_| length > 0))
        };
        let all_said = async {
            let overdue = async {
                // An error is the end of it, too.
                let _ = is_answered.await;
                tokio::time::sleep(SAID).await;
            };
            tokio::select! {
                last = tell(said, &end, reporter) => last,
                () = overdue => {
                    *in_step = false;
                    Vec::new()
                }
            }
        };
        let ended = async { tokio::join!(answered, all_said) };
        tokio::pin!(ended);
        let mut asked = false;
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

    /// Passes on what it prints, as it comes, until it ends; gives what it said last.
    pub(super) async fn pass_on(
        mut self,
        request: &Value,
        print: &(dyn Fn(&[u8]) + Sync),
    ) -> Vec<String> {
        let _ = self.requests.write_all(format!("{request}\n").as_bytes()).await;
        let Self { answers, said, .. } = &mut self;
        let printed = async {
            let mut block = vec![0; 1 << 16];
            while let Ok(length @ 1..) = answers.read(&mut block).await {
                print(&block[..length]);
            }
        };
        let silent = Reporter::silent();
        let ((), last) = tokio::join!(printed, tell(said, "", &silent));
        last
    }
}

/// How far a program at Modal says that it is.
#[derive(Deserialize)]
struct Progress {
    /// Bytes, of all that it is to bring.
    done: u64,
}

/// A request with the line that is to stand behind what belongs to it.
fn with_end(request: &Value, end: &str) -> Value {
    let mut request = request.clone();
    request["end"] = end.into();
    request
}

/// Tells what it says as it says it, until the line `end` or its own end; gives the last lines.
async fn tell(said: &mut BufReader<ChildStderr>, end: &str, reporter: &Reporter) -> Vec<String> {
    let mut last = std::collections::VecDeque::new();
    let (mut done, mut bytes) = (0, Vec::new());
    while next_line(said, &mut bytes).await.is_ok_and(|is_there| is_there) {
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if line.is_empty() {
            continue;
        }
        if line == end {
            break;
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
    last.into()
}
