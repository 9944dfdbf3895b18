//! What of a project is served, as the test sees it from outside; all of it ends with the project.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Map, Value, json};
use walkdir::{DirEntry, WalkDir};

use super::Project;
use super::output::text;

impl Project {
    /// What the state file holds of a model.
    pub(crate) fn served(&self, model: &str) -> Option<Value> {
        let state = fs::read(self.environment().join("deployments.json")).ok()?;
        let state: Value = serde_json::from_slice(&state).expect("JSON");
        state["served"].get(model).cloned()
    }

    /// The process and the port of the model `tiny`.
    pub(crate) fn serving(&self) -> Option<(i64, u16)> {
        let served = self.served("tiny")?;
        let port = u16::try_from(served["port"].as_u64()?).ok()?;
        Some((served["instance"]["pid"].as_i64()?, port))
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

    /// What the servers find in their environment, with a mark by which [`Self::servers`] finds them.
    pub(crate) fn serve_env(&self, variables: &[(&str, &str)]) {
        let mut line = format!("env = {{ {}", self.mark().replacen('=', " = \"", 1) + "\"");
        for (name, value) in variables {
            line = line + ", " + name + " = \"" + value + "\"";
        }
        let spec = self.read("specs/tiny.toml");
        let rest = spec.strip_prefix("env =").and_then(|spec| spec.split_once('\n'));
        let rest = rest.map_or(spec.as_str(), |(_, rest)| rest);
        self.write("specs/tiny.toml", &format!("{line} }}\n{rest}"));
    }

    fn mark(&self) -> String {
        format!("MARK={}", self.directory().display())
    }

    /// How many processes serve with the mark, or did and were left behind.
    pub(crate) fn servers(&self) -> usize {
        let mark = self.mark();
        processes(|process| {
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        })
    }

    /// How many processes have to do with this project.
    pub(crate) fn processes(&self) -> usize {
        let place = self.directory().to_str().expect("UTF-8").to_owned();
        processes(|process| {
            ["cmdline", "environ", "mountinfo"].iter().any(|file| {
                fs::read(process.join(file))
                    .is_ok_and(|text| String::from_utf8_lossy(&text).contains(&place))
            })
        })
    }

    /// Every file under the project's and the state's directory that has a temporary name.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        const PREFIXES: [&str; 4] = [".part-", ".incoming-", ".unpacking-", ".goatbuild-part-"];
        let is_left = |entry: &DirEntry| {
            let name = entry.file_name().to_string_lossy();
            PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        };
        let mut found = Vec::new();
        let mut entries = WalkDir::new(self.directory()).into_iter();
        while let Some(entry) = entries.next() {
            let Ok(entry) = entry else { continue };
            if is_left(&entry) {
                found.push(entry.path().to_owned());
            }
            let is_root = entry.file_name().to_string_lossy().starts_with("sha256-");
            if entry.file_type().is_dir() && (is_root || is_left(&entry)) {
                entries.skip_current_dir();
            }
        }
        found
    }

    /// Everything that a user has, and goatbuild wrote, that holds this text.
    pub(crate) fn files_with(&self, text: &str) -> Vec<PathBuf> {
        const LARGE: [&str; 4] = ["tools", "debs", "oci", "roots"];
        let holds = |path: &Path| {
            let bytes = fs::read(path).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        };
        let entries = WalkDir::new(self.directory()).into_iter();
        let entries =
            entries.filter_entry(|entry| !LARGE.iter().any(|it| entry.file_name() == *it));
        let files = entries.flatten().filter(|entry| entry.file_type().is_file());
        files.map(DirEntry::into_path).filter(|path| holds(path)).collect()
    }
}

fn signal(which: &str, pid: &Value) {
    let pid = pid.as_i64().filter(|pid| *pid > 1).expect("a process id").to_string();
    let _ = Command::new("kill").args([which, &pid]).stderr(Stdio::null()).status();
}

/// How many processes of this machine are such.
fn processes(is_such: impl Fn(&Path) -> bool) -> usize {
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    processes.filter(|entry| is_such(&entry.path())).count()
}

/// What the state file of an environment says is served.
fn deployed(environment: &Path) -> Option<Map<String, Value>> {
    let state = fs::read(environment.join("deployments.json")).ok()?;
    serde_json::from_slice::<Value>(&state).ok()?["served"].as_object().cloned()
}

impl Drop for Project {
    fn drop(&mut self) {
        let entries = |path: &Path| {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        // Whatever the test wrote, these can be read.
        let restore = || {
            for (path, text) in self.files {
                let _ = fs::write(self.root().join(path), text);
            }
        };
        for environment in entries(&self.state()).iter().flat_map(|it| entries(it)) {
            let Some(served) = deployed(&environment) else { continue };
            restore();
            for (model, served) in served {
                // Other environments are not in those files.
                let is_default = environment.ends_with("default");
                let destroyed = is_default && self.run(&["destroy", &model, "--yes"]).code == 0;
                if !destroyed && served["instance"]["pid"].is_i64() {
                    signal("-KILL", &served["instance"]["pid"]);
                }
            }
        }
    }
}
