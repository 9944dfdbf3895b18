//! What scripts do to the tree: paths as they spell them, links in the way followed.

use super::DebianError;
use super::tree::{Content, Entry, Node, Tree};

/// Why the tree was not changed, in the system's words.
pub(super) type Failed = &'static str;

const MISSING: Failed = "No such file or directory";
const EXISTS: Failed = "File exists";
const NOT_A_DIRECTORY: Failed = "Not a directory";
const IS_A_DIRECTORY: Failed = "Is a directory";
const NOT_EMPTY: Failed = "Directory not empty";

impl Tree {
    /// Where a path is, without following its last part; its directory has to be there.
    pub(super) fn place(&self, path: &str) -> Result<Vec<u8>, Failed> {
        let path = path.trim_end_matches('/');
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut place = self.follow(above.as_bytes()).ok_or(MISSING)?;
        match name {
            "" | "." => return Ok(place),
            ".." => {
                place.truncate(place.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                return Ok(place);
            }
            _ => {}
        }
        if !place.is_empty() && !self.is_directory(&place) {
            return Err(NOT_A_DIRECTORY);
        }
        if !place.is_empty() {
            place.push(b'/');
        }
        place.extend_from_slice(name.as_bytes());
        Ok(super::tree::merge(place))
    }

    /// What stands at a path, without following its last part.
    pub(super) fn lookup(&self, path: &str) -> Option<&Entry> {
        self.entries.get(&self.place(path).ok()?)
    }

    /// What a path leads to.
    pub(super) fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.get(&self.follow(path.as_bytes())?)
    }

    /// Whether a path leads to a directory.
    pub(super) fn leads_to_directory(&self, path: &str) -> bool {
        self.follow(path.as_bytes()).is_some_and(|at| at.is_empty() || self.is_directory(&at))
    }

    fn is_directory(&self, place: &[u8]) -> bool {
        self.entries.get(place).is_some_and(|entry| entry.node == Node::Directory)
    }

