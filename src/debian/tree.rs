//! The file tree under construction: what each path is, with the contents in one spooled file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::DebianError;
use super::deb::{Member, MemberKind};

/// Top-level directories that are links into `usr` on every current Debian.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Where in the spool a file's content lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Content {
    offset: u64,
    pub(super) size: u64,
}

impl Content {
    /// Nothing.
    pub(super) const EMPTY: Self = Self { offset: 0, size: 0 };
}

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A directory.
    Directory,
    /// A file; `linked` when several paths share it.
    File { content: Content, linked: bool },
    /// A symbolic link.
    Symlink(Vec<u8>),
}

/// One path's node, its permissions and who put it there.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) mode: u32,
    /// The package, or `goatbuild` for what its scripts would have made.
    pub(super) owner: String,
}

/// A tree of paths without a leading slash.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) entries: BTreeMap<Vec<u8>, Entry>,
    spool: File,
    spooled: u64,
}

impl Tree {
    /// An empty tree that spools into an unnamed file in `directory`.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        let spool = tempfile::tempfile_in(directory)?;
        Ok(Self { entries: BTreeMap::new(), spool, spooled: 0 })
    }

    /// Takes in a member of a package; `replaces` says whether it may overwrite another package's.
    pub(super) fn add(
        &mut self,
        package: &str,
        member: &Member,
        content: &mut dyn Read,
        replaces: &dyn Fn(&str, &str) -> bool,
    ) -> Result<(), DebianError> {
        let unsafe_path = |reason: String| DebianError::UnsafePath {
            package: package.to_owned(),
            path: String::from_utf8_lossy(&member.path).into_owned(),
            reason,
        };
        let path = placed(&member.path).map_err(unsafe_path)?;
        if path.is_empty() {
            return Ok(());
        }
        let node = match &member.kind {
            MemberKind::Directory => Node::Directory,
            MemberKind::Symlink(target) if is_merge_link(&member.path, target) => return Ok(()),
            MemberKind::Symlink(target) if target.is_empty() || target.contains(&0) => {
                return Err(unsafe_path("its target is empty or holds a zero byte".into()));
            }
            MemberKind::Symlink(target) => Node::Symlink(target.clone()),
            MemberKind::Hardlink(target) => {
                let target = placed(target).map_err(unsafe_path)?;
                match self.entries.get_mut(&target) {
                    Some(Entry { node: Node::File { content, linked }, owner, .. })
                        if owner == package =>
                    {
                        *linked = true;
                        Node::File { content: *content, linked: true }
                    }
                    _ => {
                        return Err(unsafe_path(
                            "it links to no earlier file of its package".into(),
                        ));
                    }
                }
            }
            MemberKind::File => Node::File {
                content: self.spool(content).map_err(DebianError::io(format!(
                    "unpacking {} of {package}",
                    String::from_utf8_lossy(&member.path)
                )))?,
                linked: false,
            },
        };
        let mode = if matches!(node, Node::Symlink(_)) { 0o777 } else { member.mode };
        let entry = Entry { node, mode, owner: package.to_owned() };
        if let Some(known) = self.entries.get(&path) {
            if (known.node == Node::Directory && entry.node == Node::Directory)
                || replaces(&known.owner, package)
            {
                return Ok(());
            }
            if !replaces(package, &known.owner) {
                let known = known.clone();
                if self.same(&known, &entry).map_err(DebianError::io("comparing files"))? {
                    return Ok(());
                }
                return Err(DebianError::Overlap {
                    first: known.owner,
                    second: package.to_owned(),
                    path: String::from_utf8_lossy(&path).into_owned(),
                });
            }
        }
        self.entries.insert(path, entry);
        Ok(())
    }

    fn same(&mut self, left: &Entry, right: &Entry) -> io::Result<bool> {
        Ok(match (&left.node, &right.node) {
            (
                Node::File { content: left_content, .. },
                Node::File { content: right_content, .. },
            ) => {
                left.mode == right.mode
                    && left_content.size == right_content.size
                    && self.content(*left_content)? == self.content(*right_content)?
            }
            (left, right) => left == right,
        })
    }

    /// Spools a file's bytes.
    pub(super) fn spooled(&mut self, bytes: &[u8]) -> io::Result<Content> {
        self.spool(&mut &*bytes)
    }

    fn spool(&mut self, content: &mut dyn Read) -> io::Result<Content> {
        let offset = self.spooled;
        self.spool.seek(SeekFrom::Start(offset))?;
        let size = io::copy(content, &mut self.spool)?;
        self.spooled += size;
        Ok(Content { offset, size })
    }

    /// A file's bytes.
    pub(super) fn content(&mut self, content: Content) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(content.size).unwrap_or(0));
        self.reader(content)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a file's bytes as a stream.
    pub(super) fn reader(&mut self, content: Content) -> io::Result<impl Read + '_> {
        self.spool.flush()?;
        self.spool.seek(SeekFrom::Start(content.offset))?;
        Ok((&mut self.spool).take(content.size))
    }

    /// The bytes of the file at `path`, through links; none when there is no such file.
    pub(super) fn read(&mut self, path: &str) -> Option<Vec<u8>> {
        let found = self.follow(path.as_bytes())?;
        match self.entries.get(&found)?.node {
            Node::File { content, .. } => self.content(content).ok(),
            _ => None,
        }
    }

    /// Whether something is at `path`, through links.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.follow(path.as_bytes()).is_some()
    }

    /// The path that `path` (with or without a leading slash) leads to, all links resolved.
    pub(super) fn follow(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut left: Vec<Vec<u8>> = parts(path).rev().map(<[u8]>::to_vec).collect();
        let mut at: Vec<u8> = Vec::new();
        let mut hops = 0;
        while let Some(part) = left.pop() {
            if part == b".." {
                at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            }
            let mut next = at.clone();
            if !next.is_empty() {
                next.push(b'/');
            }
            next.extend_from_slice(&part);
            let merged = next.clone();
            let next = merge(merged);
            match self.entries.get(&next).map(|entry| &entry.node) {
                Some(Node::Symlink(target)) => {
                    hops += 1;
                    if hops > 40 {
                        return None;
                    }
                    if target.starts_with(b"/") {
                        at.clear();
                    }
                    left.extend(parts(target).rev().map(<[u8]>::to_vec));
                }
                Some(_) => at = next,
                None => return None,
            }
        }
        Some(at)
    }

    /// Puts a generated file; what a package ships there stays.
    pub(super) fn put_file(
        &mut self,
        path: &str,
        mode: u32,
        bytes: &[u8],
    ) -> Result<(), DebianError> {
        let content =
            self.spool(&mut &*bytes).map_err(DebianError::io(format!("writing {path}")))?;
        self.put(path, mode, Node::File { content, linked: false });
        Ok(())
    }

    /// Puts a generated link; what a package ships there stays.
    pub(super) fn put_link(&mut self, path: &str, target: &str) {
        self.put(path, 0o777, Node::Symlink(target.as_bytes().to_vec()));
    }

    /// Puts a generated directory; what a package ships there stays.
    pub(super) fn put_directory(&mut self, path: &str, mode: u32) {
        self.put(path, mode, Node::Directory);
    }

    fn put(&mut self, path: &str, mode: u32, node: Node) {
        let path = merge(path.trim_start_matches('/').as_bytes().to_vec());
        let entry = Entry { node, mode, owner: "goatbuild".to_owned() };
        self.entries.entry(path).or_insert(entry);
    }

    /// Adds the links of a merged `/usr` and missing directories; refuses paths through links.
    pub(super) fn complete(&mut self) -> Result<(), DebianError> {
        for name in MERGED {
            let target = format!("usr/{name}");
            let wanted = matches!(name, "bin" | "sbin" | "lib")
                || self.entries.keys().any(|path| {
                    path.strip_prefix(target.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
                });
            if wanted {
                self.put_directory(&target, 0o755);
                let entry = Entry {
                    node: Node::Symlink(target.into_bytes()),
                    mode: 0o777,
                    owner: "goatbuild".to_owned(),
                };
                self.entries.insert(name.as_bytes().to_vec(), entry);
            }
        }
        let mut missing = Vec::new();
        for (path, entry) in &self.entries {
            for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
                match self.entries.get(&path[..end]).map(|parent| &parent.node) {
                    Some(Node::Directory) => {}
                    None => missing.push(path[..end].to_vec()),
                    Some(_) => {
                        return Err(DebianError::UnsafePath {
                            package: entry.owner.clone(),
                            path: String::from_utf8_lossy(path).into_owned(),
                            reason: format!(
                                "{} is not a directory",
                                String::from_utf8_lossy(&path[..end])
                            ),
                        });
                    }
                }
            }
        }
        for path in missing {
            let entry = Entry { node: Node::Directory, mode: 0o755, owner: "goatbuild".to_owned() };
            self.entries.insert(path, entry);
        }
        Ok(())
    }
}

