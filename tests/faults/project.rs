//! A small project with a real base, a real image and a tiny server, and ways to run goatbuild in it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use goatbuild::lock::LockFile;
use serde_json::Value;

use super::installed;

const SERVER: &str = include_str!("serve.py");

const SPEC: &str = r#"image = "small"
target = "local"

[model]
source = "path:model"

[engine]
name = "command"
command = ["python3", "{model}/serve.py", "{port}", "{model}"]
"#;

const IMAGE: &str = r#"base = { debian = "bookworm", packages = ["python3"] }
requirements = []
"#;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Asserts the exit code and that the error says all of these.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self.says(words)
    }

    #[track_caller]
    pub(crate) fn succeeds(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that everything was fresh.
    #[track_caller]
    pub(crate) fn ran_nothing(&self) -> &Self {
        assert!(self.stdout.contains(" 0 steps ran"), "{}\n{}", self.stdout, self.stderr);
        self.succeeds()
    }

    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in:\n{}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }
}

/// A project in a directory of its own, whose servers end with it.
pub(crate) struct Project {
    directory: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Project {
    /// All is locked and downloaded, nothing is built.
    pub(crate) fn downloaded() -> Self {
        let project = Self::bare();
        let warm = warm();
        for name in ["debs", "wheels", "tools"] {
            link_tree(&warm.join("cache").join(name), &project.path("cache").join(name));
        }
        let lock = std::fs::read_to_string(warm.join("goatbuild.lock")).expect("a lock");
        let mut lock = LockFile::parse("goatbuild.lock", &lock).expect("a lock");
        lock.built.clear();
        project.write("goatbuild.lock", lock.render());
        project.write("images/small.pylock.toml", warm_file("images/small.pylock.toml"));
        project
    }

    /// The image is built too.
    pub(crate) fn built() -> Self {
        let project = Self::downloaded();
        let warm = warm();
        link_tree(&warm.join("cache/oci"), &project.path("cache/oci"));
        std::fs::copy(warm.join("cache/state.db"), project.path("cache/state.db")).expect("copies");
        project.write("goatbuild.lock", warm_file("goatbuild.lock"));
        project
    }

    /// Only what a user writes.
    pub(crate) fn bare() -> Self {
        let directory = tempfile::Builder::new().prefix("goat-faults-").tempdir().expect("one");
        let project = Self { directory, variables: Vec::new() };
        let id =
            "[project]\nid = \"faults-000001\"\n\n[gateway.litellm]\nconfig = \"litellm.yaml\"\n";
        project.write("goatbuild.toml", id);
        project.write("litellm.yaml", "# by hand\nmodel_list: []\n");
        project.write("specs/tiny.toml", SPEC);
        project.write("images/small.toml", IMAGE);
        project.write("model/config.json", "{}\n");
        project.write("model/serve.py", SERVER);
        std::fs::create_dir(project.path("cache")).expect("a cache");
        project.serve_env(&[]);
        project
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("project").join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("writes");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(name)).expect("reads")).into_owned()
    }

    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "no {from:?} in {name}");
        self.write(name, text.replacen(from, to, 1));
    }

    pub(crate) fn append(&self, name: &str, text: &str) {
        self.write(name, self.read(name) + text);
    }

    /// What the server finds in its environment, with a mark by which its processes are found.
    pub(crate) fn serve_env(&self, variables: &[(&str, &str)]) {
        let mark = self.directory.path().display();
        let mut line = format!("env = {{ MARK = \"{mark}\"");
        for (name, value) in variables {
            line = line + ", " + name + " = \"" + value + "\"";
        }
        let spec = self.read("specs/tiny.toml");
        let rest = spec.strip_prefix("env =").and_then(|spec| spec.split_once('\n'));
        let rest = rest.map_or(spec.as_str(), |(_, rest)| rest);
        self.write("specs/tiny.toml", format!("{line} }}\n{rest}"));
    }

    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = installed::goatbuild();
        command.args(arguments);
        self.prepare(&mut command);
        command
    }

    /// Gives a command the project's directory and an environment without the machine's habits.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.path(""))
            .env("GOATBUILD_STATE_DIR", self.state())
            .env("PATH", installed::path())
            .env("GOATBUILD_HTTP_ATTEMPTS", "2")
            .env("NO_COLOR", "1")
            .env_remove("CI")
            .env_remove("UV_DEFAULT_INDEX")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        finish(self.command(arguments))
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("output"));
        Running { child, lines }
    }

    /// How many processes serve for this project, or did and were left behind.
    pub(crate) fn servers(&self) -> usize {
        let mark = format!("MARK={}", self.directory.path().display());
        let processes = std::fs::read_dir("/proc").expect("processes").flatten();
        let serves = |path: &Path| {
            let holds = |name: &str, text: &str| {
                std::fs::read(path.join(name)).is_ok_and(|found| {
                    found.split(|byte| *byte == 0).any(|part| part == text.as_bytes())
                })
            };
            holds("environ", &mark)
        };
        processes.filter(|entry| serves(&entry.path())).count()
    }

    /// The current deployment: its process and its port.
    pub(crate) fn served(&self) -> Option<(i64, u16)> {
        let state = self.state().join("faults-000001/default/deployments.json");
        let state: Value = serde_json::from_slice(&std::fs::read(state).ok()?).ok()?;
        let tiny = &state["served"]["tiny"];
        let port = u16::try_from(tiny["port"].as_u64()?).ok()?;
        Some((tiny["instance"]["pid"].as_i64()?, port))
    }

    /// Every file under the project's and the state's directory that has a temporary name.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo = vec![self.directory.path().to_owned()];
        while let Some(directory) = todo.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let prefixes = [".part-", ".incoming-", ".unpacking-", ".goatbuild-part-"];
                if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                    found.push(entry.path());
                } else if entry.file_type().is_ok_and(|kind| kind.is_dir())
                    && !name.starts_with("sha256-")
                {
                    todo.push(entry.path());
                }
            }
        }
        found
    }

    /// Everything under the directory that holds this text.
    pub(crate) fn files_with(&self, text: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo = vec![self.path(""), self.state()];
        while let Some(directory) = todo.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let kind = entry.file_type().expect("a kind");
                let name = entry.file_name();
                if kind.is_dir() && !["tools", "debs", "oci", "roots"].iter().any(|it| name == *it)
                {
                    todo.push(entry.path());
                } else if kind.is_file()
                    && std::fs::read(entry.path()).is_ok_and(|bytes| {
                        bytes.windows(text.len()).any(|window| window == text.as_bytes())
                    })
                {
                    found.push(entry.path());
                }
            }
        }
        found
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if self.served().is_some() || self.servers() > 0 {
            let _ = self.command(&["destroy", "tiny", "--yes"]).output();
        }
        // A test may leave a project so broken that nothing can be destroyed in it.
        let left = self.served().filter(|_| self.servers() > 0);
        if let Some(pid) = left.and_then(|(pid, _)| i32::try_from(pid).ok()) {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGTERM,
            );
        }
    }
}

