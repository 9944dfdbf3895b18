//! What a clean-up found, and whether it is gone.

use std::collections::BTreeMap;

use serde_json::json;

use super::out::outln;
use super::words::{bytes, count};
use super::{BOLD, FAINT};
use crate::container::Loaded;
use crate::garbage::{Garbage, GarbageKind};

/// What a clean-up came to.
#[derive(Debug)]
pub struct Cleaned<'a> {
    /// Files and directories that nothing needs.
    pub found: &'a [Garbage],
    /// Images that nothing needs, if Docker and Podman were asked.
    pub loaded: Option<Vec<Loaded>>,
    /// Whether it is gone.
    pub removed: bool,
}

/// Shows garbage by kind, or every piece of it.
pub fn print_garbage(cleaned: &Cleaned<'_>, verbose: bool, as_json: bool) {
    let Cleaned { found, loaded, removed } = cleaned;
    let total: u64 = found.iter().map(|piece| piece.bytes).sum();
    if as_json {
        let mut line =
            json!({ "format_version": 1, "removed": removed, "bytes": total, "garbage": found });
        if let Some(loaded) = loaded {
            line["loaded"] = json!(loaded);
        }
        outln!("{line}");
        return;
    }
    let mut kinds: BTreeMap<GarbageKind, (usize, u64)> = BTreeMap::new();
    for piece in *found {
        let (number, size) = kinds.entry(piece.kind).or_default();
        *number += 1;
        *size += piece.bytes;
    }
    for (kind, (number, size)) in kinds {
        let name = kind.name();
        outln!("{:>9}  {name}  {FAINT}{}{FAINT:#}", bytes(size), count(number, "item"));
        for piece in found.iter().filter(|piece| verbose && piece.kind == kind) {
            let (size, path) = (bytes(piece.bytes), piece.path.display());
            outln!("  {FAINT}{size:>9}  {path}{FAINT:#}");
        }
    }
    // They may share layers with each other and with others: there is no telling what is freed.
    for Loaded { engine, name, bytes: size } in loaded.iter().flatten() {
        let size = bytes(*size);
        outln!("{:>9}  {name}  {FAINT}{size} in {engine}{FAINT:#}", "image");
    }
    let nothing = found.is_empty() && loaded.as_ref().is_none_or(Vec::is_empty);
    let word = match (nothing, removed) {
        (true, _) => "nothing to remove",
        (false, true) => "freed",
        (false, false) => "would be freed; `goatbuild gc` removes it",
    };
    let beside = loaded.as_ref().map_or(0, Vec::len);
    if nothing {
        outln!("{word}");
    } else if beside > 0 {
        let images = count(beside, "image");
        outln!("{BOLD}{}{BOLD:#} and {images} {word}", bytes(total));
    } else {
        outln!("{BOLD}{}{BOLD:#} {word}", bytes(total));
    }
}
