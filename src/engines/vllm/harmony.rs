//! What vLLM's chat of gpt-oss loads beside the weights.

use crate::engine::{Locked, PinnedFile};
use crate::spec::Model;

/// The vocabulary that openai-harmony loads at each start: from its public address, unless the
/// variable names a directory that has it. Address, name and hash are those of
/// `src/tiktoken_ext/public_encodings.rs` in openai/harmony at 55dc322; the size is that of the file
/// with this hash.
pub(super) const VOCABULARY: [PinnedFile; 1] = [PinnedFile {
    name: "tiktoken/o200k_base",
    base: "https://openaipublic.blob.core.windows.net/encodings",
    file: "o200k_base.tiktoken",
    size: 3_613_922,
    sha256: "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    variable: "TIKTOKEN_ENCODINGS_BASE",
}];

/// What a model needs of that: all of this family do, by their configuration, or by OpenAI's own names
/// while that isn't known.
pub(super) fn files(model: &Model, locked: &Locked) -> &'static [PinnedFile] {
    let is_named = || {
        let source = model.source.hub();
        source.is_some_and(|source| source.repository.starts_with("openai/gpt-oss-"))
    };
    let is_gpt_oss = match &locked.model_type {
        Some(kind) => kind == "gpt_oss",
        None => is_named(),
    };
    if is_gpt_oss { &VOCABULARY } else { &[] }
}
