//! What is started in an image to serve a model.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine;
use crate::spec::Model;
use crate::targets::{CommandLine, Snapshot};
use crate::workspace::Workspace;

/// A program in an image.
pub struct Started {
    /// Environment variables over the image's.
    pub environment: BTreeMap<String, String>,
    /// The program and its arguments, once it is known where it listens.
    pub command: Arc<CommandLine>,
}

/// The engine of a model, started with these weights.
pub(super) fn started(
    workspace: &Workspace,
    model: &Arc<Model>,
    weights: &Snapshot,
    draft: Option<Snapshot>,
) -> Started {
    let model = Arc::clone(model);
    let engine = model.engine.kind;
    let mounts: Vec<&str> =
        engine.caches().iter().map(|cache| workspace.mount(cache.volume)).collect();
    let mut environment = engine.environment(&mounts);
    environment.extend(model.env.clone());
    if model.serve.snapshot {
        environment.extend(engine.snapshot_environment());
    }
    let in_image = |snapshot: &Snapshot| workspace.path_in_image(snapshot);
    let (path, draft_path) = (in_image(weights), draft.as_ref().map(in_image));
    let revision = weights.commit.clone();
    let locked = workspace.engine_of(&model);
    let command = Arc::new(move |name: &str, host: &str, port: u16| {
        let serving = engine::Serving {
            host,
            port,
            model: name,
            weights: &path,
            revision: &revision,
            draft: draft_path.as_deref(),
            draft_revision: draft.as_ref().map(|draft| &*draft.commit),
            locked: &locked,
        };
        engine.command(&model, &serving)
    });
    Started { environment, command }
}
