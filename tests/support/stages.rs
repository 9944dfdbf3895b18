//! Projects at Modal that have come so far: made once in a run of the tests, and copied for every
//! test that begins there.
//!
//! The address of what is deployed has a port here, and the keys of what comes behind a deployment
//! have its address. So a copy is served on the ports of what it was copied from, and of the copies
//! with the same ports only one is used at a time: whoever finds no shelf free fills one more.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::hubbed::Hubbed;
use super::modal::{ModalDouble, Remote};
use super::peers;

/// How far a project has come.
pub(crate) struct Stage {
    /// What its directory on a shelf is called.
    pub(crate) name: &'static str,
    /// What comes before it, if not a new project.
    pub(crate) after: Option<&'static Stage>,
    /// What has to be done then.
    pub(crate) change: fn(&Remote),
}

/// The image is built and the weights are fetched.
pub(crate) static FETCHED: Stage = Stage {
    name: "fetched",
    after: None,
    change: |remote| {
        let project = &remote.hubbed.project;
        project.apply("--yes --only image:tiny --only weights:acme/tiny").ran();
    },
};

/// The model is deployed too, was tried out, and is in the gateway.
pub(crate) static APPLIED: Stage = Stage {
    name: "applied",
    after: Some(&FETCHED),
    change: |remote| drop(remote.hubbed.project.apply("--yes").ran()),
};

/// What each project has of its own already, and never rewrites.
const SHARED: [&str; 4] = ["oci", "debs", "wheels", "tools"];

/// What a double writes anew.
const OF_ONE_RUN: [&str; 5] =
    ["journal.jsonl", "double.log", "faults.json", "fault_counts.json", "port"];

/// The shelves that nobody uses now.
static FREE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Where stages are kept of which one can be used at a time.
pub(crate) struct Shelf(PathBuf);

impl Drop for Shelf {
    fn drop(&mut self) {
        if let Ok(mut free) = FREE.lock() {
            free.push(std::mem::take(&mut self.0));
        }
    }
}

impl Shelf {
    fn take() -> Self {
        static TAKEN: AtomicU32 = AtomicU32::new(0);
        if let Some(directory) = FREE.lock().expect("the shelves").pop() {
            return Self(directory);
        }
        let number = TAKEN.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            remove_left();
        }
        Self(peers::directory().join(format!("stages-{}-{number}", std::process::id())))
    }

    /// A copy of what has come so far; `None`, loudly, when a part of it can't be had.
    fn copy(&self, stage: &Stage) -> Option<Remote> {
        let kept = self.0.join(stage.name);
        if !kept.exists() || !ports(&kept).into_iter().all(is_free) {
            let remote = match stage.after {
                Some(before) => self.copy(before)?,
                None => Remote::new()?,
            };
            (stage.change)(&remote);
            keep(remote, &kept);
        }
        let hubbed = Hubbed::new()?;
        let project = &hubbed.project;
        copy_into(&kept.join("project"), &project.root(), &[]);
        copy_into(&kept.join("cache"), &project.root().join("cache"), &[]);
        copy_into(&kept.join("state"), &project.state(), &[]);
        Some(Remote::of(ModalDouble::start_from(&kept.join("modal"))?, hubbed))
    }
}

impl Remote {
    /// A project that was applied.
    pub(crate) fn applied() -> Option<Self> {
        Self::at(&APPLIED)
    }

    /// A project that has come so far.
    pub(crate) fn at(stage: &Stage) -> Option<Self> {
        let shelf = Shelf::take();
        let remote = shelf.copy(stage)?;
        Some(Self { _shelf: Some(shelf), ..remote })
    }
}

/// Puts all that there is of a project onto a shelf.
fn keep(mut remote: Remote, kept: &Path) {
    remote.modal.end();
    let project = &remote.hubbed.project;
    let _ = fs::remove_dir_all(kept);
    copy_into(&project.root(), &kept.join("project"), &["cache"]);
    copy_into(&project.root().join("cache"), &kept.join("cache"), &SHARED);
    copy_into(&project.state(), &kept.join("state"), &[]);
    copy_into(&remote.modal.kept(), &kept.join("modal"), &OF_ONE_RUN);
}

/// Copies what is in a directory into another one, but for some of its entries, in place of what is
/// there: that may have links elsewhere.
pub(super) fn copy_into(from: &Path, to: &Path, without: &[&str]) {
    fs::create_dir_all(to).expect("a directory");
    let entries = fs::read_dir(from).expect("a directory").flatten();
    let wanted: Vec<PathBuf> = entries
        .filter(|entry| !without.iter().any(|name| entry.file_name() == *name))
        .map(|entry| entry.path())
        .collect();
    if wanted.is_empty() {
        return;
    }
    let mut command = Command::new("cp");
    command.args(["-a", "--remove-destination", "-t"]).arg(to).args(wanted);
    assert!(command.status().expect("cp runs").success(), "{command:?}");
}

/// The ports that a double's addresses have.
fn ports(kept: &Path) -> Vec<u16> {
    let state = fs::read(kept.join("modal/state.json")).expect("a state");
    let state: Value = serde_json::from_slice(&state).expect("JSON");
    let labels = state["labels"].as_object().expect("labels").values();
    labels.map(|label| serde_json::from_value(label["port"].clone()).expect("a port")).collect()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Removes what test processes have left that run no more.
fn remove_left() {
    for entry in fs::read_dir(peers::directory()).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let process = name.strip_prefix("stages-").and_then(|rest| rest.split('-').next());
        if process.is_some_and(|it| !Path::new("/proc").join(it).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
