//! Volumes of this machine that are not where they belong.

use std::path::Path;

use miette::Report;

use super::frontend::{Frontend, Work, showing};
use crate::targets::local::{Move, Way};
use crate::words::{bytes, count};
use crate::workspace::Workspace;

/// Tells which volumes move, from where to where and how; `deed` says who moves them, and when. Says
/// nothing of none.
pub(super) fn tell(frontend: &dyn Frontend, deed: &str, moves: &[Move], root: &Path) {
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
        let to = to.display();
        frontend.note(&format!("{deed} {volumes}, {size}, from {from} to {to}: {how}"));
    }
}

/// Says which volumes of this machine the next apply moves, and what it leaves.
pub fn foretell(workspace: &Workspace, frontend: &dyn Frontend) {
    let moves = workspace.targets.local().moves();
    tell(frontend, "the next apply moves", &moves, &workspace.root);
    for left in workspace.targets.local().left_over() {
        let left = left.strip_prefix(&workspace.root).unwrap_or(&left).display();
        frontend.note(&format!("{left} is no longer used: `goatbuild gc` removes it"));
    }
}

/// Moves volumes of this machine to where they belong; says whether that came otherwise than planned.
pub(super) async fn carry_out(
    workspace: &Workspace,
    frontend: &dyn Frontend,
) -> Result<bool, Report> {
    let planned = workspace.targets.local().moves();
    let moved = showing(frontend, Work::Transfers, async |reporter| {
        workspace.targets.local().move_volumes(&*workspace.store, reporter).await
    });
    let moved = moved.await?;
    tell(frontend, "moved", &moved, &workspace.root);
    if !moved.is_empty() {
        workspace.look().await?;
    }
    let ways = |moves: &[Move]| moves.iter().map(|it| it.way).collect::<Vec<_>>();
    Ok(ways(&planned) != ways(&moved))
}
