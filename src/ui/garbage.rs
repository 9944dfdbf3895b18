//! What a clean-up found, and whether it is gone.

use std::collections::BTreeMap;

use serde_json::json;

use super::out::outln;
use super::words::{bytes, count};
use super::{BOLD, FAINT};
use crate::garbage::{Garbage, Kind};

/// Shows garbage by kind, or every piece of it.
pub fn print_garbage(found: &[Garbage], removed: bool, verbose: bool, as_json: bool) {
    let total: u64 = found.iter().map(|piece| piece.bytes).sum();
    if as_json {
        let line =
            json!({ "format_version": 1, "removed": removed, "bytes": total, "garbage": found });
        outln!("{line}");
        return;
    }
    let mut kinds: BTreeMap<Kind, (usize, u64)> = BTreeMap::new();
    for piece in found {
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
    let word = match (found.is_empty(), removed) {
        (true, _) => "nothing to remove",
        (false, true) => "freed",
        (false, false) => "would be freed; `goatbuild gc` removes it",
    };
    if found.is_empty() {
        outln!("{word}");
    } else {
        outln!("{BOLD}{}{BOLD:#} {word}", bytes(total));
    }
}
