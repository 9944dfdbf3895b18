//! What is in a base: its C library and its Python, read from its layers without unpacking them.

mod held;
mod tree;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use super::compression::Compression;
use super::error::OciError;
use crate::bounded::tar::{Member, members};
use crate::digest::Digest;
use crate::event::Reporter;
use crate::platform::{Architecture, MajorMinor};

use held::Held;
use tree::{Change, Node, Tree, joined, plain};

/// Where programs are looked for when the configuration doesn't say.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where goatbuild's own layers put things; a base must leave these alone.
const OURS: [&str; 2] = ["opt/goatbuild", "opt/goatbuild-python"];

/// Bytes of memory for the names of all layers: large images have half a million, of a hundred bytes.
const LARGEST_TREE: u64 = 1 << 30;

/// What is in a base, as far as wheels and servers depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The version of glibc, when it has one.
    pub glibc: Option<MajorMinor>,
    /// Whether its C library is musl, which no wheel for glibc runs with.
    pub musl: bool,
    /// The first `python3` on its PATH that is one.
    pub python: Option<Interpreter>,
    /// What is called `python3` before it on its PATH, and why that is none.
    pub passed: Vec<String>,
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
    pub(super) digest: Digest,
    /// What the uncompressed bytes must be.
    pub(super) diff_id: Digest,
    /// The blob.
    pub(super) file: File,
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
    let (next, kept) = (AtomicUsize::new(0), AtomicU64::new(0));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(layer) = layers.get(at) else { return };
            let layer = layer.lock().ok().and_then(|mut layer| layer.take());
            let Some(layer) = layer else { return };
            let read = read_layer(layer, &kept, reporter);
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

/// `kept` counts what is kept in memory of all layers.
fn read_layer(
    layer: LayerFile,
    kept: &AtomicU64,
    reporter: &Reporter,
) -> Result<Vec<Change>, OciError> {
    let failed = |error: io::Error| match reporter.check() {
        Err(stop) => stop.into(),
        Ok(()) => OciError::Unpack {
            digest: layer.digest,
            entry: "(archive)".to_owned(),
            reason: error.to_string(),
        },
    };
    let buffered = BufReader::with_capacity(1 << 18, layer.file);
    let content = Compression::reader(buffered).map_err(failed)?;
    let hashed = Hashed { content, hasher: Sha256::new(), reporter: reporter.clone() };
    let mut changes = Vec::new();
    let mut rest = members(hashed, failed, |entry| {
        let change = change(entry).map_err(failed)?;
        let size = change.as_ref().map_or(0, Change::size);
        if kept.fetch_add(size, Ordering::Relaxed) > LARGEST_TREE {
            return Err(failed(io::Error::other("the layers have more names than any image")));
        }
        changes.extend(change);
        Ok(())
    })?;
    io::copy(&mut rest, &mut io::sink()).map_err(failed)?;
    let found = Digest::finish(rest.hasher);
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

fn change(entry: &mut Member<'_, impl Read>) -> io::Result<Option<Change>> {
    let Some(path) = plain(&String::from_utf8_lossy(&entry.path)) else { return Ok(None) };
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
    if let Some(hidden) = name.strip_prefix(".wh.").filter(|it| !it.starts_with(".wh.")) {
        return Ok(Some(Change::Hide(joined(parent, hidden))));
    }
    if name == ".wh..wh..opq" {
        return Ok(Some(Change::HideAll(parent.to_owned())));
    }
    let link = String::from_utf8_lossy(&entry.link).into_owned();
    Ok(match entry.kind {
        EntryType::Directory => Some(Change::Put(path, Node::Directory)),
        EntryType::Symlink => Some(Change::Put(path, Node::Link(link))),
        EntryType::Link => plain(&link).map(|target| Change::Hardlink(path, target)),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let held = Held::of(name, entry)?;
            Some(Change::Put(path, Node::File(held)))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests;
