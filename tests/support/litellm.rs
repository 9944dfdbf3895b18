//! The real `LiteLLM` proxy, on loopback.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::{installed, peers};

/// The newest that could be had; facts were measured with 1.106.2. From 1.108 on, it refuses to start
/// with a key that everybody knows.
const REQUIREMENT: &str = "litellm[proxy]==1.108.7";
/// The proxy is up in about 14 seconds on two idle cores.
const START: Duration = Duration::from_secs(180);
/// The proxy refuses to start without a key; this one guards a loopback port for a minute.
const MASTER_KEY: &str = "sk-goatbuild-test-5f0c1b7be1ad4a5c9a0c6d3e2f718293";
const REQUEST: Duration = Duration::from_secs(60);

/// The Python environment with `LiteLLM` in it; `None` when it cannot be had.
pub(crate) fn venv() -> Option<PathBuf> {
    peers::venv("litellm", &[REQUIREMENT])
}

/// The command, ready for arguments; `None` when `LiteLLM` cannot be had.
fn command() -> Option<Command> {
    let mut command = prepared("litellm")?;
    command.env("LITELLM_MASTER_KEY", MASTER_KEY);
    Some(command)
}

/// A program that finds `LiteLLM` on its path, and no key.
fn prepared(program: &str) -> Option<Command> {
    let bin = venv()?.join("bin");
    let mut command = Command::new(program);
    // The interpreter's other programs are looked for on PATH.
    command.env("PATH", installed::path_with(&bin));
    command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
    {
        command.env_remove(name);
    }
    command.env_remove("DATABASE_URL").env_remove("LITELLM_MASTER_KEY").stdin(Stdio::null());
    Some(command)
}

/// What `--validate_config` prints: stdout and stderr.
pub(crate) fn validate(config: &Path) -> Option<String> {
    let mut command = command()?;
    let child = command
        .arg("--config")
        .arg(config)
        .arg("--validate_config")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let Output { stdout, stderr, .. } = bounded(child, START);
    Some(String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

/// Waits for a child, but kills it after a time.
fn bounded(mut child: Child, limit: Duration) -> Output {
    let end = Instant::now() + limit;
    // What it prints fits a pipe's buffer many times over, so that waiting first cannot block.
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.wait_with_output().unwrap()
}

/// A running proxy; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// On 127.0.0.1.
    pub(crate) port: u16,
    key: String,
    child: Child,
}

impl Proxy {
    /// Starts the proxy and waits until it is ready; `None` when `LiteLLM` cannot be had.
    pub(crate) fn start(config: &Path) -> Option<Self> {
        Self::start_with(config, &[])
    }

    /// The same, with variables of its own.
    pub(crate) fn start_with(config: &Path, variables: &[(&str, &str)]) -> Option<Self> {
        let log: PathBuf = config.with_extension("proxy.log");
        let port = free_port();
        let output = File::create(&log).unwrap();
        let mut command = command()?;
        command.arg("--config").arg(config).args(["--host", "127.0.0.1", "--telemetry", "False"]);
        command.args(["--port", &port.to_string()]).current_dir(config.parent().unwrap());
        command.envs(variables.iter().copied());
        command.stdout(output.try_clone().unwrap()).stderr(output).process_group(0);
        let key = MASTER_KEY.to_owned();
        let mut proxy = Self { port, key, child: command.spawn().unwrap() };
        let end = Instant::now() + START;
        while proxy
            .try_request("GET", "/health/liveliness", "")
            .is_none_or(|(status, _)| status != 200)
        {
            let ended = proxy.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < end,
                "LiteLLM did not start:\n{}",
                std::fs::read_to_string(&log).unwrap()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        Some(proxy)
    }

    /// Does what somebody does who follows instructions: they start the proxy on port 4000 in the
    /// background, with a key in `LITELLM_MASTER_KEY`, and print what a model answers.
    ///
    /// Here the port is a free one, and what the proxy says goes into a file.
    pub(crate) fn start_by(instructions: &str, directory: &Path) -> Option<(Self, String)> {
        const IN_BACKGROUND: &str = " --port 4000 &\n";
        assert_eq!(instructions.matches(IN_BACKGROUND).count(), 1, "{instructions}");
        let (port, log) = (free_port(), directory.join("proxy.log"));
        let (before, after) = instructions.split_once(IN_BACKGROUND).unwrap();
        let after = after.replace(":4000/", &format!(":{port}/"));
        let quiet = format!(" --port {port} > '{}' 2>&1 &\n", log.display());
        let mut script = format!("{before}{quiet}{after}");
        let _ = write!(script, "\nprintf '\\n%s\\n' \"$LITELLM_MASTER_KEY\"\nwait\n");
        let mut command = prepared("sh")?;
        command.args(["-ec", &script]).current_dir(directory).process_group(0);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut proxy = Self { port, key: String::new(), child };
        let mut said = BufReader::new(proxy.child.stdout.take().unwrap()).lines();
        let (answer, key) = (said.next(), said.next());
        let (Some(Ok(answer)), Some(Ok(key))) = (answer, key) else {
            panic!("it did not work:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
        };
        proxy.key = key;
        Some((proxy, answer))
    }

    /// One request; the answer's status and body.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        self.try_request(method, path, body).expect("the proxy answers")
    }

    fn try_request(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Option<(u16, serde_json::Value)> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(REQUEST)).ok()?;
        // HTTP/1.0 and so no chunks: the body ends with the connection.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.key,
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).unwrap_or(serde_json::Value::Null)))
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // With what it was started by.
        if let Ok(id) = i32::try_from(self.child.id()) {
            let group = nix::unistd::Pid::from_raw(id);
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}