/// A package's path as it is in the layer: relative, and under `usr` where `/usr` is merged.
fn placed(path: &[u8]) -> Result<Vec<u8>, String> {
    if path.starts_with(b"/") {
        return Err("it is absolute".into());
    }
    if path.contains(&0) {
        return Err("it holds a zero byte".into());
    }
    let mut placed = Vec::with_capacity(path.len() + 4);
    for part in parts(path) {
        if part == b".." {
            return Err("it climbs out".into());
        }
        if !placed.is_empty() {
            placed.push(b'/');
        }
        placed.extend_from_slice(part);
    }
    Ok(merge(placed))
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// A path under `usr` where `/usr` is merged.
pub(super) fn merge(path: Vec<u8>) -> Vec<u8> {
    let first = path.split(|byte| *byte == b'/').next().unwrap_or_default();
    if MERGED.iter().any(|name| name.as_bytes() == first) {
        [b"usr/".as_slice(), &path].concat()
    } else {
        path
    }
}

/// Whether this is a link of the merged `/usr` itself, which trixie's base-files ships.
fn is_merge_link(path: &[u8], target: &[u8]) -> bool {
    let mut parts = parts(path);
    let (Some(name), None) = (parts.next(), parts.next()) else { return false };
    MERGED.iter().any(|merged| merged.as_bytes() == name)
        && target.strip_prefix(b"usr/").is_some_and(|rest| rest == name)
}
