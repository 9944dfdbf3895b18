//! A double of Modal's control plane, which the real client talks to; see `modal/control_plane.py`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::hubbed::{Hubbed, SPEC};
use super::stages::{Shelf, copy_into};
use super::{installed, peers};

/// What the double runs with, and what its containers have. The first is the client's own version.
pub(crate) const REQUIREMENTS: [&str; 3] =
    ["modal==1.6.4", "huggingface_hub==2.4.0", "hf-xet==1.8.0"];

pub(crate) const PROXY_KEY: &str = "wk-thisIsTheKeyOfTheseTests";

pub(crate) const PROXY_SECRET: &str = "ws-thisIsTheSecretOfTheseTests";

/// How a project says which hub functions at Modal ask.
const ENDPOINT: &str = "hub-endpoint = \"";

/// The running double; dropping it ends it and everything it started.
pub(crate) struct ModalDouble {
    pub(crate) python: PathBuf,
    /// What containers run.
    inside: PathBuf,
    root: TempDir,
    child: Child,
    pub(crate) port: u16,
}

impl ModalDouble {
    /// `None`, loudly, when its client can't be had.
    pub(crate) fn start() -> Option<Self> {
        let python = peers::venv("modal", &REQUIREMENTS)?.join("bin/python");
        Self::start_with(&python)
    }

    /// The same with another Python in its containers.
    pub(crate) fn start_with(inside: &Path) -> Option<Self> {
        Self::start_on(inside, Self::root())
    }

    /// Goes on with what another one has kept.
    pub(super) fn start_from(kept: &Path) -> Option<Self> {
        let python = peers::venv("modal", &REQUIREMENTS)?.join("bin/python");
        let root = Self::root();
        copy_into(kept, root.path(), &[]);
        Self::start_on(&python, root)
    }

    fn start_on(inside: &Path, root: TempDir) -> Option<Self> {
        let python = peers::venv("modal", &REQUIREMENTS)?.join("bin/python");
        let (child, port) = launch(&python, inside, root.path());
        Some(Self { python, inside: inside.to_owned(), root, child, port })
    }

    fn root() -> TempDir {
        tempfile::Builder::new().prefix("modal-").tempdir().expect("a directory")
    }

