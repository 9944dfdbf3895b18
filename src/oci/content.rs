//! What is in a base: its C library and its Python, read from its layers without unpacking them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use super::compression::Compression;
use super::error::OciError;
use crate::event::Reporter;
use crate::fetch::hex;
use crate::platform::{Architecture, MajorMinor};

/// Where programs are looked for when the configuration doesn't say.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where goatbuild's own layers put things; a base must leave these alone.
const OURS: [&str; 2] = ["opt/goatbuild", "opt/goatbuild-python"];

/// A C library is smaller; a larger file of that name is none.
const LARGEST_LIBRARY: u64 = 64 << 20;

/// As many links as Linux follows in one path.
const LINKS: usize = 40;

/// What is in a base, as far as wheels and servers depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The version of glibc, when it has one.
    pub glibc: Option<MajorMinor>,
    /// Whether its C library is musl, which no wheel for glibc runs with.
    pub musl: bool,
    /// The first `python3` on its PATH.
    pub python: Option<Interpreter>,
    /// A path that goatbuild's own layers need, and that is taken.
    pub taken: Option<String>,
}

/// A Python in a base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// Where it is, with all links followed: `/usr/local/bin/python3.12`.
    pub path: String,
    /// Its version.
    pub version: MajorMinor,
}

/// One layer to be read.
#[derive(Debug)]
pub(super) struct LayerFile {
    /// Of the blob, for errors.
    pub(super) digest: String,
    /// What the uncompressed bytes must be.
    pub(super) diff_id: String,
    /// The blob's form.
    pub(super) compression: Compression,
    /// The blob.
    pub(super) file: File,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory,
    /// With the version of glibc that it says it is.
    File(Option<MajorMinor>),
    Link(String),
}

/// What one entry of a layer does to the tree.
enum Change {
    Put(String, Node),
    Hardlink(String, String),
    Hide(String),
    /// Of a directory's older content.
    HideAll(String),
}

/// Reads layers from the bottom up, verifies them against their diff ids, and says what they hold.
///
/// `env` is the configuration's environment.
pub(super) fn examine(
    layers: Vec<LayerFile>,
    env: &[String],
    architecture: Architecture,
    reporter: &Reporter,
) -> Result<Content, OciError> {
    let mut tree = Tree::default();
    for changes in read_all(layers, reporter)? {
        tree.apply(changes);
    }
    Ok(tree.content(env, architecture))
}

type ReadLayer = Result<Vec<Change>, OciError>;

/// Inflating is slow: the layers are read on all cores.
fn read_all(layers: Vec<LayerFile>, reporter: &Reporter) -> Result<Vec<Vec<Change>>, OciError> {
    let count = layers.len();
    let layers: Vec<Mutex<Option<LayerFile>>> =
        layers.into_iter().map(|layer| Mutex::new(Some(layer))).collect();
    let results: Vec<Mutex<Option<ReadLayer>>> = (0..count).map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(layer) = layers.get(at) else { return };
            let layer = layer.lock().ok().and_then(|mut layer| layer.take());
            let Some(layer) = layer else { return };
            let read = read_layer(layer, reporter);
            if let Ok(mut slot) = results[at].lock() {
                *slot = Some(read);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(count) {
            scope.spawn(work);
        }
    });
    let finished = results.into_iter().map(|slot| {
        let result = slot.into_inner().ok().flatten();
        result.unwrap_or_else(|| panic!("BUG: a layer was not read"))
    });
    finished.collect()
}

fn read_layer(layer: LayerFile, reporter: &Reporter) -> Result<Vec<Change>, OciError> {
    let failed = |error: io::Error| match reporter.check() {
        Err(stop) => stop.into(),
        Ok(()) => OciError::Unpack {
            digest: layer.digest.clone(),
            entry: "(archive)".to_owned(),
            reason: error.to_string(),
        },
    };
    let buffered = BufReader::with_capacity(1 << 18, layer.file);
    let content = layer.compression.reader(buffered).map_err(failed)?;
    let hashed = Hashed { content, hasher: Sha256::new(), reporter: reporter.clone() };
    let mut archive = tar::Archive::new(hashed);
    let mut changes = Vec::new();
    for entry in archive.entries().map_err(failed)? {
        changes.extend(change(&mut entry.map_err(failed)?).map_err(failed)?);
    }
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(failed)?;
    let found = format!("sha256:{}", hex(&rest.hasher.finalize()));
    if found == layer.diff_id {
        return Ok(changes);
    }
    Err(OciError::Document {
        what: format!("layer {}", layer.digest),
        reason: format!("it holds {found}, and the configuration says {}", layer.diff_id),
    })
}