pub(crate) fn finish(mut command: Command) -> Output {
    let output = command.output().expect("runs");
    Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A goatbuild at work, with `--json`.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
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

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, signal).expect("it is our child");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(mut self) -> ExitStatus {
        self.child.kill().expect("it is our child");
        let said = std::io::read_to_string(self.child.stderr.take().expect("messages"));
        let said = said.expect("messages");
        assert!(!said.contains("panicked") && !said.contains("BUG"), "{said}");
        self.child.wait().expect("it ends")
    }

    pub(crate) fn finish(self) -> Output {
        let Self { mut child, mut lines } = self;
        let mut stdout = String::new();
        std::io::Read::read_to_string(&mut lines, &mut stdout).expect("output");
        let rest = child.stderr.take().expect("messages");
        let stderr = std::io::read_to_string(rest).expect("messages");
        let code = child.wait().expect("it ends").code();
        Output { code, stdout, stderr }
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

/// One file of the undisturbed project.
pub(crate) fn warm_file(name: &str) -> String {
    std::fs::read_to_string(warm().join(name)).expect("the warm project has it")
}

/// A project that was applied undisturbed, once per checkout.
fn warm() -> &'static Path {
    static WARM: OnceLock<PathBuf> = OnceLock::new();
    WARM.get_or_init(|| {
        let warm = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults-warm-2");
        if !warm.is_dir() {
            let mut project = Project::bare();
            project.variable("GOATBUILD_HTTP_ATTEMPTS", "5");
            // With a uv of its own, which everybody gets.
            project.variable("PATH", installed::bare_path());
            project.run(&["apply"]).succeeds();
            project.run(&["destroy", "tiny", "--yes"]).succeeds();
            let made = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
            let made = made.keep();
            let status = Command::new("cp").arg("-a").arg(project.path(".")).arg(&made).status();
            assert!(status.expect("cp").success());
            // Another test process may have been faster.
            let _ = std::fs::rename(made, &warm);
        }
        warm
    })
}

/// Links files, which are all written once and then only replaced, and copies directories.
fn link_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("lists").flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            link_tree(&entry.path(), &target);
        } else if std::fs::hard_link(entry.path(), &target).is_err() {
            std::fs::copy(entry.path(), &target).expect("copies");
        }
    }
}
