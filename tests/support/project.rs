//! A builder for tests of the real binary: a small project in a temporary directory, with a state
//! directory of its own.
//!
//! Its image is built once per checkout, under `target/peers/fixture-…`, from real Debian packages;
//! each project gets hard links to the blobs, which never change once they are written.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::engines::Engine;
use super::{installed, peers};

/// The files of the project, before a test edits any.
const FILES: [(&str, &str); 5] = [
    ("goatbuild.toml", include_str!("fixture/goatbuild.toml")),
    ("images/tiny.toml", include_str!("fixture/images/tiny.toml")),
    ("specs/tiny.toml", include_str!("fixture/specs/tiny.toml")),
    ("litellm.yaml", include_str!("fixture/litellm.yaml")),
    ("model/server.py", include_str!("fixture/model/server.py")),
];

/// What of `cache/` a project starts with, so that building takes no time: none of it says anything
/// of what is served.
const CACHED: [&str; 5] =
    ["cache/oci", "cache/debs", "cache/wheels", "cache/tools", "cache/state.db"];

/// The directory of the project whose image is built; the reason when it can't be.
fn fixture() -> Result<&'static Path, &'static str> {
    static FIXTURE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let fixture = FIXTURE.get_or_init(|| {
        let image = include_str!("fixture/images/tiny.toml");
        let name = format!("fixture-2-{}", &blake3::hash(image.as_bytes()).to_hex()[..12]);
        let directory = peers::directory().join(&name);
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let lock = File::create(directory.with_extension("lock")).expect("a lock file");
        lock.lock().expect("the fixture's lock");
        // Nothing runs when it is there already, unless this goatbuild builds otherwise.
        // It has a uv of its own, which all projects get.
        let path = ("PATH".to_owned(), installed::bare_path().to_owned());
        let template =
            Project { directory: Place::Kept(directory.join("project")), variables: vec![path] };
        template.write_files();
        fs::create_dir_all(directory.join("roots")).expect("a directory for roots");
        let built = template.run("apply --only image:tiny --json");
        if built.code != 0 {
            let text = format!("{}{}", built.stdout, built.stderr);
            assert!(wants_network(&text), "no fixture: {text}");
            return Err(text);
        }
        let mut roots = fs::read_dir(directory.join("roots")).expect("a directory").flatten();
        if !roots.any(|root| root.file_name().to_string_lossy().starts_with("sha256")) {
            let project = Project::from(&directory);
            assert_eq!(project.run("apply").code, 0, "the fixture's image does not serve");
        }
        Ok(directory)
    });
    fixture.as_deref().map_err(String::as_str)
}

/// Whether a command failed for want of a network, and so for no fault of its own.
pub(crate) fn wants_network(text: &str) -> bool {
    let lost = ["could not be fetched", "Failed to fetch", "goatbuild::fetch::network"];
    lost.iter().any(|words| text.contains(words))
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Fails the test unless the command ended with this exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless both streams together hold all of `parts`.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        let text = format!("{}\n{}", self.stdout, self.stderr);
        // Diagnostics are wrapped to the terminal's width.
        let flat = flatten(&text);
        for part in parts {
            assert!(flat.contains(&flatten(part)), "`{part}` is missing in:\n{text}");
        }
        self
    }
}

fn flatten(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| !["│", "|"].contains(word));
    words.collect::<Vec<_>>().join(" ")
}

/// What `plan --json` said.
#[derive(Debug)]
pub(crate) struct Plan(pub(crate) Value);

impl Plan {
    /// The ids with this action, sorted.
    pub(crate) fn ids(&self, action: &str) -> Vec<String> {
        let steps = self.0["steps"].as_array().expect("steps").iter();
        let of = steps.filter(|step| step["action"] == action);
        let mut ids: Vec<String> = of.map(|step| text(&step["id"])).collect();
        ids.sort();
        ids
    }

    /// The step of this id.
    #[track_caller]
    pub(crate) fn step(&self, id: &str) -> &Value {
        let mut steps = self.0["steps"].as_array().expect("steps").iter();
        steps.find(|step| step["id"] == id).unwrap_or_else(|| panic!("no {id} in {}", self.0))
    }

    /// The step's reasons as `kind field`, in order.
    #[track_caller]
    pub(crate) fn why(&self, id: &str) -> Vec<String> {
        let reasons = self.step(id)["reasons"].as_array().expect("reasons").iter();
        let words = |reason: &Value| {
            format!("{} {}", text(&reason["kind"]), reason["field"].as_str().unwrap_or_default())
        };
        reasons.map(|reason| words(reason).trim_end().to_owned()).collect()
    }
}

/// What `apply --json` said.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) code: i32,
    pub(crate) events: Vec<Value>,
    pub(crate) stderr: String,
}

impl Applied {
    /// The last event.
    #[track_caller]
    pub(crate) fn end(&self) -> &Value {
        let end = self.events.last().filter(|event| event["event"] == "apply_finished");
        end.unwrap_or_else(|| panic!("no apply_finished in {:?}: {}", self.events, self.stderr))
    }

