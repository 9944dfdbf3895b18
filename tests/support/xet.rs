//! A file as Hugging Face's own client and store keep it: real bytes, which `xet/make.py` had them make.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::double::Content;
use super::hub::XetFile;
use super::peers;

/// As `make.py` makes it.
fn noise(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..count).map(next).collect()
}

/// The same file that `make.py` writes: floats, noise, words, and the floats once more.
pub(crate) fn content() -> Vec<u8> {
    let floats = |low: u8| [low, 0, 0x80 | low & 3, 0x3f];
    let floats: Vec<u8> = noise(1, 48 << 10).into_iter().flat_map(floats).collect();
    let names = ["attention", "layer", "of", "the", "norm", "weight", "bias"];
    let words: Vec<&str> =
        noise(3, 901).into_iter().map(|low| names[usize::from(low) % 7]).collect();
    let words = (words.join(" ") + ".").repeat(200);
    [&floats, &noise(2, 90 << 10), words.as_bytes(), &floats, b"end"].concat()
}

/// The file, and what the store has of it.
pub(crate) fn real() -> (Content, XetFile) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/xet");
    let text = fs::read_to_string(directory.join("file.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let content = content();
    let size = content.len() as u64;
    let content = Content::repeated(content, size);
    assert_eq!(file["sha256"], content.sha256(), "make.py makes something else");
    let xorbs = file["reconstruction"]["fetch_info"].as_object().unwrap().keys();
    let read = |hash: &String| {
        let bytes = fs::read(directory.join(format!("{hash}.xorb"))).unwrap();
        let size = bytes.len() as u64;
        (hash.clone(), Content::repeated(bytes, size))
    };
    let xorbs: BTreeMap<String, Content> = xorbs.map(read).collect();
    let hash = file["hash"].as_str().unwrap().to_owned();
    (content, XetFile { hash, reconstruction: file["reconstruction"].clone(), xorbs })
}

/// A store of Hugging Face's own code, stopped when it is dropped.
pub(crate) struct Store {
    pub(crate) url: String,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The store's program, built if it isn't there: that takes minutes.
fn program() -> Result<PathBuf, String> {
    let root = peers::directory().join("xet-store");
    let program = root.join("bin/local_cas_server");
    if program.exists() {
        return Ok(program);
    }
    fs::create_dir_all(&root).map_err(|error| error.to_string())?;
    let output = Command::new(env!("CARGO"))
        .args(["install", "xet-client@1.8.0", "--features", "simulation"])
        .args(["--bin", "local_cas_server", "--profile", "dev", "--root"])
        .arg(&root)
        .arg("--target-dir")
        .arg(root.join("build"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let _ = fs::remove_dir_all(root.join("build"));
    if output.status.success() {
        return Ok(program);
    }
    Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned())
}

impl Store {
    /// `None`, said aloud, where it can't be had.
    pub(crate) fn start() -> Option<Self> {
        let program =
            program().map_err(|reason| peers::skipped("local_cas_server", &reason)).ok()?;
        let directory = tempfile::tempdir().unwrap();
        // Free a moment ago; it takes no socket from us.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--data-directory"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let mut store = Self { url, child, _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = store.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "the store does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(store)
    }
}
