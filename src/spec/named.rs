//! Repositories that flags of an engine name, beside `[model]` and `[draft]`.

use std::collections::BTreeMap;

use super::engine::Engine;
use super::model::{Draft, HubSource, ModelSource, is_commit};
use super::model_file::{DEFAULT_REVISION, is_repository, is_revision};
use super::patterns::FilePatterns;
use super::source::{Located, Place};
use super::value::FlagValue;
use crate::engine::Named;

/// A repository that a flag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRepository {
    /// Which value names it, as the engine calls that: `tokenizer`, `lora-modules.sql`.
    pub flag: String,
    /// Where it comes from; always a hub.
    pub source: ModelSource,
}

/// What is left out of a repository of which no weights are read.
const WEIGHTS: [&str; 12] = [
    "*.safetensors",
    "*.bin",
    "*.pt",
    "*.pth",
    "*.gguf",
    "*.h5",
    "*.msgpack",
    "*.onnx",
    "*.onnx_data",
    "*.ot",
    "original/*",
    "metal/*",
];

/// Reads `organisation/name`, perhaps with `@revision`; nothing of what is neither.
pub fn hub_reference(text: &str) -> Option<(&str, Option<&str>)> {
    let (repository, revision) = match text.split_once('@') {
        Some((repository, revision)) => (repository, Some(revision)),
        None => (text, None),
    };
    (is_repository(repository) && revision.is_none_or(is_revision))
        .then_some((repository, revision))
}

/// What the flags of a model's engine name. Without a revision, the model's own repository, or its
/// draft's, is what the spec says of that already. What can't be one is for the engine to refuse.
pub(super) fn named(
    engine: &Engine,
    model: &ModelSource,
    draft: Option<&Draft>,
) -> Vec<NamedRepository> {
    let own = [Some(model), draft.map(|draft| &draft.source)];
    let source = |named: &Named| {
        let (repository, behind) = hub_reference(&named.text)?;
        let written = behind.or(named.revision.as_deref());
        let is_same = |own: &&ModelSource| {
            own.hub().is_some_and(|own| {
                own.repository == repository && written.is_none_or(|it| it == own.revision)
            })
        };
        if let Some(own) = own.into_iter().flatten().find(is_same) {
            return Some(own.clone());
        }
        let revision = written.unwrap_or(DEFAULT_REVISION);
        let lower = revision.to_ascii_lowercase();
        let left_out = WEIGHTS.iter().filter(|_| named.is_small).map(|it| (*it).to_owned());
        Some(ModelSource::Hub(HubSource {
            repository: repository.to_owned(),
            revision: if is_commit(&lower) { lower } else { revision.to_owned() },
            files: FilePatterns::new(Vec::new(), left_out.collect()),
        }))
    };
    let all = engine.kind.named(&engine.flags).into_iter();
    let named = |it: Named| Some(NamedRepository { source: source(&it)?, flag: it.flag });
    all.filter_map(named).collect()
}

/// What a server with these flags answers to beside the model's names, each where it is written.
pub(super) fn adapters(engine: &Engine) -> Vec<Located<String>> {
    let place = |flags: &BTreeMap<String, FlagValue>, flag: &str| -> Option<Place> {
        Some(flags.get(flag)?.place.clone())
    };
    let mut located: Vec<Located<String>> = Vec::new();
    for adapter in engine.kind.adapters(&engine.flags) {
        // That two have one name is for the engine to tell.
        if located.iter().all(|it| it.value != adapter.name)
            && let Some(place) = place(&engine.flags, adapter.flag)
        {
            located.push(Located { value: adapter.name, place });
        }
    }
    located
}