    /// A list of ids of the last event, sorted.
    #[track_caller]
    pub(crate) fn ids(&self, list: &str) -> Vec<String> {
        let mut ids: Vec<String> =
            self.end()[list].as_array().expect("a list").iter().map(text).collect();
        ids.sort();
        ids
    }

    /// The steps that ran, sorted; fails the test unless the apply succeeded.
    #[track_caller]
    pub(crate) fn ran(&self) -> Vec<String> {
        assert_eq!(self.code, 0, "{:#?}\n{}", self.events.last(), self.stderr);
        self.ids("ran")
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a string")).to_owned()
}

enum Place {
    Kept(PathBuf),
    Temporary(TempDir),
}

/// A project with one model, `tiny`, on the local target; dropping it stops its servers.
pub(crate) struct Project {
    directory: Place,
    /// What every command gets in its environment.
    variables: Vec<(String, String)>,
}

impl Project {
    /// A project whose image is built and whose model was never deployed.
    ///
    /// `None` when the image can't be had, for want of a network say; the test's name and the reason
    /// then stand on stderr, and the test should return.
    pub(crate) fn new() -> Option<Self> {
        match fixture() {
            Ok(fixture) => Some(Self::from(fixture)),
            Err(reason) => {
                peers::skipped("the fixture's image", reason);
                None
            }
        }
    }

