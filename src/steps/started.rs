//! What is started in an image to serve a model.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::{self, Fetched, Locked};
use crate::hub::ModelCache;
use crate::spec::{Model, Project};
use crate::targets::{CommandLine, PinnedRepository};

/// A program in an image.
pub struct Started {
    /// Environment variables over the image's.
    pub environment: BTreeMap<String, String>,
    /// The program and its arguments, once it is known where it listens.
    pub command: Arc<CommandLine>,
}

/// What lies in the model cache for a program.
pub(super) struct Lying {
    /// The weights.
    pub(super) weights: PinnedRepository,
    /// Those of its draft.
    pub(super) draft: Option<PinnedRepository>,
    /// What its flags name, by the value that names it.
    pub(super) named: Vec<(String, PinnedRepository)>,
    /// What it loads besides, by the variable that says where that is.
    pub(super) files: Vec<(&'static str, PinnedRepository)>,
}

/// Where an image sees a volume that every project has.
fn mount<'a>(project: &'a Project, volume: &str) -> &'a str {
    let found = project.volumes.iter().find(|(name, _)| name.as_str() == volume);
    let (_, found) = found.unwrap_or_else(|| panic!("BUG: the volume {volume} is not built in"));
    found.mount.trim_end_matches('/')
}

/// The engine of a model, started with these weights.
pub(super) fn started(
    project: &Project,
    locked: &Arc<Locked>,
    model: &Arc<Model>,
    lying: Lying,
) -> Started {
    let model = Arc::clone(model);
    let engine = model.engine.kind;
    let mounts: Vec<&str> =
        engine.caches().iter().map(|cache| mount(project, cache.volume)).collect();
    let Lying { weights, draft, named, files } = lying;
    let models = mount(project, "model-cache");
    let in_image = |pinned: &PinnedRepository| {
        format!("{models}/{}", ModelCache::commit_directory(&pinned.repository, &pinned.commit))
    };
    let mut environment = engine.environment(&mounts);
    environment.extend(files.iter().map(|(name, it)| ((*name).to_owned(), in_image(it))));
    environment.extend(model.env.clone());
    if model.serve.snapshot {
        environment.extend(engine.snapshot_environment());
    }
    let (path, draft_path) = (in_image(&weights), draft.as_ref().map(in_image));
    let fetched: BTreeMap<String, Fetched> = named
        .iter()
        .map(|(flag, pinned)| {
            let fetched = Fetched { path: in_image(pinned), commit: pinned.commit.clone() };
            (flag.clone(), fetched)
        })
        .collect();
    let revision = weights.commit;
    let locked = Arc::clone(locked);
    let command = Arc::new(move |name: &str, host: &str, port: u16, mark: Option<&str>| {
        let serving = engine::Serving {
            host,
            port,
            model: name,
            mark,
            weights: &path,
            revision: &revision,
            draft: draft_path.as_deref(),
            draft_revision: draft.as_ref().map(|draft| &*draft.commit),
            fetched: &fetched,
            locked: &locked,
        };
        engine.command(&model, &serving)
    });
    Started { environment, command }
}