struct Hashed<'a> {
    content: Box<dyn Read + 'a>,
    hasher: Sha256,
    reporter: Reporter,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.reporter.check().map_err(io::Error::other)?;
        Ok(read)
    }
}

fn change(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Option<Change>> {
    let bytes = entry.path_bytes().into_owned();
    let path = String::from_utf8_lossy(&bytes).into_owned();
    let Some(path) = plain(&path) else { return Ok(None) };
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
    if let Some(hidden) = name.strip_prefix(".wh.") {
        return Ok(Some(if hidden == ".wh..opq" {
            Change::HideAll(parent.to_owned())
        } else {
            Change::Hide(joined(parent, hidden))
        }));
    }
    let link = |entry: &tar::Entry<'_, _>| {
        let target = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
        String::from_utf8_lossy(&target.unwrap_or_default()).into_owned()
    };
    Ok(match entry.header().entry_type() {
        EntryType::Directory => Some(Change::Put(path, Node::Directory)),
        EntryType::Symlink => Some(Change::Put(path, Node::Link(link(entry)))),
        EntryType::Link => plain(&link(entry)).map(|target| Change::Hardlink(path, target)),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let version = if is_libc(name) && entry.size() <= LARGEST_LIBRARY {
                let mut library = Vec::new();
                entry.read_to_end(&mut library)?;
                glibc_version(&library)
            } else {
                None
            };
            Some(Change::Put(path, Node::File(version)))
        }
        _ => None,
    })
}

/// The path without what says nothing; none for the root, and for what climbs out of it.
fn plain(path: &str) -> Option<String> {
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

fn joined(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
}

fn is_libc(name: &str) -> bool {
    name == "libc.so.6" || (name.starts_with("libc-2.") && name.strip_suffix(".so").is_some())
}

/// The version in glibc's banner, which is what it says when it is run.
fn glibc_version(library: &[u8]) -> Option<MajorMinor> {
    const BANNER: &[u8] = b"GNU C Library ";
    let at = library.windows(BANNER.len()).position(|window| window == BANNER)?;
    let banner = &library[at..library.len().min(at + 200)];
    let text = String::from_utf8_lossy(banner);
    let version = text.split_once("release version ")?.1;
    let end = version.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    // It ends in a dot, which ends the sentence; some have a third number.
    let numbers = version[..end.unwrap_or(version.len())].trim_end_matches('.');
    let mut parts = numbers.split('.');
    format!("{}.{}", parts.next()?, parts.next()?).parse().ok()
}

/// The paths of all layers together.
#[derive(Default)]
struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Lays a layer over what is there.
    fn apply(&mut self, changes: Vec<Change>) {
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
                    self.put(&path, node.unwrap_or(Node::File(None)));
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

    fn content(&self, env: &[String], architecture: Architecture) -> Content {
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
            Node::File(version) => *version,
            _ => None,
        });
        let is_musl = |path: &String| path.starts_with("lib/ld-musl-");
        let variables = env.iter().filter_map(|line| line.split_once('='));
        let path = variables.filter(|(name, _)| *name == "PATH").map(|(_, path)| path).next_back();
        let places = path.unwrap_or(USUAL_PATH).split(':');
        let mut pythons = places.filter_map(|place| self.python(place));
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
            python: pythons.next(),
            taken: if link { Some("opt") } else { taken }.map(|path| format!("/{path}")),
        }
    }

    /// The interpreter in one directory of the PATH.
    fn python(&self, place: &str) -> Option<Interpreter> {
        let (path, node) = self.at(&format!("{place}/python3"))?;
        if !matches!(node, Node::File(_)) {
            return None;
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
        Some(Interpreter { path: format!("/{path}"), version: version? })
    }
}

#[cfg(test)]
mod tests;