    /// Has images run by this engine from now on.
    pub(crate) fn served_by(&mut self, engine: &Engine) {
        const SETTING: &str = "runtime = \"";
        let text = self.read("goatbuild.toml");
        let (before, rest) = text.split_once(SETTING).expect("a setting");
        let (_, rest) = rest.split_once('"').expect("its end");
        self.write("goatbuild.toml", &format!("{before}{SETTING}{}\"{rest}", engine.name));
        // All of them can be asked to stop what they started.
        for (name, value) in &engine.variables {
            match self.variables.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) if *name == "PATH" => *known = format!("{value}:{known}"),
                Some((_, known)) => known.clone_from(value),
                None => self.variables.push(((*name).to_owned(), value.clone())),
            }
        }
    }

    /// A project that was applied once.
    pub(crate) fn applied() -> Option<Self> {
        let project = Self::new()?;
        project.apply("").ran();
        Some(project)
    }

    fn from(fixture: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("goatbuild-").tempdir_in(
            // On the same file system: blobs are linked.
            peers::directory(),
        );
        let project = Self {
            directory: Place::Temporary(directory.expect("a directory")),
            variables: Vec::new(),
        };
        project.write_files();
        let template = fixture.join("project");
        for file in ["goatbuild.lock", "images/tiny.pylock.toml"] {
            fs::copy(template.join(file), project.root().join(file)).expect("a lock");
        }
        for name in CACHED {
            link(&template.join(name), &project.root().join(name));
        }
        fs::create_dir_all(project.state()).expect("a state directory");
        std::os::unix::fs::symlink(fixture.join("roots"), project.state().join("roots"))
            .expect("a link to the flattened roots");
        project
    }

    fn write_files(&self) {
        for (path, text) in FILES {
            self.write(path, text);
        }
    }

    /// The project's directory.
    pub(crate) fn root(&self) -> PathBuf {
        match &self.directory {
            Place::Kept(path) => path.clone(),
            Place::Temporary(directory) => directory.path().join("project"),
        }
    }

    /// The local target's state directory.
    pub(crate) fn state(&self) -> PathBuf {
        let named = self.variables.iter().find(|(name, _)| name == "GOATBUILD_STATE_DIR");
        named.map_or_else(|| self.root().with_file_name("state"), |(_, value)| value.into())
    }

    /// Has the state directory, in which nothing is, elsewhere.
    pub(crate) fn state_at(&mut self, path: &Path) {
        fs::create_dir_all(path).expect("a state directory");
        let roots = fs::read_link(self.state().join("roots")).expect("a link");
        std::os::unix::fs::symlink(roots, path.join("roots")).expect("a link");
        self.variable("GOATBUILD_STATE_DIR", path.to_str().expect("UTF-8"));
    }

    /// The volumes of the default environment.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.state().join("table-4c19d2/default/volumes")
    }

    /// Gives the project a directory of its own for unpacked images, in place of the link to what all
    /// tests share: for who cleans up.
    pub(crate) fn own_roots(&self) {
        let roots = self.state().join("roots");
        fs::remove_file(&roots).expect("removed");
        fs::create_dir(&roots).expect("a directory");
        File::create(roots.join(".lock")).expect("a file");
    }

    /// A file of the project.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    /// Adds to the end of a file.
    pub(crate) fn append(&self, path: &str, text: &str) {
        self.write(path, &format!("{}{text}", self.read(path)));
    }

    /// Replaces what occurs exactly once in a file.
    #[track_caller]
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {path}:\n{text}");
        self.write(path, &text.replace(from, to));
    }

    /// Sets an environment variable for everything that is run from now on.
    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The binary under test, ready for more arguments, away from the user's own settings.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = installed::goatbuild();
        for variable in ["CI", "GOATBUILD_ENV", "SOURCE_DATE_EPOCH", "COLUMNS", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        command.env("NO_COLOR", "1").env("GOATBUILD_STATE_DIR", self.state());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).current_dir(self.root());
        command.args(arguments.split_whitespace());
        command
    }

    /// Runs the binary.
    pub(crate) fn run(&self, arguments: &str) -> Ran {
        self.run_with(arguments, &[])
    }

    /// Runs the binary with more environment variables.
    pub(crate) fn run_with(&self, arguments: &str, variables: &[(&str, &str)]) -> Ran {
        let mut command = self.command(arguments);
        let Output { status, stdout, stderr } =
            command.envs(variables.iter().copied()).output().expect("the binary runs");
        Ran {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8(stdout).expect("UTF-8"),
            stderr: String::from_utf8(stderr).expect("UTF-8"),
        }
    }

    /// `plan --json`.
    #[track_caller]
    pub(crate) fn plan(&self, arguments: &str) -> Plan {
        let ran = self.run(&format!("plan --json {arguments}")).exits(0);
        Plan(serde_json::from_str(&ran.stdout).expect("one JSON object"))
    }

    /// `apply --json`.
    #[track_caller]
    pub(crate) fn apply(&self, arguments: &str) -> Applied {
        let ran = self.run(&format!("apply --json {arguments}"));
        let lines = ran.stdout.lines();
        let events = lines.map(|line| serde_json::from_str(line).expect("JSON on each line"));
        Applied { code: ran.code, events: events.collect(), stderr: ran.stderr }
    }

    /// What the state file holds of a model.
    pub(crate) fn served(&self, model: &str) -> Option<Value> {
        let state = fs::read(self.state().join("table-4c19d2/default/deployments.json")).ok()?;
        let state: Value = serde_json::from_slice(&state).expect("JSON");
        state["served"].get(model).cloned()
    }

    /// The instance that serves a model.
    #[track_caller]
    pub(crate) fn instance(&self, model: &str) -> String {
        text(&self.served(model).expect("it is served")["facts"]["instance"])
    }

    /// The port that a model is served on.
    #[track_caller]
    pub(crate) fn port(&self, model: &str) -> u16 {
        let port = self.served(model).expect("it is served")["port"].as_u64();
        port.and_then(|port| u16::try_from(port).ok()).expect("a port")
    }

    /// What the server of a model answers in a chat; `None` when nothing answers.
    pub(crate) fn ask(&self, model: &str) -> Option<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port(model)));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        let body =
            json!({ "model": model, "messages": [{ "role": "user", "content": "?" }] }).to_string();
        let mut request = String::new();
        let _ = write!(
            request,
            "POST /v1/chat/completions HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        answer["choices"][0]["message"]["content"].as_str().map(str::to_owned)
    }

    /// Kills what supervises a model's server, and so the server.
    pub(crate) fn kill(&self, model: &str) {
        let served = self.served(model).expect("it is served");
        signal("-KILL", &served["instance"]["pid"]);
        while self.ask(model).is_some() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn signal(which: &str, pid: &Value) {
    let pid = pid.as_i64().filter(|pid| *pid > 1).expect("a process id").to_string();
    let _ = Command::new("kill").args([which, &pid]).stderr(Stdio::null()).status();
}

impl Drop for Project {
    fn drop(&mut self) {
        let Place::Temporary(_) = self.directory else { return };
        let deployed = |environment: &Path| {
            let state = fs::read(environment.join("deployments.json")).ok()?;
            serde_json::from_slice::<Value>(&state).ok()?["served"].as_object().cloned()
        };
        let ours = self.state().join("table-4c19d2");
        // What a test that failed left in other environments, which the files below don't have.
        let environments = fs::read_dir(&ours).into_iter().flatten().flatten();
        for environment in environments.filter(|entry| entry.file_name() != "default") {
            for served in deployed(&environment.path()).into_iter().flatten() {
                if served.1["instance"]["pid"].is_i64() {
                    signal("-KILL", &served.1["instance"]["pid"]);
                }
            }
        }
        let Some(served) = deployed(&ours.join("default")) else { return };
        // Whatever the test wrote, these can be read.
        for (path, text) in FILES {
            let _ = fs::write(self.root().join(path), text);
        }
        for (model, served) in served {
            if self.run(&format!("destroy {model} --yes")).code != 0
                && served["instance"].is_object()
            {
                signal("-KILL", &served["instance"]["pid"]);
            }
        }
    }
}

/// Links files, and copies those that are rewritten in place.
fn link(from: &Path, to: &Path) {
    let Ok(metadata) = fs::symlink_metadata(from) else { return };
    fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
    if metadata.is_dir() {
        fs::create_dir_all(to).expect("a directory");
        for entry in fs::read_dir(from).expect("a directory") {
            let name = entry.expect("an entry").file_name();
            link(&from.join(&name), &to.join(&name));
        }
    } else if to.extension().is_some_and(|extension| extension == "db" || extension == "json") {
        fs::copy(from, to).expect("a copy");
    } else {
        fs::hard_link(from, to).expect("a link");
    }
}
