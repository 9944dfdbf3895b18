//! What is installed, and what two installers may rightly differ in.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A file: its mode, and where it is.
pub(super) struct Found {
    mode: u32,
    at: PathBuf,
}

/// Files by their path in an environment.
pub(super) type Tree = BTreeMap<String, Found>;

pub(super) fn tree(root: &Path) -> Tree {
    let entries = walkdir::WalkDir::new(root).into_iter().map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| !entry.file_type().is_dir());
    files
        .map(|entry| {
            let path = entry.path().strip_prefix(root).expect("below").to_str().expect("text");
            let mode = entry.path().symlink_metadata().expect("it is there").permissions().mode();
            (path.to_owned(), Found { mode, at: entry.path().to_owned() })
        })
        .collect()
}

/// What came of comparing two trees.
#[derive(Default)]
pub(super) struct Compared {
    /// Files that differ in what they may.
    pub(super) allowed: usize,
    pub(super) wrong: Vec<String>,
}

/// What uv writes and we don't: which packages were asked for by name, and its own notes; beside a lock
/// file of its own.
const OF_UV: [&str; 4] = ["REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"];

pub(super) fn compare(ours: &Tree, theirs: &Tree) -> Compared {
    let mut compared = Compared::default();
    let paths: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for path in paths {
        let wrong = match (ours.get(path), theirs.get(path)) {
            (Some(_), None) => Some("is ours alone".to_owned()),
            (None, Some(_)) => (!may_be_missing(path)).then(|| "is missing".to_owned()),
            (Some(one), Some(other)) => {
                let read = |found: &Found| std::fs::read(&found.at).unwrap_or_default();
                let (ours, theirs) = (read(one), read(other));
                if one.mode != other.mode && !is_record(path) {
                    Some(format!("has mode {:o}, not {:o}", one.mode, other.mode))
                } else if ours == theirs {
                    continue;
                } else if may_differ(path, &ours, &theirs) {
                    compared.allowed += 1;
                    continue;
                } else {
                    Some("has another content".to_owned())
                }
            }
            (None, None) => None,
        };
        match wrong {
            Some(wrong) => compared.wrong.push(format!("{path} {wrong}")),
            None => compared.allowed += 1,
        }
    }
    compared
}

/// Every installer writes it anew, pip and we as any other file; uv leaves it the mode that it has in the
/// wheel, which is 0755 in protobuf's.
fn is_record(path: &str) -> bool {
    path.contains(".dist-info/") && path.ends_with("/RECORD")
}

/// Bytecode that a wheel has in `__pycache__` is bound to an interpreter and to times: Python makes it anew.
fn may_be_missing(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    path == ".lock"
        || (path.contains(".dist-info/") && OF_UV.contains(&file))
        || (path.contains("/__pycache__/") && path.strip_suffix(".pyc").is_some())
}

fn may_differ(path: &str, ours: &[u8], theirs: &[u8]) -> bool {
    let (ours, theirs) = (String::from_utf8_lossy(ours), String::from_utf8_lossy(theirs));
    if path.contains(".dist-info/") && path.ends_with("/INSTALLER") {
        return (&*ours, &*theirs) == ("goatbuild\n", "uv");
    }
    if is_record(path) {
        return recorded(&ours) == recorded(&theirs);
    }
    path.starts_with("bin/") && same_script(&ours, &theirs)
}

/// The lines of a RECORD in any order, without those of the files that differ, and of what is uv's own.
fn recorded(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| {
        let path = line.rsplit(',').nth(2).unwrap_or(line).trim_matches('"');
        let file = path.rsplit('/').next().unwrap_or(path);
        let is_script = path.starts_with("../../../bin/");
        !is_script && !may_be_missing(path) && !["INSTALLER", "RECORD"].contains(&file)
    });
    lines.collect()
}

/// Whether two scripts differ only in the interpreter of their first line, or, being launchers that an
/// installer writes, import and call the same.
fn same_script(ours: &str, theirs: &str) -> bool {
    let rest = |text: &str| text.split_once('\n').map(|(_, rest)| rest.to_owned());
    if rest(ours).is_some() && rest(ours) == rest(theirs) {
        return true;
    }
    let called = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim);
        let telling = lines.filter(|it| it.starts_with("from ") || it.starts_with("sys.exit("));
        telling.map(str::to_owned).collect()
    };
    called(ours).len() == 2 && called(ours) == called(theirs)
}