    /// Starts it again on what it has kept, after it has ended.
    pub(crate) fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        (self.child, self.port) = launch(&self.python, &self.inside, self.root.path());
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has of a volume of the environment `goat`.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.root.path().join("volumes/goat").join(name)
    }

    /// Has calls fail from now on.
    pub(crate) fn faults(&self, faults: &Value) {
        fs::write(self.root.path().join("faults.json"), faults.to_string()).expect("written");
    }

    /// The proxy tokens of the workspace, by key.
    pub(crate) fn proxy_tokens(&self, tokens: &Value) {
        fs::write(self.root.path().join("proxy_tokens.json"), tokens.to_string()).expect("written");
    }

    /// All that it was told and that containers said, as far as it keeps it.
    pub(crate) fn kept(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    /// Every call since the last time this was asked.
    pub(crate) fn calls(&self) -> Vec<Value> {
        let file = self.root.path().join("journal.jsonl");
        let text = fs::read_to_string(&file).unwrap_or_default();
        fs::write(&file, "").expect("emptied");
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Whether there was such a call since the calls were last asked for.
    pub(crate) fn has_been_asked(&self, rpc: &str) -> bool {
        let text = fs::read_to_string(self.root.path().join("journal.jsonl")).unwrap_or_default();
        text.contains(&format!("\"rpc\": \"{rpc}\""))
    }

    /// How often the fixture's server was started in a container.
    pub(crate) fn starts(&self) -> usize {
        let logs = fs::read_dir(self.root.path().join("logs")).into_iter().flatten().flatten();
        let texts = logs.map(|entry| fs::read_to_string(entry.path()).unwrap_or_default());
        texts.map(|text| text.matches("starting").count()).sum()
    }

    /// The names of the calls that change something, in order.
    pub(crate) fn changes(&self) -> Vec<String> {
        const CHANGE: [&str; 5] =
            ["AppPublish", "FunctionCreate", "AppStop", "AppRollback", "ImageGetOrCreate"];
        let calls = self.calls().into_iter();
        let names = calls.filter_map(|call| call["rpc"].as_str().map(str::to_owned));
        names.filter(|name| CHANGE.contains(&name.as_str())).collect()
    }
}

fn launch(python: &Path, inside: &Path, root: &Path) -> (Child, u16) {
    let support = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/support");
    let program = support.join("modal/control_plane.py");
    // Containers find the double of vLLM behind everything else.
    let engines = support.join("vllm_double");
    let python_path = format!("PYTHONPATH=/root:{}", engines.display());
    let port_file = root.join("port");
    let _ = fs::remove_file(&port_file);
    let log = fs::File::create(root.join("double.log")).expect("a log");
    #[expect(clippy::zombie_processes, reason = "whoever has it ends it and waits for it")]
    let child = Command::new(python)
        .arg(program)
        .args(["--root".as_ref(), root.as_os_str()])
        .args(["--python".as_ref(), inside.as_os_str()])
        .args(["--port-file".as_ref(), port_file.as_os_str()])
        .args(["--faults".as_ref(), root.join("faults.json").as_os_str()])
        .args(["--env", &python_path])
        .env("PATH", format!("{}:{}", installed::path(), engines.join("bin").display()))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("the double");
    let began = Instant::now();
    loop {
        let port = fs::read_to_string(&port_file).ok().and_then(|text| text.trim().parse().ok());
        if let Some(port) = port {
            return (child, port);
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the double did not start: {}",
            fs::read_to_string(root.join("double.log")).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl ModalDouble {
    /// Has it end, and all that it started.
    pub(super) fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // It ends what it started when it is asked to end.
        if let Ok(id) = i32::try_from(self.child.id()) {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(id),
                nix::sys::signal::Signal::SIGTERM,
            );
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for ModalDouble {
    fn drop(&mut self) {
        self.end();
    }
}

/// Gives a project the client that goatbuild installs for itself, as `install` has it do once per
/// checkout: that takes longer than what most tests do with it.
pub(crate) fn share_client(root: &Path, install: impl FnOnce()) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/targets/modal");
    let parts = ["client-requirements.txt", "driver.py", "trial/rows.py", "trial/app.py"];
    let parts = parts.map(|name| fs::read(from.join(name)).expect("a part of the client"));
    let hash = blake3::hash(&parts.concat()).to_hex();
    let kept = peers::directory().join(format!("modal-client-{}", &hash[..12]));
    let lock = fs::File::create(kept.with_extension("lock")).expect("a lock file");
    lock.lock().expect("the client's lock");
    let installed = || {
        let tools = fs::read_dir(root.join("cache/tools")).into_iter().flatten().flatten();
        let mut clients = tools.map(|entry| entry.path()).filter(|path| {
            path.is_dir()
                && path.file_name().is_some_and(|it| it.to_string_lossy().starts_with("modal-"))
        });
        clients.next().expect("a client")
    };
    if !kept.exists() {
        install();
        let client = installed();
        let name = client.file_name().expect("a name");
        let whole = kept.with_extension("new");
        let _ = fs::remove_dir_all(&whole);
        fs::create_dir_all(&whole).expect("a directory");
        let copied = Command::new("cp").arg("-a").arg(&client).arg(whole.join(name)).status();
        assert!(copied.expect("cp runs").success());
        fs::rename(&whole, &kept).expect("kept");
        return;
    }
    let client = fs::read_dir(&kept).expect("kept").flatten().next().expect("a client");
    let tools = root.join("cache/tools");
    fs::create_dir_all(&tools).expect("a directory");
    let _ = std::os::unix::fs::symlink(client.path(), tools.join(client.file_name()));
}

/// A project whose model is on a double of a hub, and is served on a double of Modal.
pub(crate) struct Remote {
    pub(crate) modal: ModalDouble,
    pub(crate) hubbed: Hubbed,
    /// What it was copied from, which nobody else may use before its double has ended.
    pub(super) _shelf: Option<Shelf>,
}

impl Remote {
    /// `None`, loudly, when a part of it can't be had.
    pub(crate) fn new() -> Option<Self> {
        Self::on(ModalDouble::start()?)
    }

    /// The same on a double that runs already.
    pub(crate) fn on(modal: ModalDouble) -> Option<Self> {
        let hubbed = Hubbed::new()?;
        let project = &hubbed.project;
        let endpoint = format!("{ENDPOINT}{}\"", hubbed.hub.url);
        project.append(
            "goatbuild.toml",
            &format!(
                "\n[target.modal]\nenvironment = \"goat\"\nworkspace = \"phare\"\n{endpoint}\n"
            ),
        );
        project.edit(SPEC, "image = \"tiny\"\n", "image = \"tiny\"\ntarget = \"modal\"\n");
        Some(Self::of(modal, hubbed))
    }

    /// The same of a project that says already that its model is served there.
    pub(super) fn of(modal: ModalDouble, mut hubbed: Hubbed) -> Self {
        let project = &mut hubbed.project;
        // A copy's hub is another one.
        let settings = project.read("goatbuild.toml");
        let (before, rest) = settings.split_once(ENDPOINT).expect("a hub");
        let (_, rest) = rest.split_once('"').expect("its end");
        let url = &hubbed.hub.url;
        project.write("goatbuild.toml", &format!("{before}{ENDPOINT}{url}\"{rest}"));
        project.variable("MODAL_SERVER_URL", &modal.url());
        project.variable("MODAL_TOKEN_ID", "ak-test");
        project.variable("MODAL_TOKEN_SECRET", "as-test");
        project.variable("MODAL_CONFIG_PATH", "/nonexistent/modal.toml");
        // A proxy token, which endpoints ask for that nobody said anything else of.
        modal.proxy_tokens(&json!({PROXY_KEY: PROXY_SECRET}));
        project.variable("MODAL_PROXY_KEY", PROXY_KEY);
        project.variable("MODAL_PROXY_SECRET", PROXY_SECRET);
        modal.faults(&json!({}));
        share_client(&project.root(), || drop(project.run("check").exits(0)));
        modal.calls();
        Self { modal, hubbed, _shelf: None }
    }

    /// Leaves of the project what a fresh clone has, and goatbuild's own client, which takes longer to
    /// install than most commands take.
    pub(crate) fn forget(&self) {
        let root = self.hubbed.project.root();
        fs::remove_dir_all(root.join("cache")).expect("a cache");
        share_client(&root, || drop(self.hubbed.run("check").exits(0)));
    }

    /// Runs Modal's own command line, as somebody beside goatbuild would; gives its output.
    #[track_caller]
    pub(crate) fn client(&self, arguments: &[&str]) -> String {
        self.python(&[&["-m", "modal"], arguments].concat())
    }

    /// Runs the Python that has Modal's client; gives its output.
    #[track_caller]
    pub(crate) fn python(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.modal.python)
            .args(arguments)
            .env("MODAL_SERVER_URL", self.modal.url())
            .env("MODAL_TOKEN_ID", "ak-test")
            .env("MODAL_TOKEN_SECRET", "as-test")
            .env("MODAL_CONFIG_PATH", "/nonexistent/modal.toml")
            .stdin(Stdio::null())
            .output()
            .expect("the client");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }
}
