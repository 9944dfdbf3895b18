//! All that an apply leaves behind, to be compared with what another one left.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use goatbuild::digest::hex;
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use crate::support::project::Project;

/// What is there, by what it is called: without what is another each time, such as an instance.
pub(super) struct World(BTreeMap<String, String>);

impl World {
    pub(super) fn of(project: &Project) -> Self {
        let mut world = BTreeMap::new();
        let instance = project.instance("tiny");
        let port = project.port("tiny").to_string();
        let mut add = |name: &str, content: String| {
            world.insert(name.replace(&instance, "INSTANCE"), content);
        };
        for (path, name) in files(&project.root(), &["cache"]) {
            let text = String::from_utf8_lossy(&fs::read(&path).expect("a file")).into_owned();
            // An entry's key has its address.
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("key: gb1-"));
            let text = lines.collect::<Vec<_>>().join("\n");
            add(&name, text.replace(&port, "PORT"));
        }
        for (path, name) in files(&project.environment(), &["logs", "lock", "deployments.json"]) {
            // What was fetched last is called `main`; nothing that is served goes by that.
            if name.ends_with("refs/main") {
                continue;
            }
            add(&format!("state {name}"), told(&path, &project.environment()));
        }
        for entry in WalkDir::new(project.state().join("roots")).min_depth(1).max_depth(1) {
            let root = entry.expect("an entry").into_path();
            let name = root.file_name().expect("a name").to_string_lossy().into_owned();
            add(&format!("root {name}"), extent(&root));
        }
        let served = project.served("tiny").expect("it is served");
        for field in ["key", "healthy", "trial", "failed", "previous", "tested"] {
            add(&format!("served {field}"), served[field].to_string());
        }
        let plan = project.plan("");
        for step in plan.0["steps"].as_array().expect("steps") {
            let id = step["id"].as_str().expect("an id");
            let text = format!("{} {}", step["action"], step["key"]);
            // Their keys have the instance or its address.
            let is_of_instance = id.starts_with("smoke") || id.starts_with("gateway");
            let text = if is_of_instance { step["action"].to_string() } else { text };
            add(&format!("step {id}"), text);
        }
        add("answer", project.ask("tiny").expect("it answers"));
        add("processes", project.processes().to_string());
        Self(world)
    }
}

#[track_caller]
pub(super) fn assert_same(World(found): &World, World(wanted): &World) {
    let mut differences = Vec::new();
    for name in wanted.keys().chain(found.keys()) {
        let (is, was) = (found.get(name), wanted.get(name));
        if is != was {
            differences.push(format!("{name}: {was:?} became {is:?}"));
        }
    }
    differences.dedup();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Nothing is half written, and nothing temporary is left.
#[track_caller]
pub(super) fn assert_whole(project: &Project) {
    assert_eq!(project.leftovers(), Vec::<PathBuf>::new());
    for (path, name) in files(&project.path("cache/oci/blobs/sha256"), &[]) {
        let bytes = fs::read(&path).expect("a blob");
        assert_eq!(hex(&Sha256::digest(bytes)), name, "a blob that is not what it is called");
    }
    let database = rusqlite::Connection::open(project.path("cache/state.db")).expect("opens");
    let told: String =
        database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("an answer");
    assert_eq!(told, "ok");
}

/// The files and links below a directory, but for what is called so at its top.
fn files(directory: &Path, except: &[&str]) -> Vec<(PathBuf, String)> {
    let entries = WalkDir::new(directory).sort_by_file_name().into_iter();
    let entries = entries.filter_entry(|entry| {
        entry.depth() != 1 || !except.iter().any(|name| entry.file_name() == *name)
    });
    let files = entries.flatten().filter(|entry| !entry.file_type().is_dir());
    let named = |path: PathBuf| {
        let name = path.strip_prefix(directory).expect("below it").display().to_string();
        (path, name)
    };
    files.map(walkdir::DirEntry::into_path).map(named).collect()
}

/// What a file holds, or where a link leads.
fn told(path: &Path, within: &Path) -> String {
    match fs::read_link(path) {
        Ok(target) => {
            let target = target.strip_prefix(within).unwrap_or(&target);
            format!("-> {}", target.display())
        }
        Err(_) => hex(&Sha256::digest(fs::read(path).expect("a file"))),
    }
}

/// How much there is below a directory.
fn extent(directory: &Path) -> String {
    let (mut entries, mut bytes) = (0, 0);
    for entry in WalkDir::new(directory).into_iter().flatten() {
        entries += 1;
        let metadata = entry.metadata().expect("metadata");
        bytes += if metadata.is_file() { metadata.len() } else { 0 };
    }
    format!("{entries} entries, {bytes} bytes")
}