    /// The paths below a directory.
    pub(super) fn below(&self, place: &[u8]) -> Vec<Vec<u8>> {
        let prefix = if place.is_empty() { Vec::new() } else { [place, b"/"].concat() };
        self.entries
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix))
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Makes a directory; with `parents`, all that are missing above it, and none is no failure.
    pub(super) fn make_directory(
        &mut self,
        path: &str,
        mode: u32,
        parents: bool,
    ) -> Result<(), Failed> {
        if self.leads_to_directory(path) {
            return if parents { Ok(()) } else { Err(EXISTS) };
        }
        let path = path.trim_end_matches('/');
        if parents
            && let Some((above, _)) = path.rsplit_once('/')
            && !above.is_empty()
        {
            self.make_directory(above, 0o755, true)?;
        }
        let place = self.place(path)?;
        self.vacant(&place)?;
        self.insert(place, Node::Directory, mode);
        Ok(())
    }

    fn vacant(&self, place: &[u8]) -> Result<(), Failed> {
        if self.entries.contains_key(place) { Err(EXISTS) } else { Ok(()) }
    }

    /// Makes a symbolic link; with `force`, in place of what stands there.
    pub(super) fn make_link(
        &mut self,
        path: &str,
        target: &str,
        force: bool,
    ) -> Result<(), Failed> {
        let place = self.place(path)?;
        if self.is_directory(&place) {
            return Err(EXISTS);
        }
        if !force {
            self.vacant(&place)?;
        }
        self.insert(place, Node::Symlink(target.as_bytes().to_vec()), 0o777);
        Ok(())
    }

    /// Writes a file, keeping the mode of one that is there.
    pub(super) fn write_file(
        &mut self,
        path: &str,
        bytes: &[u8],
        mode: u32,
    ) -> Result<Result<(), Failed>, DebianError> {
        let place = match self.follow(path.as_bytes()) {
            Some(place) => place,
            None => match self.place(path) {
                Ok(place) => place,
                Err(failed) => return Ok(Err(failed)),
            },
        };
        if place.is_empty() || self.is_directory(&place) {
            return Ok(Err(IS_A_DIRECTORY));
        }
        let mode = self.entries.get(&place).map_or(mode, |entry| entry.mode);
        let content = self.spooled(bytes).map_err(DebianError::io(format!("writing {path}")))?;
        self.insert(place, Node::File { content, linked: false }, mode);
        Ok(Ok(()))
    }

    /// Copies what stands at one path to another.
    pub(super) fn copy(&mut self, from: &[u8], to: Vec<u8>) -> Result<(), Failed> {
        if to.is_empty() || self.is_directory(&to) {
            return Err(IS_A_DIRECTORY);
        }
        let entry = self.entries.get(from).cloned().ok_or(MISSING)?;
        let node = match entry.node {
            Node::File { content, .. } => Node::File { content, linked: false },
            node => node,
        };
        // What is there keeps its permissions.
        let mode = self.entries.get(&to).map_or(entry.mode & 0o1777, |there| there.mode);
        self.insert(to, node, mode);
        Ok(())
    }

    /// Makes an empty file, in place of what stands there.
    pub(super) fn make_empty(&mut self, path: &str) -> Result<(), Failed> {
        let place = self.place(path)?;
        if place.is_empty() || self.is_directory(&place) {
            return Err(IS_A_DIRECTORY);
        }
        let mode = self.entries.get(&place).map_or(0o644, |there| there.mode);
        self.insert(place, Node::File { content: Content::EMPTY, linked: false }, mode);
        Ok(())
    }

    /// Moves a path, and all that is below it.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<(), Failed> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        if from.is_empty() || to.is_empty() || to.starts_with(&[&from[..], b"/"].concat()) {
            return Err(EXISTS);
        }
        if self.is_directory(&to) && !self.is_directory(&from) {
            return Err(IS_A_DIRECTORY);
        }
        for below in self.below(&from) {
            if let Some(entry) = self.entries.remove(&below) {
                self.entries.insert([&to, &below[from.len()..]].concat(), entry);
            }
        }
        let entry = self.entries.remove(&from).ok_or(MISSING)?;
        self.entries.insert(to, entry);
        Ok(())
    }

    /// Moves a directory for a link to stand in its place: what packages ship in it is where dpkg unpacks
    /// it through that link. What is there already stays.
    pub(super) fn move_directory(&mut self, from: &str, to: &str) {
        let (Ok(from), Ok(to)) = (self.place(from), self.place(to)) else { return };
        if !self.is_directory(&from) {
            return;
        }
        for path in self.below(&from).into_iter().chain([from.clone()]) {
            if let Some(entry) = self.entries.remove(&path) {
                self.entries.entry([&to, &path[from.len()..]].concat()).or_insert(entry);
            }
        }
    }

    /// Removes a path; with `all`, what is below it, too.
    pub(super) fn remove(&mut self, path: &str, all: bool) -> Result<(), Failed> {
        let place = self.place(path)?;
        if !self.entries.contains_key(&place) {
            return Err(MISSING);
        }
        if self.is_directory(&place) {
            let below = self.below(&place);
            if !below.is_empty() && !all {
                return Err(NOT_EMPTY);
            }
            for path in below {
                self.entries.remove(&path);
            }
        }
        self.entries.remove(&place);
        Ok(())
    }

    /// Gives a path these permissions. A bit that lends an owner's rights isn't set: all is root's here.
    pub(super) fn change_mode(
        &mut self,
        place: &[u8],
        change: impl FnOnce(u32, bool) -> u32,
    ) -> Result<(), Failed> {
        let entry = self.entries.get_mut(place).ok_or(MISSING)?;
        let is_directory = entry.node == Node::Directory;
        let lent = if is_directory { 0o2000 } else { 0o6000 };
        let before = entry.mode;
        let after = change(before, is_directory) & 0o7777;
        // Such a bit that a package ships can only be taken away; a directory's stays, as chmod leaves it.
        let kept = if is_directory { before & lent } else { before & after & lent };
        entry.mode = (after & !lent) | kept;
        Ok(())
    }

    fn insert(&mut self, place: Vec<u8>, node: Node, mode: u32) {
        let owner = "goatbuild".to_owned();
        self.entries.insert(place, Entry { node, mode, owner });
    }
}
