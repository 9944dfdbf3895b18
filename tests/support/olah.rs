//! olah: a hub that nobody here wrote, serving a local git repository.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::peers;

/// What olah 0.5.4 was installed with when it was last seen to work.
const REQUIREMENTS: &[&str] = &[
    "olah==0.5.4",
    "GitPython==3.2.1",
    "fastapi==0.165.0",
    "fastapi-utils==0.8.0",
    "httpx==0.28.1",
    "huggingface_hub==2.4.0",
    "peewee==4.5.3",
    "pydantic==2.14.3",
    "pydantic-settings==2.16.3",
    "starlette==1.10.0",
    "uvicorn==0.54.0",
];

/// The program.
pub(crate) struct Olah {
    python: PathBuf,
    program: PathBuf,
}

/// A server, stopped when it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Olah {
    /// `None`, said aloud, where it can't be had.
    pub(crate) fn provide() -> Option<Self> {
        if !Command::new("git").arg("--version").output().is_ok_and(|git| git.status.success()) {
            peers::skipped("git", "olah reads repositories with it");
            return None;
        }
        let venv = peers::venv("olah", REQUIREMENTS)?;
        let bin = venv.join("bin");
        Some(Self { python: bin.join("python"), program: bin.join("olah-cli") })
    }

    /// Serves the repositories below `mirror`, and asks nobody else.
    pub(crate) fn serve(&self, mirror: &Path) -> Server {
        let directory = tempfile::tempdir().unwrap();
        // Free a moment ago; it takes no socket from us.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = |name: &str| directory.path().join(name).display().to_string();
        let config = format!(
            "[basic]\nhost = \"127.0.0.1\"\nport = {port}\nrepos-path = \"{}\"\n\
             mirrors-path = [\"{}\"]\n[accessibility]\noffline = true\n",
            at("repos"),
            mirror.display()
        );
        fs::write(at("config.toml"), config).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        // Its first line names the Python of the checkout that it was installed in.
        let child = Command::new(&self.python)
            .arg(&self.program)
            .args(["--config", &at("config.toml"), "--log-path", &at("logs")])
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let log = at("log");
        let mut server = Server { url, child, _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "olah does not start: {}",
                fs::read_to_string(&log).unwrap()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }
}

/// A repository with large files as Git LFS keeps them.
pub(crate) struct Git(PathBuf);

impl Git {
    pub(crate) fn init(directory: &Path) -> Self {
        fs::create_dir_all(directory).unwrap();
        let git = Self(directory.to_owned());
        git.run(&["init", "--quiet", "--initial-branch=main"]);
        git
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Acme", "-c", "user.email=acme@example.org"])
            .args(arguments)
            .current_dir(&self.0)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A pointer in the tree, and the bytes beside the repository.
    pub(crate) fn put_large(&self, path: &str, bytes: &[u8]) {
        let oid = goatbuild::fetch::sha256_of(&mut &*bytes).unwrap().hex();
        let pointer = format!(
            "version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {}\n",
            bytes.len()
        );
        self.put(path, pointer.as_bytes());
        self.put(&format!(".git/lfs/objects/{}/{}/{oid}", &oid[..2], &oid[2..4]), bytes);
    }

    /// Commits all, and returns the commit.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.run(&["add", "."]);
        self.run(&["commit", "--quiet", "-m", message]);
        self.run(&["rev-parse", "HEAD"])
    }
}
