//! The committed quickstart in a directory of its own, driven by the real binary.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;

use super::{installed, peers};

/// What is fetched, and kept for all tests.
const DOWNLOADS: [&str; 2] = ["wheels", "debs"];

/// One copy of examples/quickstart with a state of its own; what is served ends with it.
#[derive(Debug)]
pub(crate) struct Quickstart {
    directory: tempfile::TempDir,
    /// The project.
    pub(crate) root: PathBuf,
    /// The first words of every command; the binary is one of them.
    pub(crate) wrapper: Vec<String>,
}

/// A quickstart with its image built, shared by the tests that run at the same time.
pub(crate) fn built() -> Option<Arc<Quickstart>> {
    static BUILT: Mutex<Weak<Quickstart>> = Mutex::new(Weak::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(quickstart) = built.upgrade() {
        return Some(quickstart);
    }
    let quickstart = Arc::new(Quickstart::new()?);
    quickstart.done(&["apply", "--locked", "--only", "image:mlx"]);
    *built = Arc::downgrade(&quickstart);
    Some(quickstart)
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Quickstart {
    /// A copy of the committed files, and of what they make goatbuild fetch.
    ///
    /// `None`, loudly, when that cannot be fetched.
    pub(crate) fn new() -> Option<Self> {
        Self::at("project")
    }

    /// The same, with the project in this directory below the copy's own.
    pub(crate) fn at(place: &str) -> Option<Self> {
        if let Err(reason) = provision() {
            peers::skipped("quickstart's wheels and packages", &reason);
            return None;
        }
        let quickstart = Self::bare(place);
        quickstart.take(&downloads()).unwrap();
        Some(quickstart)
    }

    fn bare(place: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("quickstart").tempdir().unwrap();
        let root = directory.path().join(place);
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
        // Neither is committed; they are there where somebody tried the example.
        copy_all(&committed, &root, &["cache", "litellm.yaml"]).unwrap();
        // What is looked at from outside, its processes say, is the embedded runtime's.
        let settings = fs::read_to_string(root.join("goatbuild.toml")).unwrap();
        let runtime = "\n[target.local]\nruntime = \"embedded\"\n";
        fs::write(root.join("goatbuild.toml"), settings + runtime).unwrap();
        let wrapper = vec![installed::GOATBUILD.to_owned()];
        Self { directory, root, wrapper }
    }

    /// A second project with the image that this one built, and none of what it was built from.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::bare("project");
        let cache = self.root.join("cache");
        copy_all(&cache, &copy.root.join("cache"), &DOWNLOADS).unwrap();
        copy
    }

    /// The directory that holds the project and its state.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Hard links to what was fetched before.
    fn take(&self, downloads: &Path) -> io::Result<()> {
        for kind in DOWNLOADS {
            link_all(&downloads.join(kind), &self.root.join("cache").join(kind))?;
        }
        Ok(())
    }

    /// The real binary, ready for further arguments and variables.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.wrapper[0]);
        command
            .args(&self.wrapper[1..])
            .args(arguments)
            .current_dir(&self.root)
            .env("GOATBUILD_STATE_DIR", self.directory.path().join("state"))
            .env("HOME", self.directory.path())
            .env("PATH", installed::path())
            .stdin(Stdio::null());
        for name in ["CI", "GOATBUILD_ENV", "SOURCE_DATE_EPOCH", "XDG_STATE_HOME"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the real binary, however it ends.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        ended(&mut self.command(arguments))
    }

    /// Runs the real binary, which has to succeed; gives what it prints.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        self.run(arguments).done()
    }

    /// A file of the project, or nothing.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }

    /// The address at which `apply` said that the model is served.
    pub(crate) fn url(&self) -> String {
        let status: Value = serde_json::from_str(&self.done(&["status", "--json"])).unwrap();
        status["models"][0]["url"].as_str().unwrap_or_default().to_owned()
    }

    /// How many processes have to do with this copy.
    pub(crate) fn processes(&self) -> usize {
        let place = self.directory.path().to_str().unwrap();
        let named = |path: PathBuf| {
            fs::read(path).is_ok_and(|text| String::from_utf8_lossy(&text).contains(place))
        };
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|process| {
                ["cmdline", "environ", "mountinfo"].iter().any(|file| named(process.join(file)))
            })
            .count()
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        // A test that failed may have left its server.
        let _ = self.command(&["destroy", "tiny-qwen3", "--yes"]).output();
    }
}

impl Ended {
    /// What it printed; it has to have succeeded.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// The last event of an `apply --json`.
    #[track_caller]
    pub(crate) fn finished(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        let event: Value = serde_json::from_str(last).unwrap_or_default();
        assert_eq!(event["event"], "apply_finished", "{}\n{}", self.stdout, self.stderr);
        event
    }
}

pub(crate) fn ended(command: &mut Command) -> Ended {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

fn downloads() -> PathBuf {
    peers::directory().join("downloads")
}

/// Fetches, once per lock, what the quickstart needs, by building its image.
fn provision() -> Result<(), String> {
    let word = |error: io::Error| error.to_string();
    let downloads = downloads();
    fs::create_dir_all(&downloads).map_err(word)?;
    let lock = File::create(peers::directory().join("downloads.lock")).map_err(word)?;
    lock.lock().map_err(word)?;
    let quickstart = Quickstart::bare("project");
    let wanted = quickstart.read("goatbuild.lock") + &quickstart.read("images/mlx.pylock.toml");
    let stamp = downloads.join("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    quickstart.take(&downloads).map_err(word)?;
    let ended = quickstart.run(&["apply", "--json", "--locked", "--only", "image:mlx"]);
    let errors = ended.finished()["errors"].clone();
    let is_network = |error: &Value| {
        error["code"].as_str().is_some_and(|code| {
            ["goatbuild::fetch::", "goatbuild::debian::unavailable"]
                .iter()
                .any(|network| code.starts_with(network))
        })
    };
    if let Some(error) = errors.as_array().into_iter().flatten().find(|error| is_network(error)) {
        return Err(error["error"].to_string());
    }
    // Anything else is for the tests to find.
    for kind in DOWNLOADS {
        link_all(&quickstart.root.join("cache").join(kind), &downloads.join(kind)).map_err(word)?;
    }
    if ended.code == Some(0) { fs::write(&stamp, wanted).map_err(word) } else { Ok(()) }
}

/// Links all files of one directory into another, or copies them where that cannot be.
fn link_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let Ok(files) = fs::read_dir(from) else { return Ok(()) };
    for file in files {
        let file = file?;
        let to = to.join(file.file_name());
        if file.file_type()?.is_file() && !to.exists() {
            fs::hard_link(file.path(), &to).or_else(|_| fs::copy(file.path(), &to).map(drop))?;
        }
    }
    Ok(())
}

/// Copies a tree, but for what has one of these names at its top.
pub(crate) fn copy_all(from: &Path, to: &Path, except: &[&str]) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if except.iter().any(|except| name.to_str() == Some(*except)) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &to.join(name), &[])?;
        } else {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}
