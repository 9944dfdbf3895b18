//! Images that are pushed for a target: which of them the registry has.

use crate::graph::Graph;
use crate::plan::{self, Memory, Plan, Wishes};
use crate::spec::ImageName;
use crate::step::{Fact, Step};
use crate::workspace::Workspace;

/// What images come to that are to be pushed, as far as that is known without building them.
pub fn foreseen_pushes(graph: &Graph, memory: &dyn Memory) -> (Graph, Plan) {
    let part = graph.needed_by(is_push);
    // Nothing that makes an image is anywhere but in the cache and the lock.
    let wishes = Wishes { no_refresh: true, ..Wishes::default() };
    let plan = plan::plan(&part, memory, &[], &wishes);
    (part, plan)
}

/// Asks the registry for the images that are to be there, as far as it is known which those are.
pub async fn look_at_pushed(workspace: &Workspace, graph: &Graph, memory: &dyn Memory) {
    let (part, plan) = foreseen_pushes(graph, memory);
    if part.is_empty() {
        return;
    }
    let digest = |step: &dyn Step| {
        let image = step.inputs().first()?;
        let digest = Fact::DIGEST.digest_of(&plan.get(&image.step)?.facts)?;
        Some((step.id().name().parse::<ImageName>().ok()?, digest))
    };
    let pushed = part.in_order().filter(|step| is_push(&***step));
    let images: Vec<_> = pushed.filter_map(|step| digest(&**step)).collect();
    workspace.registries.look_at(&images).await;
}

fn is_push(step: &dyn Step) -> bool {
    step.head().kind.pushes()
}
