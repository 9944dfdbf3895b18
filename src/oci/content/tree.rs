//! The paths of a base, as its layers leave them.

use std::collections::BTreeMap;

use super::held::Held;
use super::{Content, Interpreter, OURS, USUAL_PATH};
use crate::platform::{Architecture, MajorMinor};

/// As many links as Linux follows in one path.
const LINKS: usize = 40;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    File(Held),
    Link(String),
}

/// What one entry of a layer does to the tree.
pub(super) enum Change {
    Put(String, Node),
    Hardlink(String, String),
    Hide(String),
    /// Of a directory's older content.
    HideAll(String),
}

impl Change {
    /// About how much memory it takes.
    pub(super) fn size(&self) -> u64 {
        let names = match self {
            Self::Put(path, Node::Link(to)) | Self::Hardlink(path, to) => path.len() + to.len(),
            Self::Put(path, _) | Self::Hide(path) | Self::HideAll(path) => path.len(),
        };
        (names + size_of::<Self>()) as u64
    }
}

/// The path without what says nothing; none for the root, and for what climbs out of it.
pub(super) fn plain(path: &str) -> Option<String> {
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

pub(super) fn joined(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
}

/// The paths of all layers together.
#[derive(Default)]
pub(super) struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Lays a layer over what is there.
    pub(super) fn apply(&mut self, changes: Vec<Change>) {
        // What a layer hides is below it, wherever in the archive it says so.
        for change in &changes {
            match change {
                Change::Hide(path) => {
                    let path = self.real(path);
                    self.nodes.remove(&path);
                    self.clear(&path);
                }
                Change::HideAll(path) => {
                    let path = self.real(path);
                    self.clear(&path);
                }
                _ => {}
            }
        }
        for change in changes {
            match change {
                Change::Put(path, node) => self.put(&path, node),
                Change::Hardlink(path, target) => {
                    let target = self.real(&target);
                    let node = self.nodes.get(&target).cloned();
                    self.put(&path, node.unwrap_or(Node::File(Held::Other)));
                }
                Change::Hide(_) | Change::HideAll(_) => {}
            }
        }
    }

    fn put(&mut self, path: &str, node: Node) {
        let path = self.real(path);
        if node != Node::Directory {
            self.clear(&path);
        }
        self.nodes.insert(path, node);
    }

    fn clear(&mut self, directory: &str) {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let below = self.nodes.range(prefix.clone()..);
        let below: Vec<String> = below
            .take_while(|(path, _)| path.starts_with(&prefix))
            .map(|(path, _)| path.clone())
            .collect();
        for path in below {
            self.nodes.remove(&path);
        }
    }

    /// The path with the links in its parents followed, its own name left alone.
    fn real(&self, path: &str) -> String {
        match path.rsplit_once('/') {
            Some((parent, name)) => {
                let parent = self.follow(parent).unwrap_or_else(|| parent.to_owned());
                joined(&parent, name)
            }
            None => path.to_owned(),
        }
    }

    /// The path with all links followed; none when they go round in circles.
    fn follow(&self, path: &str) -> Option<String> {
        let mut todo: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
        let mut found = String::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    found.truncate(found.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = joined(&found, &name);
            if let Some(Node::Link(target)) = self.nodes.get(&next) {
                links += 1;
                if links > LINKS {
                    return None;
                }
                if target.starts_with('/') {
                    found.clear();
                }
                todo.extend(target.rsplit('/').map(str::to_owned));
            } else {
                found = next;
            }
        }
        Some(found)
    }

    /// What stands at a path once all links are followed.
    fn at(&self, path: &str) -> Option<(String, &Node)> {
        let real = self.follow(path)?;
        let node = self.nodes.get(&real)?;
        Some((real, node))
    }

    pub(super) fn content(&self, env: &[String], architecture: Architecture) -> Content {
        let triplet = architecture.multiarch();
        let directories = [
            format!("lib/{triplet}"),
            format!("usr/lib/{triplet}"),
            "lib64".to_owned(),
            "usr/lib64".to_owned(),
            "lib".to_owned(),
            "usr/lib".to_owned(),
        ];
        let mut libraries = directories.iter().map(|place| self.at(&format!("{place}/libc.so.6")));
        let glibc = libraries.find_map(|found| match found?.1 {
            Node::File(Held::Glibc(version)) => Some(*version),
            _ => None,
        });
        let is_musl = |path: &String| path.starts_with("lib/ld-musl-");
        let variables = env.iter().filter_map(|line| line.split_once('='));
        let path = variables.filter(|(name, _)| *name == "PATH").map(|(_, path)| path).next_back();
        let mut passed = Vec::new();
        let python = path.unwrap_or(USUAL_PATH).split(':').find_map(|place| {
            match self.python(place, architecture)? {
                Ok(found) => Some(found),
                Err(why) => {
                    passed.push(format!("`/{}` {why}", joined(place.trim_matches('/'), "python3")));
                    None
                }
            }
        });
        let link = matches!(self.nodes.get("opt"), Some(Node::Link(_) | Node::File(_)));
        let taken = OURS.into_iter().find(|path| {
            let below = format!("{path}/");
            let mut below = self.nodes.range(below.clone()..).take(1);
            self.nodes.contains_key(*path)
                || below.any(|(it, _)| it.starts_with(&format!("{path}/")))
        });
        Content {
            glibc,
            musl: glibc.is_none() && self.nodes.keys().any(is_musl),
            python,
            passed,
            taken: if link { Some("opt") } else { taken }.map(|path| format!("/{path}")),
        }
    }

    /// The interpreter in one directory of the PATH, or why what is called so is none.
    fn python(
        &self,
        place: &str,
        architecture: Architecture,
    ) -> Option<Result<Interpreter, &'static str>> {
        let called = format!("{place}/python3");
        let Some((path, node)) = self.at(&called) else {
            let is_link = self.nodes.contains_key(&self.real(called.trim_start_matches('/')));
            return is_link.then_some(Err("is a link that leads nowhere"));
        };
        let Node::File(held) = node else { return Some(Err("is no program")) };
        if let Some(why) = held.not_python(architecture) {
            return Some(Err(why));
        }
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let version = name.strip_prefix("python").and_then(|version| version.parse().ok());
        let version = version.or_else(|| {
            // Its library says it where the program's name doesn't.
            let libraries =
                joined(directory.rsplit_once('/').map_or("", |(above, _)| above), "lib");
            let prefix = format!("{libraries}/python3.");
            let below = self.nodes.range(prefix.clone()..);
            let mut names = below
                .take_while(|(path, _)| path.starts_with(&prefix))
                .filter_map(|(path, _)| path[libraries.len() + 1..].split('/').next())
                .filter_map(|name| name.strip_prefix("python")?.parse::<MajorMinor>().ok());
            let first = names.next()?;
            names.all(|other| other == first).then_some(first)
        });
        let found = version.map(|version| Interpreter { path: format!("/{path}"), version });
        Some(found.ok_or("doesn't tell its version"))
    }
}
