//! What is started in an image to serve a model.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Placed, weights};
use crate::engines::{self, Caches, engine};
use crate::event::Reporter;
use crate::spec::{Model, ModelSource};
use crate::step::{Step, StepError};
use crate::targets::{CommandLine, Snapshot};
use crate::workspace::{SharedWorkspace, Workspace};

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
    let engine = engine(model.engine.name);
    let (compile, flashinfer) =
        (workspace.mount("vllm-cache"), workspace.mount("flashinfer-cache"));
    let mut environment = engine.environment(&Caches { compile, flashinfer });
    environment.extend(model.env.clone());
    let in_image = |snapshot: &Snapshot| workspace.path_in_image(snapshot);
    let (path, draft_path) = (in_image(weights), draft.as_ref().map(in_image));
    let revision = weights.commit.clone();
    let locked = workspace.engine_of(&model);
    let command = Arc::new(move |name: &str, host: &str, port: u16| {
        let serving = engines::Serving {
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

/// The engine of a model of a locked project, before any weights are anywhere. What the lock leaves
/// open stands there as it is written, such as a branch for a commit.
pub fn foreseen(
    workspace: &SharedWorkspace,
    model: &Arc<Model>,
    reporter: &Reporter,
) -> Result<Started, StepError> {
    let mut steps: Vec<Arc<dyn Step>> = Vec::new();
    let placed = weights::compile(workspace, reporter, &mut steps)?;
    let commits: HashMap<_, _> = steps
        .iter()
        .filter_map(|step| Some((step.id().clone(), step.predict().remove("commit")?)))
        .collect();
    let snapshot = |source: &ModelSource| {
        let Placed { step, repository } = &placed[&(model.target, source)];
        let written = || source.hub().map_or_else(String::new, |hub| hub.revision.clone());
        let commit = commits.get(step).filter(|commit| !commit.is_empty());
        let commit = commit.cloned().unwrap_or_else(written);
        Snapshot { repository: repository.clone(), commit }
    };
    let draft = model.draft.as_ref().map(|draft| snapshot(&draft.source));
    Ok(started(workspace, model, &snapshot(&model.source), draft))
}
