//! Volumes that move, in a line.

use std::path::Path;

use super::note;
use super::words::{bytes, count};
use crate::targets::local::{Move, Way};

/// Tells which volumes move, from where to where and how; `deed` says who moves them, and when. Says
/// nothing of none.
pub fn note_moves(deed: &str, moves: &[Move], root: &Path) {
    for way in [Way::Renamed, Way::Copied] {
        let moves: Vec<&Move> = moves.iter().filter(|it| it.way == way).collect();
        let Some(first) = moves.first() else { continue };
        let [from, to] = [&first.from, &first.to].map(|path| path.parent().unwrap_or(path));
        let from = from.strip_prefix(root).unwrap_or(from).display();
        let size = bytes(moves.iter().map(|it| it.bytes).sum());
        let how = match way {
            Way::Renamed => "renamed",
            Way::Copied => "copied",
        };
        let volumes = count(moves.len(), "volume");
        note(&format!("{deed} {volumes}, {size}, from {from} to {}: {how}", to.display()));
    }
}
