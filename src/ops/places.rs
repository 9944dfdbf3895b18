//! Where things are going to be: models at their targets, and volumes of this machine where they
//! belong.

use std::collections::BTreeSet;
use std::path::Path;

use super::frontend::Frontend;
use crate::plan::{Action, Plan, PlannedStep};
use crate::targets::{Move, Moves, Target, Way};
use crate::words::{bytes, count};
use crate::workspace::Workspace;

/// Says where models are going to be served, when any is.
pub async fn tell_targets(workspace: &Workspace, frontend: &dyn Frontend, plan: &Plan) {
    let starts = |step: &&PlannedStep| {
        step.engine.is_some_and(|engine| engine.starts)
            && matches!(step.action, Action::Run | Action::Pending)
    };
    let models = plan.steps.iter().filter(starts).flat_map(|step| &step.models);
    let models = models.filter_map(|name| workspace.project.models.get(name.as_str()));
    let used: BTreeSet<&str> = models.map(|model| workspace.targets.of(model).name()).collect();
    for target in workspace.targets.all().filter(|target| used.contains(target.name())) {
        if let Some(place) = target.place().await {
            frontend.note(&place);
        }
    }
}

/// Tells which volumes move, from where to where and how; `deed` says who moves them, and when. Says
/// nothing of none.
pub(super) fn tell_moves(frontend: &dyn Frontend, deed: &str, moves: &[Move], root: &Path) {
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

/// The targets that may have volumes to move.
pub(super) fn moves_of(workspace: &Workspace) -> impl Iterator<Item = &dyn Moves> {
    workspace.targets.all().filter_map(Target::moves)
}

/// What is going to be moved.
pub(super) fn planned_moves(workspace: &Workspace) -> Vec<Move> {
    moves_of(workspace).flat_map(Moves::planned).collect()
}

/// Says which volumes of this machine an apply is about to move.
pub(super) fn tell_next(workspace: &Workspace, frontend: &dyn Frontend) {
    tell_moves(frontend, "this apply moves", &planned_moves(workspace), &workspace.root);
}

/// Says which volumes of this machine the next apply moves, and what it leaves.
pub fn foretell(workspace: &Workspace, frontend: &dyn Frontend) {
    tell_moves(frontend, "the next apply moves", &planned_moves(workspace), &workspace.root);
    for left in moves_of(workspace).flat_map(Moves::left_over) {
        let left = left.strip_prefix(&workspace.root).unwrap_or(&left).display();
        frontend.note(&format!("{left} is no longer used: `goatbuild gc` removes it"));
    }
}
