//! What stands below a directory, path by path.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use goatbuild::digest::Digest;

/// What stands at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    kind: Kind,
    /// Without what is never kept: set-user and set-group; and a directory's owner may always write in it.
    mode: u32,
    /// Seconds and nanoseconds, unless it is of today: then nobody set it.
    changed: Option<(i64, i64)>,
    links: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    /// Bytes and their digest.
    File(u64, Digest),
    Link(PathBuf),
}

/// All below a directory but devices and pipes.
pub(super) fn tree(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.expect("an entry");
        let (path, data) = (entry.path(), entry.path().symlink_metadata().expect("metadata"));
        let (kind, mode) = if data.is_symlink() {
            (Kind::Link(fs::read_link(path).expect("a link")), 0)
        } else if data.is_dir() {
            (Kind::Directory, data.mode() & 0o1777 | 0o700)
        } else if data.is_file() {
            (Kind::File(data.len(), digest(path)), data.mode() & 0o1777)
        } else {
            continue;
        };
        let today = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let today = i64::try_from(today.expect("a time").as_secs()).expect("a time");
        let is_set = (data.mtime() - today).abs() > 24 * 3600;
        let node = Node {
            kind,
            mode,
            changed: is_set.then(|| (data.mtime(), data.mtime_nsec())),
            links: if data.is_dir() { 0 } else { data.nlink() },
        };
        nodes.insert(path.strip_prefix(root).expect("below").to_owned(), node);
    }
    nodes
}

/// Of a file of gigabytes that are holes, too: only what isn't zero counts, with its place.
fn digest(path: &Path) -> Digest {
    use std::os::unix::fs::FileExt as _;
    let file = fs::File::open(path).expect("a file");
    let (length, mut at) = (file.metadata().expect("metadata").len(), 0);
    let mut text = Vec::new();
    while let Ok(start) = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
        let end = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(start)).unwrap_or(length);
        let mut block = [0; 512];
        let mut place = start / 512 * 512;
        while place < end {
            let read = file.read_at(&mut block, place).expect("read");
            if read == 0 {
                break;
            }
            if block[..read].iter().any(|byte| *byte != 0) {
                text.extend(place.to_le_bytes());
                text.extend(&block[..read]);
            }
            place += 512;
        }
        at = end;
    }
    Digest::of(&text)
}

/// Fails unless both trees are the same.
#[track_caller]
pub(super) fn same(what: &str, theirs: &Path, ours: &Path) -> usize {
    let (theirs, ours) = (tree(theirs), tree(ours));
    let paths: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let differing: Vec<_> = paths
        .into_iter()
        .map(|path| (path, theirs.get(path), ours.get(path)))
        .filter(|(_, theirs, ours)| theirs != ours)
        .take(10)
        .collect();
    assert!(differing.is_empty(), "{what}: theirs and ours: {differing:#?}");
    ours.len()
}

/// Bytes that a directory takes on disk.
pub(super) fn taken(root: &Path) -> u64 {
    let entries = walkdir::WalkDir::new(root).into_iter().map(|entry| entry.expect("an entry"));
    entries.map(|entry| entry.metadata().expect("metadata").blocks() * 512).sum()
}
