//! The committed quickstart in a directory of its own, driven by the real binary.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;

use super::peers;
use super::project::{Project, copy_all};

/// What is fetched, and kept for all tests.
const DOWNLOADS: [&str; 2] = ["wheels", "debs"];

/// A quickstart with its image built, shared by the tests that run at the same time.
pub(crate) fn built() -> Option<Arc<Project>> {
    static BUILT: Mutex<Weak<Project>> = Mutex::new(Weak::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(quickstart) = built.upgrade() {
        return Some(quickstart);
    }
    let quickstart = Arc::new(quickstart("project")?);
    quickstart.run("apply --locked --only image:mlx").done();
    *built = Arc::downgrade(&quickstart);
    Some(quickstart)
}

/// A copy of the committed files, in a directory of this name below its own, and of what they make
/// goatbuild fetch.
///
/// `None`, loudly, when that cannot be fetched.
pub(crate) fn quickstart(name: &str) -> Option<Project> {
    if let Err(reason) = provision() {
        peers::skipped("quickstart's wheels and packages", &reason);
        return None;
    }
    let quickstart = bare(name);
    take(&quickstart, &downloads()).unwrap();
    Some(quickstart)
}

fn bare(name: &str) -> Project {
    let mut quickstart = Project::of_example("quickstart", name);
    // What is looked at from outside, its processes say, is the embedded runtime's.
    quickstart.append("goatbuild.toml", "\n[target.local]\nruntime = \"embedded\"\n");
    let home = quickstart.directory().to_str().unwrap().to_owned();
    quickstart.variable("HOME", &home);
    quickstart
}

/// A second project with the image that this one built, and none of what it was built from.
pub(crate) fn copy(built: &Project) -> Project {
    let copy = bare("project");
    copy_all(&built.path("cache"), &copy.path("cache"), &DOWNLOADS).unwrap();
    copy
}

/// Hard links to what was fetched before.
fn take(quickstart: &Project, downloads: &Path) -> io::Result<()> {
    for kind in DOWNLOADS {
        link_all(&downloads.join(kind), &quickstart.path("cache").join(kind))?;
    }
    Ok(())
}

/// The address at which `apply` said that the model is served.
pub(crate) fn url(quickstart: &Project) -> String {
    let status: Value = serde_json::from_str(&quickstart.run("status --json").done()).unwrap();
    status["models"][0]["url"].as_str().unwrap_or_default().to_owned()
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
    let quickstart = bare("project");
    let wanted = quickstart.read("goatbuild.lock") + &quickstart.read("images/mlx.pylock.toml");
    let stamp = downloads.join("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    take(&quickstart, &downloads).map_err(word)?;
    let ended = quickstart.run("apply --json --locked --only image:mlx");
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
        link_all(&quickstart.path("cache").join(kind), &downloads.join(kind)).map_err(word)?;
    }
    if ended.code == 0 { fs::write(&stamp, wanted).map_err(word) } else { Ok(()) }
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
